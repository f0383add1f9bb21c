"""How far a batch is, and what came of each thing in it: reads of a kill switch while it runs and afterwards."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, DurationField, ExpressionWrapper, F, Q, QuerySet, When

from inventory.models import Exposure
from lifecycle.models.batches import Batch, BatchItem
from lifecycle.states import CLOSED, ITEM_OPEN, ItemState, OperationState, Proof

NAMED = 12
WORDS = {
    "to_decide": "to decide",
    "waiting": "not begun",
    "open": "under way",
    "stalled": "stalled",
    "verified": "seen refused",
    "unverifiable": "nobody can tell",
    "done": "done",
    "ended_otherwise": "cancelled or replaced",
    "asked": "revocation asked for",
    "transferred": "handed over",
    "skipped": "nothing to do",
    "cancelled": "cancelled",
}
TOOK = ExpressionWrapper(F("operation__refused_at") - F("batch__begun_at"), output_field=DurationField())


def items_of(batch: Batch) -> QuerySet[BatchItem]:
    return BatchItem.objects.filter(batch=batch)


def progress(batch: Batch) -> dict[str, int]:
    """How many things stand how, in one statement. What is not there is not in it."""
    found = (
        items_of(batch)
        .order_by()
        .values("state", "operation__state", "operation__proof")
        .annotate(number=Count("pk"))
        .values_list("state", "operation__state", "operation__proof", "number")
    )
    counts: dict[str, int] = {}
    for state, operation, proof, number in found:
        name = _stands(state, operation, proof)
        counts[name] = counts.get(name, 0) + number
    return {name: counts[name] for name in WORDS if name in counts}


def _stands(state: str, operation: str | None, proof: str | None) -> str:
    if state != ItemState.OPENED:
        return state
    if operation == OperationState.STALLED:
        return "stalled"
    if operation not in CLOSED:
        return "open"
    if operation != OperationState.COMPLETED:
        return "ended_otherwise"
    return {Proof.VERIFIED: "verified", Proof.UNVERIFIABLE: "unverifiable"}.get(Proof(proof or ""), "done")


def is_done(counts: dict[str, int]) -> bool:
    return not any(counts.get(name) for name in ("to_decide", "waiting", "open", "stalled"))


def rows_of(batch: Batch) -> QuerySet[BatchItem]:
    return items_of(batch).select_related(
        "batch", "credential__owner", "credential__connection", "operation", "server", "client"
    )


TROUBLE = (
    Q(operation__state=OperationState.STALLED)
    | Q(operation__error__gt="", operation__closed_at=None)
    | Q(operation__proof=Proof.UNVERIFIABLE)
)


def standing_out(batch: Batch) -> tuple[list[BatchItem], list[BatchItem]]:
    """Those that took longest until they were seen refused; and those that gave up, have failed at their step, or of
    which nobody can tell. One statement."""
    rows = rows_of(batch).annotate(took=TOOK, is_troubled=Case(When(TROUBLE, then=True), default=False))
    seen = items_of(batch).filter(operation__refused_at__isnull=False).annotate(took=TOOK).order_by("-took", "pk")
    trouble = items_of(batch).filter(TROUBLE).order_by("operation__verify_by", "pk")
    either: list[Any] = list(rows.filter(pk__in=seen.values("pk")[:NAMED].union(trouble.values("pk")[:NAMED])))
    slow = sorted((row for row in either if row.took is not None), key=lambda row: (-row.took, row.pk))
    troubled = sorted(
        (row for row in either if row.is_troubled),
        key=lambda row: (
            row.operation.verify_by is None,
            row.operation.verify_by or row.operation.requested_at,
            row.pk,
        ),
    )
    return slow[:NAMED], troubled[:NAMED]


def still_in_files(batch: Batch) -> QuerySet[Exposure]:
    """Places where a value of the batch still lies open, whatever became of it."""
    held = items_of(batch).filter(credential__isnull=False).values("credential")
    return Exposure.objects.present().filter(credential__in=held).select_related("credential").order_by("file", "pk")


def seconds_to_refused(row: BatchItem) -> float | None:
    """From the beginning of the batch to the moment when the old value was first seen refused."""
    operation, begun = row.operation, row.batch.begun_at
    if operation is None or operation.refused_at is None or begun is None:
        return None
    return max((operation.refused_at - begun).total_seconds(), 0.0)


def said_of(row: BatchItem) -> dict[str, Any]:
    """One line of the report."""
    operation = row.operation
    return {
        "id": str(row.credential_id or row.server_id or row.client_id),
        "name": str(row.subject),
        "what": "credential" if row.credential_id else "server" if row.server_id else "client",
        "part": row.part,
        "connection": str(row.credential.connection) if row.credential else "",
        "state": _stands(row.state, operation.state if operation else None, operation.proof if operation else None),
        "operation": str(operation.pk) if operation else None,
        "by_hand": operation.by_hand if operation else None,
        "asked_at": _instant(operation.requested_at) if operation else None,
        "refused_at": _instant(operation.refused_at) if operation else None,
        "seconds_to_refused": seconds_to_refused(row),
        "proof": operation.proof if operation else None,
        "how_it_is_known": operation.proof_reason if operation else "",
        "verify_by": _instant(operation.verify_by) if operation else None,
        "why_not": _why_not(row),
        "appeared_later": row.is_late,
    }


def _why_not(row: BatchItem) -> str:
    operation = row.operation
    if operation is None:
        return row.said
    if operation.state == OperationState.COMPLETED:
        return ""
    return operation.error or operation.closed_reason or operation.waits_for


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def lines(batch: Batch) -> Iterator[dict[str, Any]]:
    """Every line of the report, in constant memory."""
    for row in rows_of(batch).order_by("pk").iterator(chunk_size=2_000):
        row.batch = batch
        yield said_of(row)


def report_of(batch: Batch, *, now: datetime) -> dict[str, Any]:
    """The whole report as it stands: figures, lines, unverifiable ones by their due date, and what still lies open."""
    told = list(lines(batch))
    times = sorted(line["seconds_to_refused"] for line in told if line["seconds_to_refused"] is not None)
    unverifiable = [line for line in told if line["proof"] == Proof.UNVERIFIABLE]
    return {
        "at": now.isoformat(),
        "scope": {key: value for key, value in batch.scope.items() if key != "ids"},
        "begun_at": _instant(batch.begun_at),
        "counts": progress(batch),
        "seconds_to_refused": {
            "seen": len(times),
            "median": times[len(times) // 2] if times else None,
            "longest": times[-1] if times else None,
        },
        "unverifiable": sorted(
            ({key: line[key] for key in ("id", "name", "how_it_is_known", "verify_by")} for line in unverifiable),
            key=lambda line: line["verify_by"] or "",
        ),
        "still_in_files": [
            {"credential": str(each.credential_id), "host": each.host, "file": each.file, "pointer": each.pointer}
            for each in still_in_files(batch)[:1_000]
        ],
        "lines": told,
    }


def unfinished(batch: Batch) -> int:
    return items_of(batch).filter(state__in=ITEM_OPEN).count()


def open_stalled(batch: Batch) -> tuple[int, int]:
    """How many of its operations are open, and how many of them have stalled."""
    opened = items_of(batch).filter(state=ItemState.OPENED, operation__closed_at=None)
    counted = opened.aggregate(open=Count("pk"), stalled=Count("pk", filter=Q(operation__state=OperationState.STALLED)))
    return counted["open"], counted["stalled"]


def keys_in(batch: Batch) -> set[UUID]:
    return {key for key in items_of(batch).order_by().values_list("credential_id", flat=True) if key is not None}
