"""The one way to write: an action is one transaction, and its audit entries are its last statement.

The chain's lock is held from that statement to the commit, so it always comes after every row lock. The keys to other
rows are checked after it, at the commit: whoever locks rows with `no_key` does not stand in their way.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, models, transaction
from psycopg.errors import DeadlockDetected

from access.actors import Actor
from audit.events import Event
from audit.models import AuditEntry

P = ParamSpec("P")
R = TypeVar("R")

TRIES = 5
M = TypeVar("M", bound=models.Model)

_pending: ContextVar[list[AuditEntry] | None] = ContextVar("pending_audit_entries", default=None)


class NotInAnAction(RuntimeError):
    """`record` was called outside an action; its entry would not share the write's transaction."""


def action(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` in one transaction with the audit entries it records. An inner action joins the outer one."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if _pending.get() is not None:
            with transaction.atomic():
                return function(*args, **kwargs)
        entries: list[AuditEntry] = []
        token = _pending.set(entries)
        try:
            with transaction.atomic():
                result = function(*args, **kwargs)
                AuditEntry.objects.bulk_create(entries, batch_size=2_000)
                return result
        finally:
            _pending.reset(token)

    return run


def record(
    event: Event, *, actor: Actor, subject: models.Model | None = None, detail: Mapping[str, Any] | None = None
) -> None:
    """Add an entry to the action under way. `detail` is JSON and holds no secret."""
    entries = _pending.get()
    if entries is None:
        raise NotInAnAction(NotInAnAction.__doc__)
    entries.append(
        AuditEntry(
            event=event.value,
            actor_kind=actor.kind.value,
            actor_id=actor.id,
            actor_label=actor.label,
            subject_kind=(subject._meta.model_name or "") if subject is not None else "",
            subject_id=str(subject.pk) if subject is not None else "",
            subject_label=str(subject)[:200] if subject is not None else "",
            detail=dict(detail or {}),
        )
    )


def in_order(rows: models.QuerySet[M]) -> list[M]:
    """The rows, locked in the order of their keys, as everybody locks them. Call it before writing any of them."""
    ordered = rows.order_by("pk").select_for_update(of=("self",), no_key=True)
    return despite_deadlocks(lambda: list(ordered.all()))


def despite_deadlocks(work: Callable[[], R]) -> R:
    """Do the work again where it and somebody else's wait for each other.

    What it had locked is let go in between, so the other one goes on; what was locked before it is not. It must be able
    to run again from its start.
    """
    entries = _pending.get()
    recorded = len(entries or [])
    for _ in range(TRIES - 1):
        try:
            with transaction.atomic():
                return work()
        except OperationalError as exc:
            if not isinstance(exc.__cause__, DeadlockDetected):
                raise
            del (entries or [])[recorded:]
    with transaction.atomic():
        return work()
