"""Draw a sample from a population of credentials, and gather the evidence about each of its items."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.db.models import BinaryField, CharField, F, Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast

from audit.models import AuditEntry
from history.past import instant
from inventory.models import Credential, CredentialVersion, Exposure, Use
from lifecycle.models import Finding, Obligation, Operation, StepAttempt, Waiver
from reviews.models.items import Decision, ReviewItem

ENTRIES = 200  # audit entries about one item, the newest


class Lot(Func):
    """`reviews.sampling.lot` as the database reckons it, in bytes: their order is that of its digits."""

    template = "sha256(convert_to(%(expressions)s, 'UTF8'))"
    arg_joiner = " || ':' || "
    output_field = BinaryField()


def drawn(population: QuerySet[Credential], *, size: int, seed: str) -> list[Credential]:
    """The sample, in the order in which it is drawn; each has its `lot`. The same seed draws the same again."""
    lots = Lot(Value(seed, output_field=TextField()), Cast("id", CharField()))
    # By their keys alone, and then the rows of the few: every member of the population is looked at.
    drawn_by = population.order_by().annotate(lot=lots).order_by("lot", "pk").values_list("pk", "lot")[:size]
    lot_of = {pk: bytes(lot).hex() for pk, lot in drawn_by}
    rows = Credential.objects.filter(pk__in=lot_of).select_related("owner", "custodian", "environment", "connection")
    found = {row.pk: row for row in rows}
    for pk, lot in lot_of.items():
        found[pk].lot = lot  # type: ignore[attr-defined]
    return [found[pk] for pk in lot_of]


def _values(rows: QuerySet[Any], *names: str, **more: Any) -> list[dict[str, Any]]:
    return list(rows.values(*names, **more))


def bundles(sample: Sequence[Credential]) -> dict[Any, dict[str, Any]]:
    """What is known of each of them, by its key: a fixed number of queries, however many there are. No secret."""
    keys = [credential.pk for credential in sample]
    of_them = {"credential__in": keys}
    until = instant() or datetime.max.replace(tzinfo=UTC)  # what keeps no past has what had begun by then
    operations = _values(
        Operation.objects.filter(**of_them, requested_at__lte=until).order_by("pk"),
        "id", "credential_id", "kind", "state", "step", "trigger", "reason",
        "requested_by", "requested_at", "decided_by", "decided_at", "proof", "proof_reason", "refused_at",
        "is_urgent", "closed_at", "closed_reason", "error",
    )  # fmt: skip
    findings = _values(
        Finding.objects.filter(**of_them).order_by("pk"), "id", "credential_id", "rule", "severity", "state",
        "evidence", "opened_at", "due_at", "acknowledged_by", "acknowledged_at", "resolved_at", "resolution",
    )  # fmt: skip
    items = _values(
        ReviewItem.objects.filter(**of_them, frozen_at__lte=until).order_by("pk"),
        "id", "credential_id", "state", "recommendation",
        "reasons", "facts", "what", "first_by", "second_by", "by_clock", "decided_at", "ending", "proof", "closed_at",
        campaign_name=F("campaign__name"),
    )  # fmt: skip
    owned = {each["id"]: each["credential_id"] for each in (*operations, *findings, *items)}
    tables: dict[str, list[dict[str, Any]]] = {
        "versions": _values(
            CredentialVersion.objects.filter(**of_them).order_by("pk"), "id", "credential_id", "external_id", "hint",
            "fingerprint", "issued_at", "expires_at", "first_seen_at", "suspended_at", "destroyed_at", "is_current",
        ),
        "exposures": _values(
            Exposure.objects.filter(**of_them).order_by("pk"), "id", "credential_id", "host", "file", "pointer",
            "is_readable_by_others", "first_seen_at", "last_seen_at", "gone_at",
        ),
        "uses": _values(
            Use.objects.filter(**of_them).order_by("pk"), "id", "credential_id", "file", "pointer", "held_as",
            "is_disabled", "first_seen_at", "last_seen_at", "gone_at", client_name=F("client__name"),
            server_name=F("server__name"),
        ),
        "obligation": _values(
            Obligation.objects.filter(**of_them).order_by("pk"), "credential_id", "policy_id", "rotate_by", "stale_at",
            "expires_at", "review_by", policy_name=F("policy__name"),
        ),
        "findings": findings,
        "waivers": _values(
            Waiver.objects.filter(finding__credential__in=keys).order_by("pk"), "id", "state", "reason",
            "compensating_control", "requested_by", "requested_at", "approved_by", "granted_at", "begins_at",
            "ends_at", "withdrawn_at", credential_id=F("finding__credential_id"), rule=F("finding__rule"),
        ),
        "operations": operations,
        "step_attempts": _values(
            StepAttempt.objects.filter(operation__credential__in=keys).order_by("pk"), "id", "operation_id", "number",
            "step", "begun_at", "ended_at", "outcome", "said", credential_id=F("operation__credential_id"),
        ),
        "review_items": items,
        "decisions": _values(
            Decision.objects.filter(item__credential__in=keys, decided_at__lte=until).order_by("pk"),
            "id", "item_id", "seat", "what",
            "reason", "is_against", "decided_by", "decided_at", "submitted_at", "withdrawn_at",
            credential_id=F("item__credential_id"),
        ),
        "audit_entries": _entries({str(key): key for key in keys}, owned),
    }  # fmt: skip
    found: dict[Any, dict[str, Any]] = {key: {name: [] for name in tables} for key in keys}
    for name, rows in tables.items():
        for row in rows:
            found[row["credential_id"]][name].append({key: row[key] for key in row if key != "credential_id"})
    return found


def _entries(credentials: dict[str, Any], owned: dict[Any, Any]) -> list[dict[str, Any]]:
    """Entries about the items and about what is theirs, each with text and hash, so that the chain vouches for it."""
    theirs = {**credentials, **{str(key): credential for key, credential in owned.items()}}
    others = [str(key) for key in owned]
    asked = Q(subject_kind="credential", subject_id__in=list(credentials))
    if others:
        asked |= Q(subject_kind__in=["operation", "finding", "reviewitem"], subject_id__in=others)
    rows = AuditEntry.objects.filter(asked).order_by("-seq")
    kept: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    named = ("seq", "at", "event", "actor_label", "subject_kind", "text")
    for row in rows.only(*named, "subject_id", "hash").iterator():
        credential = theirs[row.subject_id]
        if len(kept[credential]) < ENTRIES:
            said = {name: getattr(row, name) for name in named}
            kept[credential].append({**said, "hash": bytes(row.hash).hex(), "credential_id": credential})
    return [row for found in kept.values() for row in reversed(found)]
