"""The lists of a pack: rows as the REST API has them, as JSON and as CSV, in constant memory and by their keys."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from django.db.models import F, Q, QuerySet
from rest_framework import serializers

from history.kept import has_past
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
    Approval,
    Attestation,
    Campaign,
    Decision,
    Delegation,
    Exclusion,
    MeasureDay,
    ReviewItem,
    StaleApproval,
)
from reviews.pack_shapes import PackedApprovalSerializer
from reviews.packing.archive import Archive
from reviews.packing.copying import Cell, csv_lines, json_lines, statement_of
from web.shapes import FromMap, Link, Shape, Texts, Url, fields_of, joined, sql_of

ROOT = "/api/v1/"
Progress = Callable[[str], None]
Statement = tuple[str, Sequence[Any]]


class Source(Protocol):
    """Where a list comes from: a statement that gives its rows as JSON texts in the order of keys, and one as cells."""

    def objects(self) -> Statement: ...

    def heads(self) -> list[str]: ...

    def cells(self) -> Statement: ...

    @property
    def keeps_past(self) -> bool: ...


@dataclass(frozen=True)
class Shaped:
    """Rows in the shape that the REST API gives them. `is_dated`: their own dates say how they stood at any instant."""

    shape: type[Shape]
    rows: QuerySet[Any]
    is_dated: bool = False

    def objects(self) -> Statement:
        text = self.shape.row(ROOT, self.shape.names())
        return statement_of(self.rows.annotate(json_text=text).order_by("pk").values_list("json_text"))

    def heads(self) -> list[str]:
        return [label for name in self.shape.names() for label, _ in columns_of(name, self.shape)]

    def cells(self) -> Statement:
        return _selected(self.rows, [cell for name in self.shape.names() for _, cell in columns_of(name, self.shape)])

    @property
    def keeps_past(self) -> bool:
        return self.is_dated or has_past(self.rows.model)


def columns_of(name: str, shape: type[Shape]) -> Iterator[tuple[str, Cell]]:
    """As `web.api.csv_columns` has them: a linked object becomes its display text and its id."""
    field = fields_of(shape)[name]
    if isinstance(field, Link):
        display, key = field.parts()
        yield name, Cell(display)
        yield f"{name}_id", Cell(key)
        return
    value = sql_of(field, ROOT, shape.noun)
    if isinstance(field, Texts) and isinstance(value, FromMap):
        value = joined(value, "; ")
    yield name, Cell(value, is_ours=isinstance(field, Url | serializers.ChoiceField))


@dataclass(frozen=True)
class Plain:
    """Rows by the names of their columns."""

    rows: QuerySet[Any]
    names: Sequence[str]

    def objects(self) -> Statement:
        select, params = statement_of(self.rows.order_by("pk").values(*self.names))
        return f"SELECT row_to_json(o)::text FROM ({select}) o", params

    def heads(self) -> list[str]:
        return list(self.names)

    def cells(self) -> Statement:
        return _selected(self.rows, [Cell(F(name)) for name in self.names])

    @property
    def keeps_past(self) -> bool:
        return has_past(self.rows.model)


def _selected(rows: QuerySet[Any], cells: Sequence[Cell]) -> Statement:
    named = {f"cell_{place}": cell for place, cell in enumerate(cells)}
    return statement_of(rows.annotate(**named).order_by("pk").values_list(*named))


def _columns(model: Any, *left_out: str) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields if field.attname not in left_out]


def sources(begins_at: datetime, ends_at: datetime | None = None) -> dict[str, Source]:
    """Every list by its name. Of what exists all of it, gone or not; of what has happened, what was since `begins_at`.

    Where it is read as of `ends_at`, a list that keeps no past has what had begun by then, as it stands now.
    """
    until = ends_at or datetime.max.replace(tzinfo=UTC)
    operations = Operation.objects.filter(
        Q(closed_at=None) | Q(closed_at__gte=begins_at) | Q(requested_at__gte=begins_at), requested_at__lte=until
    )
    campaigns = Campaign.objects.filter(Q(ended_at=None) | Q(ended_at__gte=begins_at), created_at__lte=until)
    of_campaigns = {"campaign__in": campaigns.order_by().values("pk")}
    items = ReviewItem.objects.filter(**of_campaigns, frozen_at__lte=until)
    of_items = {"item__in": items.order_by().values("pk")}
    days = {"taken_on__gte": begins_at.date(), "taken_on__lte": until.date()}
    return {
        "credentials": Shaped(inventory.CredentialSerializer, Credential.objects.all()),
        "servers": Shaped(inventory.ServerSerializer, McpServer.objects.all()),
        "clients": Shaped(inventory.ClientSerializer, McpClient.objects.all()),
        "authorization-servers": Shaped(inventory.AuthorizationServerSerializer, AuthorizationServer.objects.all()),
        "grants": Shaped(inventory.GrantSerializer, Grant.objects.all()),
        "exposures": Shaped(inventory.ExposureSerializer, Exposure.objects.all()),
        "owners": Shaped(inventory.OwnerSerializer, Owner.objects.all()),
        "connections": Shaped(inventory.ConnectionSerializer, Connection.objects.all()),
        "sync-runs": Shaped(inventory.SyncRunSerializer, SyncRun.objects.filter(started_at__range=(begins_at, until))),
        "policies": Shaped(lifecycle.PolicySerializer, Policy.objects.all()),
        "policy-versions": Shaped(lifecycle.PolicyVersionSerializer, PolicyVersion.objects.all()),
        "findings": Shaped(
            lifecycle.FindingSerializer, Finding.objects.filter(Q(resolved_at=None) | Q(resolved_at__gte=begins_at))
        ),
        "waivers": Shaped(lifecycle.WaiverSerializer, Waiver.objects.filter(ends_at__gte=begins_at)),
        "operations": Shaped(lifecycle.OperationSerializer, operations),
        "step-attempts": Shaped(
            lifecycle.StepAttemptSerializer,
            StepAttempt.objects.filter(operation__in=operations.order_by().values("pk"), begun_at__lte=until),
        ),
        "snapshots": Shaped(lifecycle.SnapshotSerializer, Snapshot.objects.filter(**days)),
        "measure-days": Shaped(control_shapes.MeasureDaySerializer, MeasureDay.objects.filter(**days)),
        "campaigns": Plain(campaigns, _columns(Campaign)),
        "review-items": Plain(items, _columns(ReviewItem, "decoy")),
        "decisions": Plain(Decision.objects.filter(**of_items, decided_at__lte=until), _columns(Decision)),
        "delegations": Plain(Delegation.objects.filter(**of_items, passed_at__lte=until), _columns(Delegation)),
        "attestations": Plain(Attestation.objects.filter(**of_campaigns, signed_at__lte=until), _columns(Attestation)),
        "approvals": Shaped(
            PackedApprovalSerializer,
            Approval.objects.as_at(until).filter(Q(ended_then=None) | Q(ended_then__gte=begins_at)),
            is_dated=True,
        ),
        "exclusions": Plain(Exclusion.objects.filter(**of_campaigns), _columns(Exclusion)),
        "stale-approvals": Plain(StaleApproval.objects.filter(**of_campaigns), _columns(StaleApproval)),
    }


def write_list(archive: Archive, name: str, source: Source, progress: Progress) -> int:
    """The list twice; how many rows it has."""
    said = f"list of {name.replace('-', ' ')}"
    progress(said)
    with archive.member(f"lists/{name}.json") as member:
        number, before = 0, "["
        for block, rows in json_lines(*source.objects()):
            member.write(f"{before}\n")
            member.write(block[:-1].replace(b"\n", b",\n"))
            number, before = number + rows, ","
            progress(f"{said}, {number} rows")
        member.write("\n]\n" if number else "[\n]\n")
        member.rows = number
    with archive.member(f"lists/{name}.csv") as member:
        member.write(",".join(source.heads()) + "\n")
        written = 0
        for block, rows in csv_lines(*source.cells()):
            member.write(block)
            written += rows
            progress(f"{said} as CSV, {written} rows")
        member.rows = written
    return number
