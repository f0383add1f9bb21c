"""Where the timetable's runs are noticed: Celery says that a task begins and how it ended, and the ledger has it.

A run is recorded whoever rang for it. Celery logs what a receiver raises and goes on, so that a ledger that cannot be
written never keeps the work from being done; the run is then missing from it, which reads as a missed beat.
"""

import logging
import os
from typing import Any
from uuid import UUID

from celery.signals import beat_init, task_postrun, task_prerun
from celery.states import SUCCESS
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from access.actors import Actor
from audit.errors import AuditError
from config.celery import BEATS
from inventory.errors import InventoryError
from lifecycle.actions import jobs
from lifecycle.actions.jobs import Beat
from lifecycle.errors import LifecycleError

logger = logging.getLogger(__name__)

ACTOR = Actor.system("timetable")
TIMETABLE = [Beat(*beat) for beat in BEATS]
TASKS = frozenset(beat.task for beat in TIMETABLE)
SAFE = (AuditError, InventoryError, LifecycleError)  # their messages are made to be shown

_under_way: dict[str, UUID] = {}  # of this process, by the message's id


def declare() -> None:
    """Write the timetable into rows, at every start of what runs it."""
    jobs.declare(TIMETABLE, now=timezone.now(), actor=ACTOR)


def said(error: BaseException) -> str:
    """What the ledger keeps of an error: a foreign message may hold an address with a password, so only its kind."""
    if isinstance(error, SAFE):
        return str(error)
    kind = type(error).__name__
    state = getattr(error.__cause__, "sqlstate", None) if isinstance(error, DatabaseError) else None
    return f"{kind} ({state}); the worker's log says more." if state else f"{kind}; the worker's log says more."


def begun(task_id: str, task: Any, **_: Any) -> None:
    if task.name not in TASKS:
        return
    worker = f"{task.request.hostname or 'unnamed'}, process {os.getpid()}"
    run = jobs.begin(task.name, worker=worker, now=timezone.now())
    if run is None:  # no beat has been started here yet that would have declared it
        declare()
        run = jobs.begin(task.name, worker=worker, now=timezone.now())
    if run is not None:
        _under_way[task_id] = run


def done(task_id: str, task: Any, retval: Any, state: str | None, **_: Any) -> None:
    run = _under_way.pop(task_id, None)
    if run is None:
        return
    now = timezone.now()
    if state == SUCCESS:
        jobs.end(run, retval, now=now, actor=ACTOR)
    elif isinstance(retval, BaseException):
        jobs.fail(run, said(retval), now=now, actor=ACTOR)
    # Else the process is being ended in the middle of the work: begun, never ended, as the ledger says.
    if not task.request.is_eager:
        close_old_connections()  # Celery has returned the task's own connection before this


def beat_begins(**_: Any) -> None:
    declare()
    close_old_connections()


def listen() -> None:
    task_prerun.connect(begun, weak=False, dispatch_uid="keyreeve.heartbeats.begun")
    task_postrun.connect(done, weak=False, dispatch_uid="keyreeve.heartbeats.done")
    beat_init.connect(beat_begins, weak=False, dispatch_uid="keyreeve.heartbeats.beat")
