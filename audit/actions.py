"""The one way to write: an action is one transaction, and its audit entries are its last statement.

The chain's lock is held from that statement to the commit, so it always comes after every row lock. The keys to other
rows are checked after it, at the commit: whoever locks rows with `no_key` does not stand in their way.
"""

import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from itertools import chain
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connection, models, transaction
from psycopg.errors import DeadlockDetected

from access.actors import Actor
from audit.events import Event

P = ParamSpec("P")
R = TypeVar("R")

TRIES = 5
MANY = 50  # entries from which a copy is quicker than a statement
INTO = "audit_auditentry (event, actor_kind, actor_id, actor_label, subject_kind, subject_id, subject_label, detail)"
ROW = "(%s, %s, %s, %s, %s, %s, %s, %s)"
Entry = tuple[str, ...]
M = TypeVar("M", bound=models.Model)

_pending: ContextVar[list[Entry] | None] = ContextVar("pending_audit_entries", default=None)


class NotInAnAction(RuntimeError):
    """`record` was called outside an action; its entry would not share the write's transaction."""


def action(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` in one transaction with the audit entries it records. An inner action joins the outer one."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if _pending.get() is not None:
            with transaction.atomic():
                return function(*args, **kwargs)
        entries: list[Entry] = []
        token = _pending.set(entries)
        try:
            with transaction.atomic():
                result = function(*args, **kwargs)
                _write(entries)
                return result
        finally:
            _pending.reset(token)

    return run


def _write(entries: list[Entry]) -> None:
    """By hand, since every write of the product ends with it. The statement takes the chain's lock."""
    if not entries:
        return
    with connection.cursor() as cursor:
        if len(entries) < MANY:
            values = ", ".join([ROW] * len(entries))
            cursor.execute(f"INSERT INTO {INTO} VALUES {values}", list(chain.from_iterable(entries)))
            return
        with cursor.copy(f"COPY {INTO} FROM STDIN") as copy:
            for entry in entries:
                copy.write_row(entry)


def record(
    event: Event, *, actor: Actor, subject: models.Model | None = None, detail: Mapping[str, Any] | None = None
) -> None:
    """Add an entry to the action under way. `detail` is JSON and holds no secret."""
    entries = _pending.get()
    if entries is None:
        raise NotInAnAction(NotInAnAction.__doc__)
    about = (str(subject._meta.model_name), str(subject.pk), str(subject)[:200]) if subject is not None else ("",) * 3
    entries.append((event.value, actor.kind.value, actor.id, actor.label, *about, json.dumps(dict(detail or {}))))


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
