"""Writes over REST: a body that is checked, an action that is called, and the object as it stands afterwards.

A view says which body a write takes; what it does is the action that the page calls too:

    @writes(ReasonSerializer, "Cancel an operation.")
    def cancel(self, row, given):
        cancel(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import wraps
from hashlib import blake2b
from typing import Any, ClassVar

from django.db import IntegrityError, models, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from web.api import ReadOnlyViewSet, check_parameters
from web.models import KeptAnswer
from web.problems import problem
from web.schema import HEADER, LONGEST_KEY, NO_CONTENT

KEPT_FOR = timedelta(days=7)
CREATED = 201


class KeyReused(Exception):
    """This Idempotency-Key came with another request before. Choose a new key for a new request."""

    def __str__(self) -> str:
        return str(self.__doc__)


def writes(body: type[Serializer[Any]], summary: str, *, status: int = 200) -> Callable[[Any], Any]:
    """Make a write of a method that takes the row, where there is one, and what was given, and gives the row."""

    def mark(method: Any) -> Any:
        @wraps(method)
        def handler(self: "WritingViewSet", request: Request, **kwargs: Any) -> HttpResponse | Response:
            return self.write(request, handler, method, **kwargs)

        handler.body, handler.summary, handler.status = body, summary, status  # type: ignore[attr-defined]
        return handler

    return mark


class WritingViewSet(ReadOnlyViewSet):
    """A noun that can be written as well. `refusals` says as which status each error of an action is answered."""

    http_method_names = ["get", "head", "options", "post"]  # noqa: RUF012  declared so by the framework
    verbs: ClassVar[Mapping[str, str]] = {}  # by its place in the address of one object, the method that it calls
    refusals: ClassVar[Mapping[type[Exception], int]] = {}

    @property
    def actor(self) -> Any:
        return self.request._request.actor  # type: ignore[attr-defined]

    def write(self, request: Request, mark: Any, method: Any, **kwargs: Any) -> HttpResponse | Response:
        check_parameters(request.query_params, ())
        given = read(request, mark.body)
        key, now = key_of(request._request), timezone.now()
        try:
            with transaction.atomic():
                kept, is_replay = _kept(request, self.actor, key, now=now) if key else (None, False)
                if kept is not None and is_replay:
                    return _answer(kept.status, kept.body, kept.location, is_replay=True)
                row = method(self, *([self.found(kwargs["id"])] if kwargs else []), given)
                said = None if mark.status == NO_CONTENT else self.one(row.pk, self.shape.names())
                # Whoever gave something away sees it no more: it was done, and there is nothing to show for it.
                status = NO_CONTENT if said is None and mark.status != CREATED else mark.status
                text = said or ""
                at = f"{self.root}{self.serializer_class.noun}/{row.pk}/" if mark.status == CREATED else ""
                if kept is not None:
                    kept.status, kept.body, kept.location = status, text, at
                    kept.save()
        except KeyReused as exc:
            return problem(422, str(exc))
        except tuple(self.refusals) as exc:
            refused_as = next(status for kind, status in self.refusals.items() if isinstance(exc, kind))
            return problem(refused_as, str(exc))
        return _answer(status, text, at)

    def found(self, pk: Any) -> models.Model:
        row: models.Model | None = self.get_queryset().filter(pk=pk).first()
        if row is None:
            raise Http404
        return row


def read(request: Request, body: type[Serializer[Any]]) -> Mapping[str, Any]:
    """The body as its serializer has it. What it does not know is refused: it would silently be left undone."""
    data: Any = request.data or {}
    if not isinstance(data, Mapping) or isinstance(request.data, list):
        raise ValidationError({"body": ["Send one JSON object."]})
    form = body(data=data, context={"request": request})
    known = list(form.fields)
    unknown = {}
    for name in data:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            unknown[str(name)] = ["There is no such field here." + (f" Did you mean {near[0]}?" if near else "")]
    if unknown:
        raise ValidationError(unknown)
    form.is_valid(raise_exception=True)
    given: Mapping[str, Any] = form.validated_data
    return given


def key_of(request: HttpRequest) -> str:
    key = (request.headers.get(HEADER) or "").strip()
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise ValidationError({HEADER: [f"A key has at most {LONGEST_KEY} printable characters of ASCII."]})
    return key


def _kept(request: Request, actor: Any, key: str, *, now: datetime) -> tuple[KeptAnswer, bool]:
    """The answer of the first time, or a place for this one. Whoever comes second waits here for the first to end."""
    who = actor.key[:200]
    asked = json.dumps([request.method, request.path, request.data or {}], sort_keys=True, default=str)
    digest = blake2b(asked.encode(), digest_size=32).hexdigest()
    KeptAnswer.objects.filter(actor=who, kept_at__lt=now - KEPT_FOR).delete()
    try:
        with transaction.atomic():
            return KeptAnswer.objects.create(actor=who, key=key, digest=digest, kept_at=now), False
    except IntegrityError:
        kept = KeptAnswer.objects.get(actor=who, key=key)
    if kept.digest != digest:
        raise KeyReused
    return kept, True


def _answer(status: int, text: str, location: str, *, is_replay: bool = False) -> HttpResponse:
    response = HttpResponse(text.encode(), status=status, content_type="application/json")
    if status == NO_CONTENT:
        del response["Content-Type"]
    response["Cache-Control"] = "no-store"
    if location:
        response["Location"] = location
    if is_replay:
        response["Idempotency-Replayed"] = "true"
    return response
