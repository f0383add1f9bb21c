"""`POST /api/v1/intake/`: a delivery to a feed over HTTP, read as it comes."""

from contextlib import suppress
from functools import cache
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import APIException, UnsupportedMediaType, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.actors import Actor
from access.rights import Right
from inventory.errors import Disabled, InventoryError, KeyReused, LeaseLost, NotAFeed, NothingTaken, UnderWay
from inventory.feeds.bodies import GZIP, IDENTITY, CutShort, pieces
from inventory.feeds.rows import CSV, NDJSON, Malformed
from inventory.feeds.shapes import BadSettings, json_schema
from inventory.intake import Receipt, take
from inventory.models import Connection
from inventory.serializers import ConnectionSerializer, SyncRunSerializer
from web.api import ByHeader, answer, as_body, check_parameters
from web.problems import MEDIA_TYPE, problem
from web.schema import REFUSALS, ProblemSerializer

MEDIA_TYPES = {
    "application/x-ndjson": NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonl": NDJSON,
    "text/csv": CSV,
}
LONGEST_KEY = 200
STATUS = {UnderWay: 409, LeaseLost: 409, Disabled: 409, NotAFeed: 400, KeyReused: 422}
RETRY_AFTER = 30  # seconds


class LengthRequired(APIException):
    status_code = 411
    default_detail = "Say how long the body is: Content-Length. Without it a body that broke off would look whole."


class IntakeSchema(AutoSchema):
    """What drf-spectacular cannot guess: a body that is no object, and an answer that no serializer makes."""

    view: Any

    def get_tags(self) -> list[str]:
        return ["intake"]

    def get_operation_id(self) -> str:
        return "send_rows"

    def get_summary(self) -> str:
        return "Send rows to a feed."

    def get_description(self) -> str:  # type: ignore[override]
        return (
            "One row a line, as JSON objects or as CSV with a header; `Content-Encoding: gzip` is understood. Good "
            "rows are taken, bad ones are listed by line. Nothing is applied before the whole body is here. "
            "`intake/schema/` is the JSON Schema of a row."
        )

    def get_override_parameters(self) -> list[Any]:
        return [
            OpenApiParameter("connection", str, required=True, description="Name or id of the feed."),
            OpenApiParameter(
                "Idempotency-Key",
                {"type": "string", "maxLength": LONGEST_KEY},
                OpenApiParameter.HEADER,
                description="The same key with the same body is taken once; the answer is that of the first time.",
            ),
            OpenApiParameter("Content-Encoding", {"type": "string", "enum": [IDENTITY, GZIP]}, OpenApiParameter.HEADER),
        ]

    def get_request_serializer(self) -> Any:
        return None

    def get_response_serializers(self) -> Any:
        return None

    def _get_request_body(self, direction: Any = "request") -> Any:
        return {
            "required": True,
            "content": {name: {"schema": {"type": "string", "format": "binary"}} for name in MEDIA_TYPES},
        }

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        refused = self.resolve_serializer(ProblemSerializer, "response").ref
        sentences = {
            "400": "The body cannot be read as a whole, or a parameter is not understood.",
            "401": "Nobody is signed in, or the API token is unknown or has expired.",
            "403": "The actor holds no role that allows this.",
            "409": "Another delivery to this feed is under way, or the feed is switched off.",
            "411": "The length of the body was not announced.",
            "415": "The content type or encoding is not understood.",
            "422": "No row could be taken, or the key came with another body before.",
            "429": REFUSALS["429"],
        }
        return {
            "200": {
                "description": "What was taken and what was not",
                "content": {"application/json": {"schema": TOLD}},
            },
            **{
                status: {"description": sentence, "content": {MEDIA_TYPE: {"schema": refused}}}
                for status, sentence in sentences.items()
            },
        }


_COUNT = {"type": "integer", "minimum": 0}
TOLD: dict[str, Any] = {
    "type": "object",
    "required": ["run", "connection", "state", "replayed", "rows", "changes", "errors", "detail"],
    "properties": {
        "run": {"type": "string", "format": "uri", "description": "The run as an object of the API."},
        "connection": {"type": "string", "format": "uri"},
        "state": {"enum": ["complete", "partial"], "description": "`partial` when a row was not taken."},
        "replayed": {"type": "boolean", "description": "Whether this had been taken before, and nothing was written."},
        "rows": {
            "type": "object",
            "properties": {
                "read": _COUNT,
                "taken": _COUNT,
                "refused": _COUNT,
                "repeated": {**_COUNT, "description": "Described again by a later row, which counted."},
                "unresolved": {**_COUNT, "description": "Naming something that the inventory does not have."},
            },
        },
        "changes": {"type": "object", "additionalProperties": _COUNT},
        "errors": {
            "type": "array",
            "description": "The first of them; `rows` has the whole number.",
            "items": {
                "type": "object",
                "required": ["line", "field", "detail"],
                "properties": {"line": _COUNT, "field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "detail": {"type": "string", "description": "A sentence for people; empty when every row was taken."},
    },
}


class Intake(APIView):
    """Takes rows. Nothing of the body is repeated in an answer."""

    http_method_names = ["post", "options"]  # noqa: RUF012  declared so by the framework
    rights: ClassVar = {"post": Right.FEED}
    content_negotiation_class = ByHeader
    schema = IntakeSchema()

    def post(self, request: Request) -> Any:
        check_parameters(request.query_params, ("connection",))
        django_request = request._request
        feed = self._feed(request)
        format_, encoding = _format_of(django_request), _encoding_of(django_request)
        key = _key_of(django_request)
        read, length = _source_of(django_request)
        try:
            receipt = take(
                feed,
                pieces(read, length=length, encoding=encoding),
                format_=format_,
                clock=timezone.now,
                actor=django_request.actor,  # type: ignore[attr-defined]
                key=key,
            )
        except NothingTaken as exc:
            return problem(422, str(exc), rows={"refused": exc.refused}, row_errors=_errors(exc.problems))
        except (Malformed, CutShort) as exc:
            return problem(400, str(exc))
        except BadSettings as exc:
            return problem(409, str(exc))
        except InventoryError as exc:
            status = next((status for kind, status in STATUS.items() if isinstance(exc, kind)), None)
            if status is None:
                raise
            headers = {"Retry-After": str(RETRY_AFTER)} if isinstance(exc, UnderWay) else None
            return problem(status, str(exc), headers=headers)
        return Response(self._told(request, feed, receipt), headers={"Cache-Control": "no-store"})

    def _feed(self, request: Request) -> Connection:
        named = request.query_params.get("connection", "")
        wanted = Q(name=named)
        with suppress(ValueError):  # it is a name
            wanted |= Q(pk=UUID(named))
        actor: Actor = request._request.actor  # type: ignore[attr-defined]
        found = None if "\x00" in named else Connection.objects.visible_to(actor).filter(wanted).first()
        if found is None:
            raise ValidationError({"connection": ["Name a feed that is there: its name or its id."]})
        return found

    def _told(self, request: Request, feed: Connection, receipt: Receipt) -> dict[str, Any]:
        run = receipt.run
        root = request.build_absolute_uri(reverse("api_root"))
        return {
            "run": f"{root}{SyncRunSerializer.noun}/{run.pk}/",
            "connection": f"{root}{ConnectionSerializer.noun}/{feed.pk}/",
            "state": run.state,
            "replayed": receipt.is_replay,
            "rows": run.received,
            "changes": run.counts,
            "errors": _errors(run.problems),
            "detail": run.error,
        }


class RowSchema(APIView):
    """JSON Schema of a row. It says nothing about the estate, so tools may read it without a token."""

    schema = None
    authentication_classes = ()
    permission_classes = ()
    content_negotiation_class = ByHeader

    def get(self, request: Request) -> Any:
        return answer(request._request, _row_schema())


@cache
def _row_schema() -> bytes:
    return as_body(json_schema())


def _errors(problems: Any) -> list[dict[str, Any]]:
    return [{"line": each["line"], "field": each["pointer"], "detail": each["reason"]} for each in problems]


def _format_of(request: HttpRequest) -> str:
    name, _, options = (request.headers.get("Content-Type") or "").partition(";")
    format_ = MEDIA_TYPES.get(name.strip().lower())
    charset = options.replace(" ", "").lower().replace('"', "").partition("charset=")[2].partition(";")[0]
    if format_ is None or charset not in {"", "utf-8", "utf8"}:
        raise UnsupportedMediaType("", detail=f"Send {' or '.join(MEDIA_TYPES)}, in UTF-8.")
    return format_


def _encoding_of(request: HttpRequest) -> str:
    encoding = (request.headers.get("Content-Encoding") or IDENTITY).strip().lower()
    if encoding not in {IDENTITY, GZIP}:
        raise UnsupportedMediaType("", detail="The encoding of a body is gzip or identity.")
    return encoding


def _key_of(request: HttpRequest) -> str:
    key: str = request.headers.get("Idempotency-Key") or ""
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise ValidationError({"Idempotency-Key": [f"A key has at most {LONGEST_KEY} printable characters of ASCII."]})
    return key.strip()


def _source_of(request: HttpRequest) -> tuple[Any, int]:
    """How the body is read, and how long it is. Without a length a body that broke off would look whole."""
    announced = request.META.get("CONTENT_LENGTH") or ""
    if not announced.isascii() or not announced.isdecimal() or len(announced) > 15:
        raise LengthRequired
    return request.read, int(announced)
