"""A list page as data: columns, filters, orders, saved views. One URL gives the page, the fragment and the CSV.

An app declares one `ListPage` and one row template, and its view is `return LIST.respond(request, queryset)`:

    CREDENTIALS = ListPage(
        name="credentials", title="Credentials", noun="credential",
        columns=(
            Column("name", "Credential", value=attrgetter("name"), sort="name"),
            Column("owner", "Owner", value=attrgetter("owner"), priority=2),
        ),
        orderings=(Ordering("name", ("name",), ascending_words="by name", descending_words="by name, backwards"),),
        filterset=CredentialFilter,
        row_template="inventory/_credential_row.html",
    )

The row template gives the cells that need more than text: `{% cell "owner" %}{% who row.owner %}{% endcell %}`.
Cells stand where their columns stand, whatever their order in the template.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase

from history.past import PARAMETER, instant, now
from web.csvfiles import CHUNK, Field, csv_response
from web.narrowing import fill_menus, only
from web.pages import render_page_or_fragment
from web.paging import COUNT_LIMIT, BadCursor, Capped, Ordering, Page, capped_count, capped_counts, page

TAB_LIMIT = 1_000  # a tab's count is a hint, so it looks at fewer rows than the list's own
GROUP_LIMIT = 500  # and a page has up to as many groups as rows
KEPT = frozenset(
    {"sort", "cursor", "col", "format", PARAMETER}
)  # parameters of the list itself; all others are filters


@dataclass(frozen=True)
class Column:
    key: str
    label: str
    value: Callable[[Any], Any] | None = None  # text for the cell, and what the CSV holds
    sort: str = ""  # name of an ordering
    priority: int = 1  # 2 to 4: the higher, the earlier it leaves a narrow table
    is_numeric: bool = False
    is_shown: bool = True  # unless somebody chooses otherwise
    is_label_hidden: bool = False
    css: str = ""

    @property
    def classes(self) -> str:
        parts = ("num" if self.is_numeric else "", f"p{self.priority}" if self.priority > 1 else "", self.css)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class View:
    """A saved view: a tab that is a query string."""

    label: str
    query: str = ""
    is_counted: bool = True


@dataclass(frozen=True)
class Bulk:
    """What can be done with the picked rows. The form posts `id` once per row; the answer asks what it must ask."""

    label: str
    url: str
    icon: str = ""
    key: str = ""
    tone: str = ""  # primary or danger


@dataclass(frozen=True)
class Empty:
    """What an empty list says: why it is empty and the way out."""

    title: str
    text: str = ""
    url: str = ""
    label: str = ""


@dataclass(frozen=True)
class Chip:
    label: str
    text: str
    query: str  # without this filter
    url: str


@dataclass(frozen=True)
class Head:
    column: Column
    url: str = ""
    direction: str = ""  # ascending or descending when the list is sorted by it


@dataclass(frozen=True)
class Tab:
    label: str
    url: str
    is_current: bool
    count: Capped | None


@dataclass(frozen=True)
class Group:
    """Rows under one head; how many there are of it in the whole list, and where they are alone."""

    key: Hashable
    rows: list[Any]
    count: Capped | None = None
    url: str = ""


@dataclass(frozen=True)
class ListPage:
    name: str  # in ids and in the CSV's file name
    title: str
    noun: str  # `credential`, or `entry,entries`
    columns: Sequence[Column]
    orderings: Sequence[Ordering]  # the first is the default, in the direction it is declared with
    filterset: type[Any] | None = None
    row_template: str = ""
    views: Sequence[View] = ()
    empty: Empty = Empty("Nothing here yet")
    row_css: Callable[[Any], str] | None = None
    row_label: Callable[[Any], str] = str
    group: Callable[[Any], Hashable] | None = None  # rows of one group follow each other in every order offered
    group_template: str = ""
    group_rows: Callable[[QuerySet[Any], Any], QuerySet[Any]] | None = None  # those of one group, found by an index
    group_filter: Callable[[Any], Mapping[str, str]] | None = None  # the filters that show one group alone
    size: int = 50
    template: str = "web/list.html"
    fragment: str = "web/_table.html"
    csv: Sequence[Field] = ()  # instead of the columns' values

    def respond(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        *,
        bulk: Sequence[Bulk] = (),
        context: Mapping[str, Any] | None = None,
    ) -> HttpResponseBase:
        """The page, the fragment or the CSV of what `queryset` and the query string leave."""
        listing = Listing(self, request, queryset, bulk)
        if request.GET.get("format") == "csv" and not listing.faults:
            rows = listing.ordering.apply(listing.queryset).iterator(chunk_size=CHUNK)
            return csv_response(rows, self.csv_fields, f"keyreeve-{self.name}-{now():%Y-%m-%d}.csv")
        return render_page_or_fragment(
            request,
            self.template,
            self.fragment,
            {"list": listing, **(context or {})},
            status=400 if listing.faults else 200,
        )

    @property
    def csv_fields(self) -> Sequence[Field]:
        return self.csv or [(column.key, column.value) for column in self.columns if column.value]


@dataclass
class Listing:
    """One asked-for list: the declaration, read with the query string. Templates know it as `list`."""

    page: ListPage
    request: HttpRequest
    given: QuerySet[Any]
    bulk: Sequence[Bulk] = ()
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.params = self.request.GET
        self.filters = self._filterset(self.params)
        self.queryset = self.given
        if self.filters is not None:
            if self.filters.form.is_valid():
                self.queryset = self.filters.qs
            else:
                self.faults += self._form_faults()
        self.ordering = self._ordering()
        self.columns = self._columns()
        self.cells = self._cells()
        self.chips = list(self._chips())
        self.result = self._page()
        self.rows = self.result.rows

    # ── Reading the query string ──

    def _filterset(self, params: QueryDict) -> Any:
        if self.page.filterset is None:
            return None
        return self.page.filterset(params, queryset=self.given, request=self.request)

    def _form_faults(self) -> list[str]:
        form = self.filters.form
        return [
            f"{form.fields[name].label or name}: {' '.join(errors)}" if name in form.fields else " ".join(errors)
            for name, errors in form.errors.items()
        ]

    def _ordering(self) -> Ordering:
        default = self.page.orderings[0]
        asked = self.params.get("sort", "")
        if not asked:
            return default
        for ordering in self.page.orderings:
            if ordering.name == asked.removeprefix("-"):
                return ordering.directed(descending=asked.startswith("-"))
        self.faults.append(f"This list cannot be sorted by “{asked[:40]}”.")
        return default

    def _columns(self) -> list[Column]:
        """The first column names the row and always stays."""
        chosen = set(self.params.getlist("col"))
        first, *others = self.page.columns
        return [first, *(each for each in others if (each.key in chosen if chosen else each.is_shown))]

    def _cells(self) -> list[tuple[Column, str, str]]:
        """Each shown column with what stands before and after its cell in every row."""
        first, *others = self.columns
        return [
            (first, f'<th scope="row" class="wide {first.classes}">', "</th>"),
            *((column, f'<td class="{column.classes}">', "</td>") for column in others),
        ]

    def _page(self) -> Page[Any]:
        if self.faults:
            return Page([], None, None)
        try:
            result = page(self.queryset, self.ordering, self.params.get("cursor"), self.page.size)
        except BadCursor as exc:
            self.faults.append(str(exc))
            return Page([], None, None)
        if not result.rows and self.params.get("cursor"):  # that part of the list is gone: begin again
            return page(self.queryset, self.ordering, None, self.page.size)
        return result

    # ── Addresses ──

    def url(self, params: QueryDict) -> str:
        query = params.urlencode()
        return f"{self.request.path}?{query}" if query else self.request.path

    def _changed(self, *, keep_cursor: bool = False, **changes: str | None) -> QueryDict:
        params = self.params.copy()
        for name in () if keep_cursor else ("cursor", "format"):
            params.pop(name, None)
        for name, value in changes.items():
            params.pop(name, None)
            if value:
                params[name] = value
        return params

    @property
    def csv_url(self) -> str:
        return self.url(self._changed(cursor=None, format="csv")) if self.page.csv_fields else ""

    @property
    def first_url(self) -> str:
        return self.url(self._changed())

    @property
    def next_url(self) -> str:
        return self.url(self._changed(cursor=self.result.next)) if self.result.next else ""

    @property
    def previous_url(self) -> str:
        return self.url(self._changed(cursor=self.result.previous)) if self.result.previous else ""

    @property
    def clear_url(self) -> str:
        return self.url(_only(self.params, {"sort", "col", PARAMETER}))

    @property
    def root(self) -> str:
        """The id of the element that htmx swaps."""
        return f"list-{self.page.name}"

    # ── What the template shows ──

    @property
    def noun(self) -> str:
        return self.page.noun.partition(",")[0]

    @property
    def nouns(self) -> str:
        one, _, many = self.page.noun.partition(",")
        return many or f"{one}s"

    @property
    def count(self) -> Capped:
        if not hasattr(self, "_count"):
            self._count = Capped(0) if self.faults else capped_count(self.queryset)
        return self._count

    @property
    def heads(self) -> Iterator[Head]:
        orderings = {ordering.name: ordering for ordering in self.page.orderings}
        for column in self.columns:
            ordering = orderings.get(column.sort)
            if ordering is None:
                yield Head(column)
                continue
            is_current = ordering.name == self.ordering.name
            target = ordering.directed(descending=not self.ordering.descending) if is_current else ordering
            direction = ("descending" if self.ordering.descending else "ascending") if is_current else ""
            yield Head(column, self.url(self._changed(sort=target.parameter)), direction)

    @cached_property
    def tabs(self) -> list[Tab]:
        """The views declared for the list, and those that the person saved. Only a declared one is counted, of now."""
        saved = [View(view.label, view.query, is_counted=False) for view in self.saved]
        views = [*self.page.views, *saved]
        queries = [QueryDict(view.query) for view in views]
        # Of the past none is: what few rows have, such as having gone, is found there by walking all the others.
        counted = [i for i, view in enumerate(views) if view.is_counted and instant() is None]
        tabs = [self._left_by(queries[i]) for i in counted]
        if self.rows:
            # The pager below asks for the list's own count, and heads for their groups': parts of the same statement.
            parts = self._parts
            limits = COUNT_LIMIT, *(GROUP_LIMIT for _ in parts), TAB_LIMIT
            self._count, *found = capped_counts([self.queryset, *parts, *tabs], *limits)
            self._part_counts, found = found[: len(parts)], found[len(parts) :]
        else:
            found = capped_counts(tabs, TAB_LIMIT) if tabs else []
        counts = dict(zip(counted, found, strict=True))
        here = self.saved_here
        current = len(self.page.views) + list(self.saved).index(here) if here else self._current_view(queries)
        return [Tab(view.label, self.url(queries[i]), i == current, counts.get(i)) for i, view in enumerate(views)]

    @property
    def saved(self) -> Sequence[Any]:
        """The person's own views of this list, each with a label, a query and a key."""
        return getattr(self.request, "saved_views", ())

    @property
    def saved_here(self) -> Any:
        """The saved view that is shown, if it is one of the person's own."""
        present = {pair for pair in _pairs(self.params) if pair[0] not in KEPT - {"sort", "col"}}
        return next((view for view in self.saved if set(_pairs(QueryDict(view.query))) == present), None)

    @property
    def can_be_saved(self) -> bool:
        """Whether there is anything to give a name to that has none."""
        given = {pair for pair in _pairs(self.params) if pair[0] not in {"cursor", "format", PARAMETER}}
        return bool(given) and self.saved_here is None and given != self._said_by_tab

    def _left_by(self, params: QueryDict) -> QuerySet[Any]:
        declared: Any = self.page.filterset
        if not params or declared is None:
            return self.given
        asked = [
            name
            for name in declared.base_filters
            if name in params
            or any(each.startswith(f"{name}_") for each in params)  # a range has a parameter for each end
        ]
        filters = only(declared, frozenset(asked))(params, queryset=self.given, request=self.request)
        found: QuerySet[Any] = filters.qs
        return found

    def _current_view(self, queries: Sequence[QueryDict]) -> int | None:
        """The narrowest view that the present filters contain; a view without filters contains them all."""
        present = {pair for pair in _pairs(self.params) if pair[0] not in KEPT}
        fitting = [(len(pairs), i) for i, query in enumerate(queries) if (pairs := set(_pairs(query))) <= present]
        return max(fitting, key=lambda it: (it[0], -it[1]))[1] if fitting else None

    @property
    def _said_by_tab(self) -> set[tuple[str, str]]:
        """The filters of the declared view that is current."""
        queries = [QueryDict(view.query) for view in self.page.views]
        here = self._current_view(queries)
        return set() if here is None else set(_pairs(queries[here]))

    @property
    def shown_chips(self) -> list[Chip]:
        """The filters that the current tab does not say already."""
        given, said = set(_pairs(self._changed())), self._said_by_tab
        return [
            chip
            for chip in self.chips
            if not (dropped := given - set(_pairs(QueryDict(chip.query)))) or not dropped <= said
        ]

    @property
    def tab_alone(self) -> str:
        """The label of the declared view that is all that narrows the list."""
        here = self._tab_alone()
        return "" if here is None else self.page.views[here].label

    @property
    def is_at_first_tab(self) -> bool:
        """Whether nothing but the first declared view narrows the list: what a page shows when one comes to it."""
        return self._tab_alone() == 0

    def _tab_alone(self) -> int | None:
        if not self.chips or self.shown_chips or self.search:
            return None
        return self._current_view([QueryDict(view.query) for view in self.page.views])

    def _chips(self) -> Iterator[Chip]:
        if self.filters is None or not self.filters.form.is_valid():
            return
        form = self.filters.form
        for name, form_field in form.fields.items():
            if name == "q":
                continue
            for raw, text in _shown_values(form_field, form.cleaned_data.get(name)):
                params = _without(self._changed(), name, raw, form.fields)
                yield Chip(
                    _chip_label(form_field, name, form.cleaned_data[name]), text, params.urlencode(), self.url(params)
                )

    @property
    def filter_fields(self) -> list[Any]:
        if self.filters is None:
            return []
        fill_menus(self.filters.form)
        return [bound for bound in self.filters.form if bound.name != "q"]

    @property
    def search(self) -> str | None:
        """What is searched for; None when the list has no search."""
        has_search = self.filters is not None and "q" in self.filters.form.fields
        return self.params.get("q", "") if has_search else None

    @property
    def is_narrowed(self) -> bool:
        return bool(self.chips or self.search)

    @property
    def kept_for_filters(self) -> list[tuple[str, str]]:
        """What a filter form passes on besides its own fields."""
        return [pair for pair in _pairs(self.params) if pair[0] in {"sort", "col", PARAMETER}]

    @property
    def kept_for_search(self) -> list[tuple[str, str]]:
        return [pair for pair in _pairs(self.params) if pair[0] not in {"q", "cursor", "format"}]

    @property
    def kept_for_columns(self) -> list[tuple[str, str]]:
        return [pair for pair in _pairs(self.params) if pair[0] not in {"col", "cursor", "format"}]

    @property
    def column_choices(self) -> list[tuple[Column, bool]]:
        shown = {column.key for column in self.columns}
        return [(column, column.key in shown) for column in self.page.columns[1:]]

    @property
    def is_grouped(self) -> bool:
        return self.page.group is not None

    def _grouped(self) -> list[tuple[Hashable, list[Any]]]:
        return [(key, list(rows)) for key, rows in groupby(self.rows, key=self.page.group)]

    @property
    def _parts(self) -> list[QuerySet[Any]]:
        """All rows of each group on the page, where an index finds them."""
        narrow = self.page.group_rows
        return [] if narrow is None else [narrow(self.queryset, key) for key, _ in self._grouped()]

    @property
    def groups(self) -> list[Group]:
        if self.page.group is None:
            return [Group(None, self.rows)]
        found, named = self._grouped(), self.page.group_filter
        counts: Sequence[Capped | None] = [None] * len(found)
        if found and self.page.group_rows is not None:
            if not hasattr(self, "_part_counts"):  # a fragment, which has no tabs
                self._count, *self._part_counts = capped_counts([self.queryset, *self._parts], COUNT_LIMIT, GROUP_LIMIT)
            counts = self._part_counts
        urls = [
            self.url(self._changed(keep_cursor=False, **named(key))) if named is not None else "" for key, _ in found
        ]
        return [Group(key, rows, count, url) for (key, rows), count, url in zip(found, counts, urls, strict=True)]

    @property
    def width(self) -> int:
        return len(self.columns) + bool(self.bulk)

    @property
    def best_drop(self) -> tuple[Chip, Capped] | None:
        """The filter to drop so that an empty list shows most again."""
        if not self.chips or self.rows:
            return None
        counts = capped_counts([self._left_by(QueryDict(chip.query)) for chip in self.chips], TAB_LIMIT)
        chip, count = max(zip(self.chips, counts, strict=True), key=lambda it: it[1].value)
        return (chip, count) if count else None


def _pairs(params: QueryDict) -> list[tuple[str, str]]:
    return [(name, value) for name, values in params.lists() for value in values if value]


def _only(params: QueryDict, names: set[str]) -> QueryDict:
    kept = QueryDict(mutable=True)
    for name in names & set(params):
        kept.setlist(name, params.getlist(name))
    return kept


def _without(params: QueryDict, name: str, raw: str, fields: Mapping[str, Any]) -> QueryDict:
    """One value of one filter taken out. A range spreads over `name_min`, `name_after` and the like."""
    for each in list(params):
        if each == name and raw:
            params.setlist(each, [value for value in params.getlist(each) if value != raw])
            if not params.getlist(each):
                del params[each]
        elif each == name or (each.startswith(f"{name}_") and each not in fields):
            del params[each]
    return params


def _chip_label(form_field: forms.Field, name: str, value: Any) -> str:
    label = str(form_field.label or name.replace("_", " "))
    label = label if label[:2].isupper() else label[:1].lower() + label[1:]
    is_a_choice = isinstance(form_field, forms.ChoiceField | forms.ModelChoiceField) and not isinstance(value, bool)
    return f"{label} is" if is_a_choice else label


def _shown_values(form_field: Any, value: Any) -> list[tuple[str, str]]:
    """`(raw, words)` of each value set; a boolean and a date are said in words, as is what its field has words for."""
    if value in (None, "", [], ()) or (hasattr(value, "exists") and not value):
        return []
    if hasattr(form_field, "in_words"):
        return [("", form_field.in_words(value))]
    if isinstance(value, bool):
        return [("", "yes" if value else "no")]
    if isinstance(value, slice):
        ends = [f"{word} {end}" for word, end in (("from", value.start), ("to", value.stop)) if end is not None]
        return [("", " ".join(ends))]
    if isinstance(form_field, forms.ModelMultipleChoiceField):
        return [(str(form_field.prepare_value(each)), str(each)) for each in value]
    if isinstance(form_field, forms.ModelChoiceField):
        return [("", str(value))]
    if isinstance(form_field, forms.MultipleChoiceField | forms.ChoiceField):
        words = dict(_flat(form_field.choices))
        values = value if isinstance(value, list) else [value]
        return [(str(each), str(words.get(str(each), each))) for each in values]
    return [("", str(value))]


def _flat(choices: Any) -> Iterator[tuple[str, Any]]:
    for value, label in choices:
        if isinstance(label, list | tuple):
            yield from _flat(label)
        else:
            yield str(value), label
