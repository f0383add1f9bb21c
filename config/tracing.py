"""Traces by OpenTelemetry, where its variables name a collector: a span for each request and each task.

The SDK is not among what Keyreeve installs; docs/monitoring.md says which two packages it takes. Spans carry names of
views and tasks and ids, never addresses with their queries, headers or what an error says.
"""

from collections.abc import Callable
from typing import Any

from celery.signals import task_postrun, task_prerun
from celery.states import SUCCESS
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from config.logs import bound

_under_way: dict[str, Any] = {}  # spans of tasks of this process, by the message's id


def tracer() -> trace.Tracer:
    return trace.get_tracer("keyreeve", settings.VERSION)


def begin() -> None:
    """Send spans to the collector. The SDK begins its thread anew in a process that is forked."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  optional
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as exc:
        raise ImproperlyConfigured(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and what sends traces is not installed: "
            "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        ) from exc
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


class TracingMiddleware:
    """A span for each request, called by its view: an address may hold what somebody searched for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if not settings.TRACING:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with tracer().start_as_current_span(
            str(request.method), kind=SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            response = self.get_response(request)
            found = request.resolver_match
            route = f"/{found.route}" if found else "not found"
            span.update_name(f"{request.method} {route}")
            span.set_attributes(
                {
                    "http.request.method": str(request.method),
                    "http.route": route,
                    "http.response.status_code": response.status_code,
                    **_ids(),
                }
            )
            if response.status_code >= 500:
                span.set_status(StatusCode.ERROR)
        return response


def _ids() -> dict[str, str]:
    return {f"keyreeve.{name}": value for name, value in bound.get().items()}


def _task_begins(task_id: str, task: Any, **_: Any) -> None:
    _under_way[task_id] = tracer().start_span(task.name, kind=SpanKind.CONSUMER, attributes=_ids())


def _task_ended(task_id: str, state: str | None, retval: Any, **_: Any) -> None:
    span = _under_way.pop(task_id, None)
    if span is None:
        return
    if state != SUCCESS:
        span.set_status(StatusCode.ERROR)
        if isinstance(retval, BaseException):
            span.set_attribute("error.type", type(retval).__name__)
    span.end()


def listen() -> None:
    if not settings.TRACING:
        return
    begin()
    task_prerun.connect(_task_begins, weak=False, dispatch_uid="keyreeve.tracing.begins")
    task_postrun.connect(_task_ended, weak=False, dispatch_uid="keyreeve.tracing.ended")
