"""Logs as JSON: what ties lines together, and what stays out of them."""

import json
import logging
import secrets

import pytest
from celery import shared_task
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from audit.errors import NotExported
from config import tracing
from config.logs import JsonFormatter, RequestIdMiddleware, _publishing, bound
from lifecycle.tasks import advance_operation

seen: list[dict] = []


@shared_task
def telling() -> None:
    seen.append(dict(bound.get()))


def line(message: str, *args: object, error: BaseException | None = None, logger: str = "x") -> dict:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord(logger, logging.ERROR, "x.py", 1, message, args, info)  # type: ignore[arg-type]
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict = json.loads(text)
    return found


def raised(error: BaseException, behind: BaseException | None = None) -> BaseException:
    try:
        raise error from behind
    except type(error) as caught:
        return caught


def test_a_line_says_when_what_and_from_where():
    said = line("rotated %s", "one\ntwo")
    assert (said["level"], said["logger"], said["message"]) == ("error", "x", "rotated one\ntwo")
    assert said["at"].endswith("+00:00")


def test_an_error_is_told_by_its_kinds_and_places_and_not_by_its_words():
    password = secrets.token_urlsafe(20)
    error = raised(RuntimeError(f"postgresql://app:{password}@db"), ConnectionError(password))
    for said in (
        line("failed: %s", error, error=error),
        line(f"failed: {error}", error=error),
        line("Task %(name)s raised %(exc)s", {"name": "t", "exc": repr(error)}, error=error),
    ):
        assert password not in json.dumps(said)
        assert said["error"]["kinds"] == ["RuntimeError", "ConnectionError"]
        assert "test_logs.py" in said["error"]["frames"][0]
    assert line("Task %(name)s raised %(exc)s", {"name": "t", "exc": "x"}, error=error)["message"] == (
        "Task t raised RuntimeError"
    )


def test_an_error_of_ours_is_quoted():
    said = line("failed", error=raised(NotExported("The folder cannot be written to.")))
    assert said["error"]["said"] == "The folder cannot be written to."


@pytest.mark.parametrize("given", ["", "short", "with a space in it", "x" * 65, "a\tb-12345678"])
def test_a_request_gets_an_id_of_its_own_where_none_fits(given):
    answered = []

    def answer(_request: HttpRequest) -> HttpResponse:
        answered.append(line("x"))
        return HttpResponse()

    middleware = RequestIdMiddleware(answer)
    response = middleware(RequestFactory().get("/", headers={"X-Request-ID": given}))
    assert response["X-Request-ID"] == answered[0]["request_id"] != given
    assert len(answered[0]["request_id"]) == 32
    assert "request_id" not in line("x")


def test_a_proxys_id_is_kept_and_told(client):
    assert client.get("/healthz", headers={"X-Request-ID": "abc-12345"}).headers["X-Request-ID"] == "abc-12345"


@pytest.mark.django_db
def test_a_task_carries_its_id_and_that_of_what_it_is_about():
    seen.clear()
    telling.apply(task_id="one")
    assert seen == [{"task": telling.name, "task_id": "one"}]
    assert bound.get() == {}
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(json.loads(JsonFormatter().format(record)))  # type: ignore[method-assign]
    root = logging.getLogger("celery.app.trace")
    root.addHandler(handler)
    try:
        advance_operation.apply(args=["no operation"])
    finally:
        root.removeHandler(handler)
    assert said[0]["operation_id"] == "no operation"


def test_a_task_that_a_request_rang_for_has_its_id():
    headers: dict = {}
    token = bound.set({"request_id": "abc-12345"})
    try:
        _publishing(headers=headers)
    finally:
        bound.reset(token)
    seen.clear()
    telling.apply(headers=headers)
    assert seen[0]["request_id"] == "abc-12345"


def test_traces_without_what_sends_them_stop_the_start_with_a_sentence():
    with pytest.raises(ImproperlyConfigured, match="pip install opentelemetry-sdk"):
        tracing.begin()
