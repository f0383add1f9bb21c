"""Logs as JSON, a line for each record, with what ties them together: the request, the task, the operation.

Nothing foreign is quoted: what a library says of an error may hold an address with a password, so of errors that are
not ours a line has the kind and the places in the code, as the ledger of the schedule has.
"""

import json
import logging
import re
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from celery.signals import before_task_publish, task_postrun, task_prerun
from django.http import HttpRequest, HttpResponse

from audit.errors import AuditError
from inventory.errors import InventoryError
from lifecycle.errors import LifecycleError
from providers.errors import ProviderError

HEADER = "X-Request-ID"
GIVEN = re.compile(r"[A-Za-z0-9._-]{8,64}")
OURS = (AuditError, InventoryError, LifecycleError, ProviderError)  # their messages are made to be shown
# What the first argument of a task names; it is an id.
ABOUT: Mapping[str, str] = {
    "lifecycle.tasks.advance_operation": "operation_id",
    "lifecycle.tasks.look_at_operation": "operation_id",
    "inventory.tasks.sync_connection": "connection_id",
    "inventory.tasks.advance_removal": "removal_id",
    "notifications.tasks.send_mail": "delivery_id",
    "notifications.tasks.send_to_endpoint": "delivery_id",
}
MOST_FRAMES = 20

bound: ContextVar[Mapping[str, str]] = ContextVar("log_ids", default={})  # noqa: B039  never changed in place


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            "process": record.process,
            **bound.get(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            said["error"] = error_of(record.exc_info[1])
        return json.dumps(said, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    """The message; where it is about an error that is not ours, without what that error says."""
    error = record.exc_info[1] if record.exc_info else None
    args = record.args
    if error is not None and not isinstance(error, OURS):
        name = type(error).__name__
        if isinstance(args, Mapping):  # as Celery tells of a task that failed: the error is among its arguments
            known = {key: value for key, value in args.items() if key in {"name", "id", "description", "hostname"}}
            args = {**dict.fromkeys(args, name), **known}
        elif args:
            args = tuple(name if isinstance(each, BaseException) else each for each in args)
        told = logging.makeLogRecord({**record.__dict__, "args": args}).getMessage()
        return told.replace(str(error), name) if str(error) else told
    return record.getMessage()


def error_of(error: BaseException) -> dict[str, Any]:
    """The kinds of an error and of those behind it, and where it was raised; of what it says, only ours."""
    found: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(found) < 5:
        state = getattr(seen, "sqlstate", None)
        found.append(f"{type(seen).__name__} ({state})" if state else type(seen).__name__)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    frames = traceback.extract_tb(error.__traceback__)[-MOST_FRAMES:]
    told: dict[str, Any] = {
        "kinds": found,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, OURS):
        told["said"] = str(error)
    return told


class RequestIdMiddleware:
    """Gives each request an id, or keeps the one a proxy gave; the answer tells it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        request_id = given if GIVEN.fullmatch(given) else uuid4().hex
        token = bound.set({"request_id": request_id})
        try:
            response = self.get_response(request)
        finally:
            bound.reset(token)
        response[HEADER] = request_id
        return response


def _publishing(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None and "request_id" in bound.get():
        headers["keyreeve_request_id"] = bound.get()["request_id"]


def _begins(task_id: str, task: Any, args: Any = (), kwargs: Any = None, **_: Any) -> None:
    ids = {"task": task.name, "task_id": task_id}
    rung_by = getattr(task.request, "keyreeve_request_id", None) or (task.request.headers or {}).get(
        "keyreeve_request_id"
    )
    if rung_by:
        ids["request_id"] = str(rung_by)
    named = ABOUT.get(task.name)
    first = next(iter(args or (kwargs or {}).values()), None)
    if named and first is not None:
        ids[named] = str(first)
    bound.set(ids)


def _ended(**_: Any) -> None:
    bound.set({})


def listen() -> None:
    before_task_publish.connect(_publishing, weak=False, dispatch_uid="keyreeve.logs.publishing")
    task_prerun.connect(_begins, weak=False, dispatch_uid="keyreeve.logs.begins")
    task_postrun.connect(_ended, weak=False, dispatch_uid="keyreeve.logs.ended")
