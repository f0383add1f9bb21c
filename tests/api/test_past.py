"""The API as of a past instant: the same lists, objects and exports, as they stood then."""

from datetime import datetime, timedelta
from urllib.parse import quote

import pytest
from django.utils import timezone

from config.api import NOUNS
from history.kept import has_past
from inventory.models import Connection, Credential, Exposure, Grant, McpClient, McpServer, Owner, Tool, Use
from inventory.states import CredentialStatus, Severity
from lifecycle.models import Finding, Policy, Waiver
from tests.api.conftest import Caller, Estate, finding, problem_of
from tests.factories import credential, owner
from tests.history.passing import DAY, time_passes

WITH_PAST = [noun for noun, viewset in NOUNS.items() if has_past(viewset.queryset.model)]
WITHOUT = [noun for noun in NOUNS if noun not in WITH_PAST]
REQUIRED = {"servers", "clients", "credentials", "owners", "grants", "findings", "policies"}


def written(moment: datetime) -> str:
    return quote(moment.isoformat())


@pytest.fixture
def then(estate: Estate) -> str:
    """Half a day ago, when the estate was as it was made; today all of it is another."""
    time_passes()
    changed()
    return f"as_of={written(timezone.now() - DAY / 2)}"


def changed() -> None:
    new = owner(name="Somebody new")
    Owner.objects.filter(name="Mira Okafor").update(name="Mira Oduya", is_active=False)
    Connection.objects.update(name="renamed")
    Credential.objects.update(name="renamed", owner=new, status=CredentialStatus.DESTROYED, risk=Severity.LOW)
    McpServer.objects.update(name="renamed", iam_owner=new)
    McpClient.objects.update(name="renamed", owner=new, gone_at=timezone.now(), last_seen_at=timezone.now())
    Use.objects.all().delete()
    Exposure.objects.update(gone_at=timezone.now(), last_seen_at=timezone.now())
    Tool.objects.update(name="renamed")
    Grant.objects.update(withdrawn_at=timezone.now(), withdrawn_by="Otto")
    Waiver.objects.all().delete()
    Finding.objects.filter(rule="no-owner").delete()
    Finding.objects.update(severity=Severity.LOW)
    Policy.objects.update(description="renamed")


def exported(caller: Caller, path: str) -> str:
    answer = caller.get(f"export/{path}")
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content).decode()


def test_what_an_auditor_asks_about_has_a_past():
    assert set(WITH_PAST) >= REQUIRED


def test_lists_objects_and_exports_of_every_noun_are_those_of_then(auditor: Caller, estate: Estate):
    time_passes()
    before = {}
    for noun in WITH_PAST:
        now = f"as_of={written(timezone.now())}"
        listed = auditor.json(f"{noun}/")["results"]
        assert listed == auditor.json(f"{noun}/?{now}")["results"]
        assert listed, noun
        before[noun] = listed, exported(auditor, f"{noun}.ndjson")
    rows = exported(auditor, "credentials.csv")
    changed()
    then = f"as_of={written(timezone.now() - DAY / 2)}"
    assert exported(auditor, f"credentials.csv?{then}") == rows
    for noun, (listed, lines) in before.items():
        assert auditor.json(f"{noun}/?{then}")["results"] == listed
        assert exported(auditor, f"{noun}.ndjson?{then}") == lines
        one = auditor.json(f"{listed[0]['url']}?{then}")
        assert {name: one[name] for name in listed[0]} == listed[0]


@pytest.mark.parametrize("noun", WITHOUT)
def test_what_keeps_no_past_says_so(noun: str, auditor: Caller):
    answer = auditor.get(f"{noun}/?as_of={written(timezone.now())}")
    assert "No past is kept" in problem_of(answer, 400)["errors"]["as_of"][0]


# ── The same questions ─────────────────────────────────────────────────────────────────────────


def test_filters_ask_about_then(auditor: Caller, then: str):
    assert auditor.names(f"credentials/?status=active&risk=4&{then}") == ["billing / login"]
    assert auditor.names("credentials/?status=active") == []
    assert auditor.names(f"credentials/?q=github&{then}") == ["github / token"]
    assert auditor.names("credentials/?q=github") == []


def test_a_filter_by_another_table_asks_about_then(auditor: Caller, estate: Estate, then: str):
    assert auditor.names(f"credentials/?exposed=true&{then}") == ["github / token"]
    assert auditor.names(f"credentials/?finding=no-owner&{then}") == ["billing / login"]
    assert auditor.names(f"credentials/?owner={estate.mira.pk}&{then}") == ["github / token"]


def test_only_the_asked_fields_are_given(auditor: Caller, then: str):
    answer = auditor.json(f"owners/?fields=id,display&{then}")["results"]
    assert {tuple(each) for each in answer} == {("id", "display")}
    assert {each["display"] for each in answer} == {"Mira Okafor", "Otto"}


def test_a_name_beside_an_object_is_that_of_then(auditor: Caller, then: str):
    found = auditor.json(f"credentials/?q=github&{then}")["results"][0]
    assert (found["owner"]["display"], found["connection"]["display"]) == ("Mira Okafor", "laptops")


def test_pages_of_the_past_are_turned_in_every_order(auditor: Caller, db: None):
    for n in range(7):
        credential(name=f"key {n}", risk=Severity(n % 3))
    time_passes()
    Credential.objects.update(risk=Severity.LOW)
    Credential.objects.filter(name__in=["key 1", "key 4"]).update(name="zzz")
    then = written(timezone.now() - DAY / 2)
    for ordering, expected in (
        ("name", [f"key {n}" for n in range(7)]),
        ("-risk", ["key 5", "key 2", "key 4", "key 1", "key 6", "key 3", "key 0"]),
    ):
        found, url = [], f"credentials/?ordering={ordering}&page_size=2&as_of={then}"
        while url:
            answer = auditor.json(url)
            found += [each["display"] for each in answer["results"]]
            url = answer["next"]
        assert found == expected


def test_dates_are_held_against_the_instant(auditor: Caller, estate: Estate):
    """What is overdue today was not overdue before it fell due."""
    Finding.objects.all().delete()
    finding(estate.mine, rule="stale", due_at=timezone.now() - DAY / 4)
    time_passes()
    then = written(timezone.now() - DAY / 2)
    assert len(auditor.names("findings/?overdue=true")) == 1
    assert auditor.names(f"findings/?overdue=true&as_of={then}") == []


def test_what_is_gone_for_good_is_found_again(auditor: Caller, estate: Estate, then: str):
    pk = estate.foreign_finding.pk
    assert auditor.get(f"findings/{pk}/").status_code == 404
    assert auditor.json(f"findings/{pk}/?{then}")["display"] == "No owner"


def test_what_was_not_there_yet_is_not_there(auditor: Caller, then: str):
    pk = Owner.objects.get(name="Somebody new").pk
    assert auditor.get(f"owners/{pk}/?{then}").status_code == 404


def test_an_etag_of_the_past_stays(auditor: Caller, then: str):
    first = auditor.get(f"credentials/?{then}")
    Credential.objects.update(name="renamed once more")
    assert auditor.get(f"credentials/?{then}", **{"If-None-Match": first.headers["ETag"]}).status_code == 304


# ── Instants ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-06-30", "2026-06-30T00:00:00", "2026-13-45T00:00:00Z", "2026-06-30T00:00:00 00:00",
     "0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "%00", "１２"],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str, auditor: Caller, estate: Estate):
    for path in ("credentials/", "export/credentials.ndjson", f"credentials/{estate.mine.pk}/"):
        said = problem_of(auditor.get(f"{path}?as_of={text}"), 400)
        assert said["errors"]["as_of"]


@pytest.mark.parametrize("path", ["credentials/", "export/credentials.csv"])
def test_an_instant_that_has_not_come_is_refused(path: str, auditor: Caller, estate: Estate):
    later = written(timezone.now() + timedelta(seconds=30))
    said = problem_of(auditor.get(f"{path}?as_of={later}"), 400)
    assert "has not come yet" in said["errors"]["as_of"][0]


def test_before_history_began_nothing_is_known_and_it_says_since_when(auditor: Caller, estate: Estate):
    said = problem_of(auditor.get("credentials/?as_of=2001-01-01T00:00:00Z"), 400)
    assert "does not reach back so far" in said["errors"]["as_of"][0]
    assert "It begins at" in said["errors"]["as_of"][0]


# ── Who may see ────────────────────────────────────────────────────────────────────────────────


def test_an_owners_past_shows_only_what_is_theirs(estate: Estate, auditor: Caller):
    time_passes()
    mine = {noun: estate.caller.json(f"{noun}/")["results"] for noun in WITH_PAST}
    Credential.objects.update(name="renamed")
    Finding.objects.update(severity=Severity.LOW)
    then = f"as_of={written(timezone.now() - DAY / 2)}"
    hidden = 0
    for noun, listed in mine.items():
        assert estate.caller.json(f"{noun}/?{then}")["results"] == listed
        everything = {each["id"] for each in auditor.json(f"{noun}/?{then}")["results"]}
        for pk in sorted(everything - {each["id"] for each in listed}, key=str)[:3]:
            assert estate.caller.get(f"{noun}/{pk}/?{then}").status_code == 404
            hidden += 1
    assert hidden > 5


def test_what_was_handed_over_is_the_new_owners_past_too(estate: Estate):
    """Rights are of today: who has given something away no longer looks into it by asking for an earlier day."""
    Credential.objects.filter(pk=estate.mine.pk).update(owner=owner())
    Credential.objects.filter(pk=estate.foreign.pk).update(owner=owner(), custodian=owner())
    time_passes()
    Credential.objects.filter(pk=estate.foreign.pk).update(owner=estate.mira)
    then = f"as_of={written(timezone.now() - DAY / 2)}"
    assert estate.caller.names(f"credentials/?{then}") == ["billing / login"]
    assert estate.caller.get(f"credentials/{estate.mine.pk}/?{then}").status_code == 404


def test_without_a_way_in_there_is_no_past(anonymous: Caller, outsider: Caller, then: str):
    problem_of(anonymous.get(f"credentials/?{then}"), 401)
    problem_of(outsider.get(f"credentials/?{then}"), 403)
