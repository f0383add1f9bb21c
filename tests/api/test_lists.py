"""How lists are narrowed, sorted, paged and asked for again."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from inventory.models import Credential
from inventory.states import CredentialKind, Severity, Storage
from tests.api.conftest import Caller, Estate, finding, problem_of
from tests.factories import NOW, client, connection, credential, environment, exposure, owner, server, use


@pytest.fixture
def place(db: None):
    return connection(name="everywhere")


def many(count: int, place, **values) -> list[Credential]:
    return [credential(name=f"c{n:03d}", connection=place, **values) for n in range(count)]


def walked(caller: Caller, path: str, link: str = "next") -> list[str]:
    names = []
    while path:
        page = caller.json(path)
        names += [each["name"] for each in page["results"]]
        path = page[link]
    return names


# ── Pages ──


@pytest.mark.parametrize("ordering", ["id", "-id", "name", "-risk", "known_since"])
def test_pages_one_after_the_other_are_the_whole_list(ordering: str, auditor: Caller, place):
    for n in range(23):
        credential(name=f"c{n % 5}-{n}", connection=place, risk=n % 3, issued_at=NOW - timedelta(days=n % 4))
    whole = walked(auditor, f"credentials/?ordering={ordering}&page_size=1000")
    assert len(set(whole)) == 23
    assert walked(auditor, f"credentials/?ordering={ordering}&page_size=4") == whole


def test_a_page_leads_back_to_the_one_before(auditor: Caller, place):
    many(7, place)
    first = auditor.json("credentials/?page_size=3")
    second = auditor.json(first["next"])
    assert first["previous"] is None
    assert auditor.json(second["previous"])["results"] == first["results"]


def test_the_addresses_of_other_pages_keep_the_filters(auditor: Caller, place):
    many(3, place)
    many(3, place, kind=CredentialKind.AWS_ACCESS_KEY)
    kinds = {
        each["kind"] for each in auditor.json(auditor.json("credentials/?kind=api_key&page_size=2")["next"])["results"]
    }
    assert kinds == {"api_key"}


@pytest.mark.parametrize("size", ["0", "1001", "-1", "ten", "1e3", "٣", "9" * 5_000])
def test_a_page_holds_one_to_a_thousand(size: str, auditor: Caller):
    assert "page_size" in problem_of(auditor.get(f"credentials/?page_size={size}"), 400)["errors"]


@pytest.mark.parametrize("cursor", ["x", "WyJpZCIsIj4iLFsieCJdXQ", "%00", "[]", "a" * 5_000])
def test_a_cursor_of_ones_own_making_is_refused(cursor: str, auditor: Caller):
    assert "cursor" in problem_of(auditor.get(f"credentials/?cursor={cursor}"), 400)["errors"]


def test_a_cursor_of_another_order_is_refused(auditor: Caller, place):
    many(3, place)
    following = auditor.json("credentials/?page_size=1&ordering=name")["next"]
    problem_of(auditor.get(following.replace("ordering=name", "ordering=risk")), 400)


def test_an_unknown_order_is_refused_and_the_known_ones_named(auditor: Caller):
    (said,) = problem_of(auditor.get("credentials/?ordering=hint"), 400)["errors"]["ordering"]
    assert "known_since" in said


# ── Strictness ──


def test_an_unknown_parameter_is_refused_by_name(auditor: Caller):
    said = problem_of(auditor.get("credentials/?knd=api_key"), 400)
    assert said["errors"] == {"knd": ["There is no such parameter here. Did you mean kind?"]}
    assert "knd" in said["detail"]


@pytest.mark.parametrize("path", ["credentials/?format=csv", "export/credentials.ndjson?page_size=5", "?x=1"])
def test_a_parameter_of_another_place_is_unknown_here(path: str, auditor: Caller):
    problem_of(auditor.get(path), 400)


def test_a_filter_is_no_parameter_of_one_object(auditor: Caller, estate: Estate):
    problem_of(auditor.get(f"credentials/{estate.mine.pk}/?kind=api_key"), 400)


@pytest.mark.parametrize("query", ["kind=", "q=", "owner=", "exposed=", "issued_after="])
def test_an_empty_value_is_refused_rather_than_passed_over(query: str, auditor: Caller):
    assert set(problem_of(auditor.get(f"credentials/?{query}"), 400)["errors"]) == {query[:-1]}


def test_a_parameter_that_holds_one_value_is_refused_twice(auditor: Caller):
    problem_of(auditor.get("credentials/?exposed=true&exposed=false"), 400)


@pytest.mark.parametrize(
    "query",
    [
        "kind=apikey",
        "exposed=maybe",
        "issued_after=yesterday",
        "issued_after=2026-13-01",
        "owner=mira",
        "risk=5",
        "q=%00",
    ],
)
def test_a_value_that_is_not_understood_is_refused(query: str, auditor: Caller):
    assert set(problem_of(auditor.get(f"credentials/?{query}"), 400)["errors"]) == {query.partition("=")[0]}


def test_a_refused_choice_names_the_ones_there_are(auditor: Caller):
    (said,) = problem_of(auditor.get("credentials/?status=dead"), 400)["errors"]["status"]
    assert "destroyed" in said


# ── Filters ──


def test_credentials_are_narrowed_by_what_they_are(auditor: Caller, place):
    mira, gone = owner(name="Mira"), owner(name="Left", is_active=False)
    prod = environment("prod")
    aws = credential(name="aws", connection=place, kind=CredentialKind.AWS_ACCESS_KEY, owner=mira, risk=Severity.HIGH)
    old = credential(
        name="old", connection=place, owner=gone, issued_at=NOW - timedelta(days=400), storage=Storage.LITERAL,
        risk=Severity.CRITICAL, last_seen_at=NOW, gone_at=NOW,
    )  # fmt: skip
    bare = credential(
        name="bare", connection=connection(name="other"), issued_at=None, environment=prod, fingerprint="kf1:1"
    )
    exposure(old)
    this, program = server(name="this", connection=place), client(name="program", connection=place)
    use(aws, connection=place, server=this, client=program)
    use(bare, connection=place, server=this, gone_at=NOW, last_seen_at=NOW)
    day = (NOW - timedelta(days=300)).date()
    for query, names in {
        "kind=aws_access_key": ["aws"],
        "kind=aws_access_key&kind=api_key": ["aws", "old", "bare"],
        "risk=high&risk=critical": ["aws", "old"],
        "risk=4": ["old"],
        "storage=literal": ["old"],
        f"owner={mira.pk}": ["aws"],
        "has_owner=false": ["old", "bare"],
        "has_owner=true": ["aws"],
        f"environment={prod.pk}": ["bare"],
        f"connection={place.pk}": ["aws", "old"],
        f"server={this.pk}": ["aws"],
        f"client={program.pk}": ["aws"],
        "exposed=true": ["old"],
        "exposed=false": ["aws", "bare"],
        "gone=true": ["old"],
        "gone=false": ["aws", "bare"],
        "fingerprint=kf1:1": ["bare"],
        f"issued_before={day}": ["old"],
        f"issued_after={day}": ["aws"],
        "issued_after=2026-05-22T12:00:00Z": ["aws"],
        "issued_after=2026-05-22T12:00:01Z": [],
        "q=ba": ["bare"],
        "q=nothing": [],
        "q=---": [],
    }.items():
        assert sorted(auditor.names(f"credentials/?{query}")) == sorted(names), query


def test_findings_are_narrowed_by_what_they_say_and_whom_they_concern(auditor: Caller, place):
    mira = owner(name="Mira")
    theirs, nobodys = credential(connection=place, owner=mira), credential(connection=place)
    this = server(connection=place, platform_owner=mira)
    finding(theirs, severity=Severity.CRITICAL, due_at=NOW - timedelta(days=3_000), owner=mira, raised_by=["exposed"])
    finding(nobodys, rule="no-owner", state="resolved", resolved_at=NOW, resolution="met")
    finding(
        None, rule="server-unclassified", server=this, severity=Severity.LOW, due_at=NOW + timedelta(days=9_000),
        owner=mira, at_server=this, assigned_to=mira, escalated_at=NOW,
    )  # fmt: skip
    for query, names in {
        "rule=no-owner": ["No owner"],
        "severity=critical": ["Unrotated"],
        "state=open": ["Unrotated", "Server unclassified"],
        "state=open&state=resolved": ["Unrotated", "No owner", "Server unclassified"],
        "unresolved=false": ["No owner"],
        "overdue=true": ["Unrotated"],
        "overdue=false": ["No owner", "Server unclassified"],
        "subject=server": ["Server unclassified"],
        f"owner={mira.pk}": ["Unrotated", "Server unclassified"],
        "has_owner=false": ["No owner"],
        f"at_server={this.pk}": ["Server unclassified"],
        "has_server=false": ["No owner", "Unrotated"],
        f"assigned_to={mira.pk}": ["Server unclassified"],
        "is_assigned=false": ["No owner", "Unrotated"],
        "escalated=true": ["Server unclassified"],
        "raised_by=exposed": ["Unrotated"],
        "waiver=active": [],
        "mine=true": [],
        f"credential={theirs.pk}": ["Unrotated"],
        f"server={this.pk}": ["Server unclassified"],
        "due_before=2026-01-01": ["Unrotated"],
        "control=ID.AM-02": ["Server unclassified"],
        "resolution=met": ["No owner"],
    }.items():
        assert sorted(auditor.names(f"findings/?{query}")) == sorted(names), query
    assert auditor.names("credentials/?finding=no-owner") == []
    assert auditor.names("credentials/?finding=unrotated") == [theirs.name]


def test_rules_are_narrowed_without_a_table(auditor: Caller):
    everything = auditor.json("rules/")["results"]
    servers = auditor.json("rules/?subject=server&severity=high")["results"]
    assert 0 < len(servers) < len(everything)
    assert {(rule["subject"], rule["severity"]) for rule in servers} == {("server", "high")}
    assert all("ID.AM-02" in rule["controls"] for rule in auditor.json("rules/?control=ID.AM-02")["results"])


def test_audit_entries_are_narrowed_by_who_and_what(auditor: Caller, estate: Estate):
    about = f"subject_kind=credential&subject_id={estate.mine.pk}"
    assert len(auditor.json(f"audit-entries/?{about}")["results"]) == 1
    assert (
        len(auditor.json("audit-entries/?actor_kind=system&actor_id=test&event=credential.owner_assigned")["results"])
        == 1
    )
    assert auditor.json("audit-entries/?at_before=2020-01-01")["results"] == []
    assert len(auditor.json("audit-entries/?q=github")["results"]) == 1


# ── Sparse objects, and asking again ──


def test_fields_leaves_only_what_was_asked_for(auditor: Caller, estate: Estate):
    assert auditor.json(f"credentials/{estate.mine.pk}/?fields=risk,name") == {"name": "github / token", "risk": "high"}
    assert all(set(each) == {"id", "owner"} for each in auditor.json("credentials/?fields=owner,id")["results"])


@pytest.mark.parametrize("fields", ["secret", "name,secret", "name,,risk", ","])
def test_a_field_that_there_is_not_is_refused(fields: str, auditor: Caller):
    assert "fields" in problem_of(auditor.get(f"credentials/?fields={fields}"), 400)["errors"]


def test_asking_again_about_the_same_costs_no_content(auditor: Caller, estate: Estate):
    for path in ("credentials/", f"credentials/{estate.mine.pk}/", "rules/"):
        first = auditor.get(path)
        assert first.headers["Cache-Control"] == "private, no-cache"
        assert "Authorization" in first.headers["Vary"]
        again = auditor.get(path, **{"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_a_change_changes_the_etag(auditor: Caller, estate: Estate):
    before = auditor.get("credentials/").headers["ETag"]
    Credential.objects.filter(pk=estate.mine.pk).update(name="another")
    assert auditor.get("credentials/", **{"If-None-Match": before}).status_code == 200


def test_a_head_has_the_headers_of_the_get(auditor: Caller, estate: Estate):
    answer = auditor.browser.head("/api/v1/credentials/", headers=auditor.headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["ETag"] == auditor.get("credentials/").headers["ETag"]


def test_a_list_is_as_many_queries_at_three_rows_as_at_thirty(auditor: Caller, place):
    def queries() -> int:
        with CaptureQueriesContext(
            database,
        ) as captured:
            auditor.json("credentials/")
        return len(captured)

    for _ in range(3):
        credential(connection=place, owner=owner(), environment=environment("prod"))
    queries()  # which notes that the token is in use, once a minute
    few = queries()
    for _ in range(27):
        credential(connection=connection(), owner=owner(), custodian=owner())
    assert queries() == few <= 4
