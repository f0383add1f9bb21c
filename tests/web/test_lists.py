from operator import attrgetter
from typing import NamedTuple

import django_filters
import pytest
from django import forms
from django.http.response import HttpResponseBase
from django.test.html import parse_html

from access.models import User
from tests.web.rows import people
from web.lists import Bulk, Column, Empty, ListPage, View
from web.narrowing import ChoicesFilter, FlagFilter, RowSelect
from web.paging import Ordering


class PersonFilter(django_filters.FilterSet):
    q = django_filters.CharFilter(field_name="username", lookup_expr="icontains", label="Search")
    first_name = ChoicesFilter(choices=[("a", "Ana"), ("b", "Bo")], label="First name")
    is_active = FlagFilter(label="Active")
    number = django_filters.NumberFilter(field_name="id", label="Number")

    class Meta:
        model = User
        fields = ()


PEOPLE = ListPage(
    name="people",
    title="People",
    noun="person,people",
    columns=(
        Column("username", "Name", value=attrgetter("username"), sort="name"),
        Column("first_name", "First name", value=attrgetter("first_name"), priority=2),
        Column("email", "E-mail", value=attrgetter("email"), is_shown=False),
    ),
    orderings=(Ordering("name", ("username",), ascending_words="by name", descending_words="by name, backwards"),),
    filterset=PersonFilter,
    views=(View("All"), View("Active", "is_active=true")),
    empty=Empty("Nobody yet", "Invite somebody.", "/invite/", "Invite"),
    size=3,
)
pytestmark = pytest.mark.django_db


class Shown(NamedTuple):
    response: HttpResponseBase
    text: str


@pytest.fixture
def shown(asked):
    def show(address="/people/", listing=PEOPLE, **options):
        bulk = options.pop("bulk", ())
        response = listing.respond(asked(address, **options), User.objects.all(), bulk=bulk)
        return Shown(response, b"".join(response).decode() if response.streaming else response.content.decode())

    return show


def test_a_browser_gets_the_page_and_htmx_the_fragment(shown):
    page, fragment = shown(), shown(htmx=True)
    assert "<!doctype html>" in page.text
    assert fragment.text.startswith('<div class="list" id="list-people"')
    assert "<!doctype" not in fragment.text
    assert page.response["Vary"] == fragment.response["Vary"] == "HX-Request"


def test_a_boosted_link_gets_the_page(shown):
    assert "<!doctype html>" in shown(boosted=True).text


def test_a_column_nobody_chose_is_left_out(shown):
    people({})
    assert "E-mail</th>" not in shown().text
    chosen = shown("/people/?col=email").text
    assert "E-mail</th>" in chosen
    assert "First name</th>" not in chosen


def test_the_column_that_names_the_row_always_stays(shown):
    people({})
    assert 'scope="row"' in shown("/people/?col=email").text


def test_a_sorted_column_says_so_and_turns_round(shown):
    people({}, {})
    assert 'aria-sort="ascending"><a href="/people/?sort=-name"' in shown().text
    assert 'aria-sort="descending"><a href="/people/?sort=name"' in shown("/people/?sort=-name").text


def test_a_chip_removes_its_own_filter_alone(shown):
    people({"first_name": "a"})
    text = shown("/people/?first_name=a&first_name=b&is_active=false&cursor=").text
    assert 'href="/people/?first_name=b&amp;is_active=false"' in text
    assert 'href="/people/?first_name=a&amp;first_name=b"' in text
    assert ">Ana<" in text


def test_what_the_tab_says_is_no_chip_besides(shown):
    people({"first_name": "a"})
    text = shown("/people/?first_name=a&is_active=true").text
    assert text.count('class="chip"') == 1
    assert 'class="chip" href="/people/?is_active=true"' in text


def test_an_empty_tab_is_no_filter_to_drop(shown):
    people({"is_active": False})
    assert "Nothing under “Active”" in shown("/people/?is_active=true").text


def test_a_declared_view_is_not_offered_for_saving(shown):
    people({})
    assert "Save view" not in shown("/people/?is_active=true").text
    assert "Save view" in shown("/people/?is_active=true&first_name=a").text


def test_the_tab_of_the_filters_in_force_is_the_current_one(shown):
    people({}, {"is_active": False})
    text = shown("/people/?is_active=true").text
    assert 'aria-current="page">Active <span class="count">1</span>' in text
    assert text.count('aria-current="page">A') == 1


def test_later_and_earlier_lead_through_the_list(shown):
    people(*[{} for _ in range(5)])
    page = shown()
    assert "u0002" in page.text
    assert "u0003" not in page.text
    later = page.text.split('id="page-later"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    second = shown(later)
    assert "u0003" in second.text
    assert 'id="page-earlier"' in second.text


@pytest.mark.parametrize("query", ["cursor=nonsense", "sort=colour", "number=many"])
def test_an_address_that_makes_no_sense_is_answered_in_words(shown, query):
    people({})
    answer = shown(f"/people/?{query}")
    assert answer.response.status_code == 400
    assert 'role="alert"' in answer.text
    assert "Start at the first page" in answer.text


def test_an_empty_list_says_what_to_do_next(shown):
    assert 'href="/invite/">Invite</a>' in shown().text


def test_a_search_without_match_names_the_filter_to_drop(shown):
    people({"first_name": "a"}, {"first_name": "a"})
    text = shown("/people/?first_name=a&is_active=false").text
    assert "Nothing matches" in text
    assert "Without <b>active no</b> there would be 2" in text


def test_a_csv_holds_every_row_that_the_filters_leave(shown):
    people({"first_name": "a"}, {"first_name": "=1+1"}, *[{"first_name": "a"} for _ in range(5)])
    answer = shown("/people/?format=csv&is_active=true")
    lines = answer.text.splitlines()
    assert answer.response["Content-Type"].startswith("text/csv")
    assert lines[0] == "username,first_name,email"
    assert len(lines) == 8
    assert "u0001,'=1+1,u1@example.test" in lines


def test_rows_can_be_picked_where_something_can_be_done_with_them(shown):
    people({})
    assert 'class="pick"' not in shown().text
    text = shown(bulk=[Bulk("Retire…", "/people/retire/", key="v")]).text
    assert 'class="pick"' in text
    assert 'formaction="/people/retire/" data-key="v"' in text


def test_a_list_costs_the_same_queries_however_long_it_is(shown, django_assert_num_queries):
    people({"username": "first", "email": "first@example.test"})
    with django_assert_num_queries(2):  # rows; counts of the list and of its tabs
        shown()
    people(*[{} for _ in range(30)])
    with django_assert_num_queries(2):
        shown()


def test_names_are_escaped_in_every_cell(shown):
    people({"username": "<script>alert(1)</script>"})
    assert "<script>alert(1)" not in shown().text


def test_groups_have_a_head_of_their_own(shown):
    people({"first_name": "a"}, {"first_name": "a"}, {"first_name": "b"})
    grouped = ListPage(
        name="people", title="People", noun="person", columns=PEOPLE.columns,
        orderings=(Ordering("first", ("first_name",)),), group=attrgetter("first_name"),
    )  # fmt: skip
    assert shown(listing=grouped).text.count('scope="rowgroup"') == 2


@pytest.mark.parametrize("kind", ["plain", '<b title="x">'])
def test_a_menu_of_rows_is_the_one_that_the_stock_widget_draws(kind: str):
    """Drawn by hand for speed, so held against the slow way."""
    choices = [("", "Any"), ("1", kind), ("2", "two & three")]
    attrs = {"id": "id_owner", "required": True, "class": kind}
    for value in ("2", "", None):
        stock = forms.Select(attrs=attrs, choices=choices).render("owner", value)
        drawn = RowSelect(attrs=attrs, choices=choices).render("owner", value)
        assert parse_html(drawn) == parse_html(stock)
