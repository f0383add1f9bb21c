"""What every read of the REST API shares: strict parameters, keyset pages, conditional answers and streamed exports."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from types import SimpleNamespace
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django_filters import FilterSet, MultipleChoiceFilter
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import MethodNotAllowed, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import BasePagination
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param
from rest_framework.viewsets import GenericViewSet

from history import past
from history.kept import has_past
from web.csvfiles import CHUNK, Field, lines
from web.paging import BadCursor, Ordering, page, page_of_few
from web.schema import LISTINGS, ReadSchema
from web.shapes import Link, Shape, fields_of

ARRIVAL = Ordering("id", (), ascending_words="first seen first", descending_words="newest first")
PAGE_SIZE = 100
LARGEST_PAGE = 1_000
OF_LISTS = frozenset({"cursor", "page_size"})
OF_OBJECTS = frozenset({"fields"})
OF_ORDER = frozenset({"ordering"})
OF_TIME = frozenset({past.PARAMETER})


# ── Parameters ─────────────────────────────────────────────────────────────────────────────────


def check_parameters(params: QueryDict, known: Iterable[str], *, repeatable: Iterable[str] = ()) -> None:
    """Refuse what is not known, given twice or given empty: each of them would silently list something else."""
    names = sorted(known)
    errors = {}
    for name, values in params.lists():
        if name not in names and name == past.PARAMETER:
            errors[name] = ["No past is kept of this; it answers of the present alone."]
        elif name not in names:
            near = get_close_matches(name, names, n=1)
            errors[name] = ["There is no such parameter here." + (f" Did you mean {near[0]}?" if near else "")]
        elif len(values) > 1 and name not in repeatable:
            errors[name] = ["Give this parameter once."]
        elif "" in values:
            errors[name] = ["Give a value, or leave the parameter out."]
    if errors:
        raise ValidationError(errors)


def cleaned(filterset: FilterSet) -> Mapping[str, Any]:
    """The filters' values, or a `ValidationError` that names the ones that are not understood."""
    if not filterset.form.is_valid():
        raise ValidationError({name: [str(text) for text in texts] for name, texts in filterset.errors.items()})
    values: Mapping[str, Any] = filterset.form.cleaned_data
    ignored = [name for name in values if filterset.data.get(name) and values[name] in (None, "", [])]
    if ignored:
        raise ValidationError({name: ["This value is not understood."] for name in ignored})
    return values


class StrictFilters(DjangoFilterBackend):  # type: ignore[misc]
    """The same filter sets as the pages, but nothing that is not understood is passed over."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: "ReadOnlyViewSet") -> QuerySet[Any]:
        filterset = view.filterset_class(request.query_params, queryset=queryset, request=request)
        cleaned(filterset)
        narrowed: QuerySet[Any] = filterset.qs
        return narrowed


# ── Pages ──────────────────────────────────────────────────────────────────────────────────────


class KeysetPagination(BasePagination):
    """`web.paging` as the REST framework and its schema know it. The view's `orderings` say what can be sorted by."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.request = request
        try:
            ordering = asked_ordering(request, view.orderings)
            self.page = page(queryset, ordering, request.query_params.get("cursor"), asked_size(request))
        except BadCursor as exc:
            raise ValidationError({"cursor": [str(exc)]}) from exc
        return self.page.rows

    def link(self, cursor: str | None) -> str | None:
        return replace_query_param(self.request.build_absolute_uri(), "cursor", cursor) if cursor else None

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": "page_size",
                "in": "query",
                "description": "How many objects a page holds.",
                "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE_SIZE},
            },
            {
                "name": "cursor",
                "in": "query",
                "description": "Where a page begins, as `next` and `previous` of another one say.",
                "schema": {"type": "string"},
            },
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {"results": schema, "next": link, "previous": link},
        }


def asked_ordering(request: Request, orderings: Sequence[Ordering]) -> Ordering:
    asked = request.query_params.get("ordering", "")
    if not asked:
        return orderings[0]
    for ordering in orderings:
        if ordering.name == asked.removeprefix("-"):
            return ordering.directed(descending=asked.startswith("-"))
    allowed = ", ".join(ordering.name for ordering in orderings)
    raise ValidationError({"ordering": [f"This list can be sorted by {allowed}, each with a minus in front too."]})


def asked_size(request: Request) -> int:
    asked = request.query_params.get("page_size", str(PAGE_SIZE))
    if not asked.isascii() or not asked.isdecimal() or len(asked) > 6 or not 1 <= int(asked) <= LARGEST_PAGE:
        raise ValidationError({"page_size": [f"Give a number from 1 to {LARGEST_PAGE}."]})
    return int(asked)


def asked_fields(request: Request, shape: type[Shape]) -> Sequence[str]:
    """The members asked for, in the order of the shape."""
    known = shape.names()
    if "fields" not in request.query_params:
        return known
    asked = {name.strip() for name in request.query_params["fields"].split(",")}
    if unknown := sorted(asked.difference(known)):
        raise ValidationError({"fields": [f"There is no {name!r} here." for name in unknown]})
    return [name for name in known if name in asked]


# ── Answers ────────────────────────────────────────────────────────────────────────────────────


def answer(request: HttpRequest, body: bytes) -> HttpResponse:
    """JSON that a client may keep to itself and must ask again about, which `ETag` makes cheap."""
    response = HttpResponse(body, content_type="application/json")
    response["Cache-Control"] = "private, no-cache"
    response["Vary"] = "Accept, Authorization, Cookie"
    etag = f'W/"{blake2b(body, digest_size=16).hexdigest()}"'
    response["ETag"] = etag
    return get_conditional_response(request, etag=etag, response=response) or response


def as_body(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def list_body(rows: Iterable[str], following: str | None, previous: str | None) -> bytes:
    links = json.dumps({"next": following, "previous": previous})
    return f'{{"results":[{",".join(rows)}],{links[1:]}'.encode()


def chunks(rows: Iterator[str]) -> Iterator[str]:
    while batch := list(islice(rows, CHUNK)):
        yield "\n".join(batch) + "\n"


def stream(parts: Iterable[str], media_type: str, filename: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(parts, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["Cache-Control"] = "no-store"
    return response


def in_transaction(rows: QuerySet[Any]) -> Iterator[str]:
    """Read by a server-side cursor of its own transaction: outside one it would first be copied as a whole."""
    with transaction.atomic():
        yield from rows.iterator(chunk_size=CHUNK)


def csv_columns(name: str, shape: type[Shape]) -> Iterator[Field]:
    """A linked object becomes its display text and its id; what is nested stays JSON."""
    if isinstance(fields_of(shape)[name], Link):
        yield name, lambda row: row[name] and row[name]["display"]
        yield f"{name}_id", lambda row: row[name] and row[name]["id"]
    else:
        yield name, lambda row: json.dumps(row[name]) if isinstance(row[name], dict) else row[name]


class NdjsonRenderer(JSONRenderer):
    """For the choice of media type alone; the export writes itself, and an error is a problem in JSON."""

    media_type = "application/x-ndjson"
    format = "ndjson"


class CsvRenderer(JSONRenderer):
    media_type = "text/csv"
    format = "csv"


class ByHeader(DefaultContentNegotiation):
    """The `Accept` header alone decides; `?format=` is a parameter like any other, and unknown."""

    settings: Any = SimpleNamespace(URL_FORMAT_OVERRIDE=None)


# ── Views ──────────────────────────────────────────────────────────────────────────────────────


class ReadOnlyViewSet(GenericViewSet[Any]):
    """A noun of the API: what may be seen of it, its shape, filters and orders. The API's root is called `api_root`."""

    queryset: QuerySet[Any]
    serializer_class: type[Shape]
    object_class: type[Shape] | None = None  # where one object says more than a row of a list does
    filterset_class: type[FilterSet]
    orderings: Sequence[Ordering] = (ARRIVAL,)
    http_method_names = ["get", "head", "options"]  # noqa: RUF012  declared so by the framework
    filter_backends = (StrictFilters,)
    pagination_class = KeysetPagination
    content_negotiation_class = ByHeader
    lookup_url_kwarg = "id"
    lookup_value_converter = "uuid"
    schema = ReadSchema()
    # What else can be fetched of one object, by its place in the object's address: the method that answers.
    files: ClassVar[Mapping[str, str]] = {}
    # Why such a file may not be had, by status, beside what every read may be refused for.
    file_refusals: ClassVar[Mapping[str, str]] = {}
    # What one object says beyond its row, by name; each is reckoned when it is asked for, so a list is without them.
    parts: ClassVar[Mapping[str, Callable[[Any, Any], Any]]] = {}

    def check_permissions(self, request: Request) -> None:
        """Who may not read learns that first; who may learns that a read is all there is."""
        if request.method and request.method.lower() in self.http_method_names:
            super().check_permissions(request)
        elif request.successful_authenticator:
            raise MethodNotAllowed(request.method or "")
        else:
            self.permission_denied(request)

    def visible(self, actor: Any) -> QuerySet[Any]:
        """What `actor` may see. Where the queryset has no such word of its own, a view says it here."""
        return self.queryset.all().visible_to(actor)  # type: ignore[attr-defined,no-any-return]

    def get_queryset(self) -> QuerySet[Any]:
        return self.visible(self.request.actor)  # type: ignore[attr-defined]

    # ── Actions ──

    def list(self, request: Request) -> HttpResponse:
        self._check(OF_LISTS | OF_OBJECTS | OF_ORDER | self.of_time)
        with self._looking():
            rows, following, previous = self.page_of(asked_fields(request, self.serializer_class))
            return answer(request._request, list_body(rows, following, previous))

    def retrieve(self, request: Request, **kwargs: Any) -> HttpResponse:
        check_parameters(request.query_params, OF_OBJECTS | self.of_time)
        with self._looking():
            row = self.one(kwargs["id"], asked_fields(request, self.shape))
        if row is None:
            raise Http404
        return answer(request._request, row.encode())

    def ndjson(self, request: Request) -> HttpResponseBase:
        return stream(chunks(self._export()), "application/x-ndjson", self._filename("ndjson"))

    def csv(self, request: Request) -> HttpResponseBase:
        rows = self._export()
        fields = [
            column
            for name in asked_fields(request, self.serializer_class)
            for column in csv_columns(name, self.serializer_class)
        ]
        return stream(lines(map(json.loads, rows), fields), "text/csv; charset=utf-8", self._filename("csv"))

    # ── Rows, as the JSON text that the database wrote ──

    def page_of(self, names: Sequence[str]) -> tuple[Iterable[str], str | None, str | None]:
        queryset = self.filter_queryset(self.get_queryset()).annotate(json_text=self._row(names)).only("pk")
        rows = self.paginate_queryset(queryset)
        paginator: KeysetPagination = self.paginator  # type: ignore[assignment]
        texts = (row.json_text for row in rows or ())
        return texts, paginator.link(paginator.page.next), paginator.link(paginator.page.previous)

    def one(self, pk: Any, names: Sequence[str]) -> str | None:
        stored = [name for name in names if name not in self.parts]
        rows = self.get_queryset().filter(pk=pk).annotate(json_text=self._row(stored)).order_by()
        found: list[str] = list(rows.values_list("json_text", flat=True)[:1])
        if not found:
            return None
        wanted = [name for name in self.parts if name in names]
        said = "".join(f', "{name}": {as_body(self.parts[name](self, pk)).decode()}' for name in wanted)
        return f"{found[0][:-1]}{said.removeprefix(', ') if found[0] == '{}' else said}}}" if wanted else found[0]

    def all_of(self, names: Sequence[str]) -> Iterator[str]:
        """Every row that the filters leave, as of one moment, in constant memory. Read on from inside the response."""
        queryset = self.filter_queryset(self.get_queryset()).annotate(json_text=self._row(names))
        rows = asked_ordering(self.request, self.orderings).apply(queryset).values_list("json_text", flat=True)
        return in_transaction(rows)

    # ── Helpers ──

    @property
    def has_past(self) -> bool:
        return has_past(self.queryset.model)

    @property
    def of_time(self) -> frozenset[str]:
        return OF_TIME if self.has_past else frozenset()

    @cached_property
    def _moment(self) -> datetime | None:
        """The past instant that is asked about, if it is one."""
        asked = self.request.query_params.get(past.PARAMETER)
        if asked is None:
            return None
        try:
            return past.instant_of(asked, now=timezone.now())
        except past.NoSuchPast as exc:
            raise ValidationError({past.PARAMETER: [str(exc)]}) from exc

    def _looking(self) -> AbstractContextManager[None]:
        return past.looking_at(self._moment) if self._moment else nullcontext()

    @property
    def shape(self) -> type[Shape]:
        return (None if self.action in LISTINGS else self.object_class) or self.serializer_class

    @property
    def root(self) -> str:
        return self.request.build_absolute_uri(reverse("api_root"))

    def _row(self, names: Sequence[str]) -> Any:
        return self.shape.row(self.root, names)

    def _check(self, own: Iterable[str]) -> None:
        filters = self.filterset_class.base_filters
        repeatable = [name for name, each in filters.items() if isinstance(each, MultipleChoiceFilter)]
        check_parameters(self.request.query_params, {*filters, *own}, repeatable=repeatable)

    def _export(self) -> Iterator[str]:
        self._check(OF_OBJECTS | OF_ORDER | self.of_time)
        with self._looking():  # a filter may ask the database already
            rows = self.all_of(asked_fields(self.request, self.serializer_class))
        return past.read_at(self._moment, rows) if self._moment else rows

    def _filename(self, extension: str) -> str:
        return f"keyreeve-{self.serializer_class.noun}-{self._moment or timezone.now():%Y-%m-%d}.{extension}"


class DeclaredViewSet(ReadOnlyViewSet):
    """A noun of what a release declares: few objects and no table, with all that lists of tables can do."""

    orderings = (Ordering("id", ()),)

    def kept(self, names: Sequence[str]) -> Mapping[str, str]:
        """The objects that the filters leave, as JSON by their ids."""
        raise NotImplementedError

    def page_of(self, names: Sequence[str]) -> tuple[Iterable[str], str | None, str | None]:
        ordering, size = asked_ordering(self.request, self.orderings), asked_size(self.request)
        paginator: KeysetPagination = self.paginator  # type: ignore[assignment]
        paginator.request = self.request
        try:
            found = page_of_few(self.kept(names), ordering, self.request.query_params.get("cursor"), size)
        except BadCursor as exc:
            raise ValidationError({"cursor": [str(exc)]}) from exc
        return found.rows, paginator.link(found.next), paginator.link(found.previous)

    def all_of(self, names: Sequence[str]) -> Iterator[str]:
        ordering, kept = asked_ordering(self.request, self.orderings), self.kept(names)
        return iter([kept[pk] for pk in sorted(kept, reverse=ordering.descending)])
