"""The lists of a pack: rows as the REST API has them, as JSON and as CSV, in constant memory and by their keys."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Q, QuerySet

from inventory import serializers as inventory
from inventory.models import (
    AuthorizationServer,
    Connection,
    Credential,
    Exposure,
    Grant,
    McpClient,
    McpServer,
    Owner,
    SyncRun,
)
from lifecycle import serializers as lifecycle
from lifecycle.models import (
    Finding,
    Operation,
    Policy,
    PolicyVersion,
    Snapshot,
    StepAttempt,
    Waiver,
)
from reviews import control_shapes
from reviews.models import (
    Attestation,
    Campaign,
    Decision,
    Delegation,
    Exclusion,
    MeasureDay,
    ReviewItem,
    StaleApproval,
)
from reviews.packing.archive import Archive
from web.api import csv_columns
from web.csvfiles import CHUNK, Echo, Field, cell
from web.shapes import Shape

ROOT = "/api/v1/"
EVERY = 5_000  # rows from one word of progress to the next
Progress = Callable[[str], None]


class Source(Protocol):
    """Where a list comes from: its JSON lines in the order of keys, and its columns as CSV."""

    def texts(self) -> Iterator[str]: ...

    def columns(self) -> Sequence[Field]: ...


@dataclass(frozen=True)
class Shaped:
    """Rows in the shape that the REST API gives them."""

    shape: type[Shape]
    rows: QuerySet[Any]

    def texts(self) -> Iterator[str]:
        row = self.shape.row(ROOT, self.shape.names())
        queryset = self.rows.annotate(json_text=row).order_by("pk").values_list("json_text", flat=True)
        yield from queryset.iterator(chunk_size=CHUNK)

    def columns(self) -> Sequence[Field]:
        return [column for name in self.shape.names() for column in csv_columns(name, self.shape)]


@dataclass(frozen=True)
class Plain:
    """Rows by the names of their columns."""

    rows: QuerySet[Any]
    names: Sequence[str]

    def texts(self) -> Iterator[str]:
        for row in self.rows.order_by("pk").values(*self.names).iterator(chunk_size=CHUNK):
            yield json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False)

    def columns(self) -> Sequence[Field]:
        return [(name, _plain(name)) for name in self.names]


def _plain(name: str) -> Callable[[Any], Any]:
    def value(row: Any) -> Any:
        found = row[name]
        return json.dumps(found, ensure_ascii=False) if isinstance(found, dict | list) else found

    return value


def _columns(model: Any, *left_out: str) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields if field.attname not in left_out]


def sources(begins_at: datetime) -> dict[str, Source]:
    """Every list by its name. Of what exists all of it, gone or not; of what has happened, what was since then."""
    since = {"gte": begins_at}
    operations = Operation.objects.filter(
        Q(closed_at=None) | Q(**{f"closed_at__{k}": v for k, v in since.items()}) | Q(requested_at__gte=begins_at)
    )
    campaigns = Campaign.objects.filter(Q(ended_at=None) | Q(ended_at__gte=begins_at))
    of_campaigns = {"campaign__in": campaigns.order_by().values("pk")}
    items = ReviewItem.objects.filter(**of_campaigns)
    return {
        "credentials": Shaped(inventory.CredentialSerializer, Credential.objects.all()),
        "servers": Shaped(inventory.ServerSerializer, McpServer.objects.all()),
        "clients": Shaped(inventory.ClientSerializer, McpClient.objects.all()),
        "authorization-servers": Shaped(inventory.AuthorizationServerSerializer, AuthorizationServer.objects.all()),
        "grants": Shaped(inventory.GrantSerializer, Grant.objects.all()),
        "exposures": Shaped(inventory.ExposureSerializer, Exposure.objects.all()),
        "owners": Shaped(inventory.OwnerSerializer, Owner.objects.all()),
        "connections": Shaped(inventory.ConnectionSerializer, Connection.objects.all()),
        "sync-runs": Shaped(inventory.SyncRunSerializer, SyncRun.objects.filter(started_at__gte=begins_at)),
        "policies": Shaped(lifecycle.PolicySerializer, Policy.objects.all()),
        "policy-versions": Shaped(lifecycle.PolicyVersionSerializer, PolicyVersion.objects.all()),
        "findings": Shaped(
            lifecycle.FindingSerializer, Finding.objects.filter(Q(resolved_at=None) | Q(resolved_at__gte=begins_at))
        ),
        "waivers": Shaped(lifecycle.WaiverSerializer, Waiver.objects.filter(ends_at__gte=begins_at)),
        "operations": Shaped(lifecycle.OperationSerializer, operations),
        "step-attempts": Shaped(
            lifecycle.StepAttemptSerializer,
            StepAttempt.objects.filter(operation__in=operations.order_by().values("pk")),
        ),
        "snapshots": Shaped(lifecycle.SnapshotSerializer, Snapshot.objects.filter(taken_on__gte=begins_at.date())),
        "measure-days": Shaped(
            control_shapes.MeasureDaySerializer, MeasureDay.objects.filter(taken_on__gte=begins_at.date())
        ),
        "campaigns": Plain(campaigns, _columns(Campaign)),
        "review-items": Plain(items, _columns(ReviewItem)),
        "decisions": Plain(Decision.objects.filter(**of_campaigns), _columns(Decision)),
        "delegations": Plain(Delegation.objects.filter(item__in=items.order_by().values("pk")), _columns(Delegation)),
        "attestations": Plain(Attestation.objects.filter(**of_campaigns), _columns(Attestation)),
        "exclusions": Plain(Exclusion.objects.filter(**of_campaigns), _columns(Exclusion)),
        "stale-approvals": Plain(StaleApproval.objects.filter(**of_campaigns), _columns(StaleApproval)),
    }


def write_list(archive: Archive, name: str, source: Source, progress: Progress) -> int:
    """The list twice; how many rows it has."""
    progress(f"list of {name.replace('-', ' ')}")
    with archive.member(f"lists/{name}.json") as member:
        member.write("[")
        number = 0
        for number, text in enumerate(source.texts(), 1):
            member.write(f"{',' if number > 1 else ''}\n{text}")
            if not number % EVERY:
                progress(f"list of {name.replace('-', ' ')}, {number} rows")
        member.write("\n]\n")
        member.rows = number
    columns = source.columns()
    with archive.member(f"lists/{name}.csv") as member:
        writer = csv.writer(Echo())
        member.write(writer.writerow([label for label, _ in columns]))  # type: ignore[arg-type]
        written = 0
        for written, text in enumerate(source.texts(), 1):
            row = json.loads(text)
            member.write(writer.writerow([cell(value(row)) for _, value in columns]))  # type: ignore[arg-type]
            if not written % EVERY:
                progress(f"list of {name.replace('-', ' ')} as CSV, {written} rows")
        member.rows = written
    return number
