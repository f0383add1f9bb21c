"""Every noun of the API: its list, its objects, its exports."""

import csv
import io
import json

import pytest

from config.api import NOUNS
from inventory.models import Connection, Credential
from tests.api.conftest import ROOT, Caller, Estate, problem_of
from tests.factories import NOW

every_noun = pytest.mark.parametrize("noun", NOUNS)


def exported(caller: Caller, path: str) -> str:
    answer = caller.get(f"export/{path}")
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content).decode()


@every_noun
def test_an_auditor_lists_and_reads_it(noun: str, auditor: Caller, estate: Estate):
    listed = auditor.json(f"{noun}/")
    assert set(listed) == {"results", "next", "previous"}
    assert listed["results"]
    for each in listed["results"]:
        assert {"id", "url", "display"} <= set(each)
        assert each["url"].startswith(f"{ROOT}{noun}/")
        one = auditor.json(each["url"])
        assert {name: one[name] for name in each} == each


@every_noun
def test_it_has_what_its_shape_declares(noun: str, auditor: Caller, estate: Estate):
    for each in auditor.json(f"{noun}/")["results"]:
        assert tuple(each) == tuple(NOUNS[noun].serializer_class.names())


@every_noun
def test_an_export_has_the_same_objects_line_by_line(noun: str, auditor: Caller, estate: Estate):
    lines = exported(auditor, f"{noun}.ndjson").splitlines()
    assert [json.loads(line) for line in lines] == auditor.json(f"{noun}/")["results"]


@every_noun
def test_an_export_as_csv_has_a_row_for_each(noun: str, auditor: Caller, estate: Estate):
    rows = list(csv.DictReader(io.StringIO(exported(auditor, f"{noun}.csv"))))
    assert [row["display"] for row in rows] == auditor.names(f"{noun}/")


@every_noun
def test_it_can_be_sorted_by_each_of_its_orders_both_ways(noun: str, auditor: Caller, estate: Estate):
    for ordering in NOUNS[noun].orderings:
        there = [each["id"] for each in auditor.json(f"{noun}/?ordering={ordering.name}")["results"]]
        back = [each["id"] for each in auditor.json(f"{noun}/?ordering=-{ordering.name}")["results"]]
        assert back == there[::-1]


@every_noun
def test_every_link_names_a_noun_that_exists(noun: str, auditor: Caller, estate: Estate):
    for each in auditor.json(f"{noun}/")["results"]:
        for value in each.values():
            if isinstance(value, dict) and set(value) == {"id", "url", "display"}:
                target = auditor.json(value["url"])
                assert (target["id"], target["display"]) == (value["id"], value["display"])


@every_noun
def test_without_a_way_in_there_is_nothing(noun: str, anonymous: Caller, db: None):
    for path in (f"{noun}/", f"export/{noun}.ndjson", f"export/{noun}.csv"):
        answer = anonymous.get(path)
        problem_of(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Token"


@every_noun
def test_without_a_role_there_is_nothing(noun: str, outsider: Caller, estate: Estate):
    for path in (f"{noun}/", f"export/{noun}.ndjson", f"export/{noun}.csv"):
        problem_of(outsider.get(path), 403)


@every_noun
def test_an_auditor_writes_nothing(noun: str, auditor: Caller, estate: Estate):
    one = auditor.json(f"{noun}/")["results"][0]["url"].removeprefix(ROOT)
    taken = {"post"} & set(NOUNS[noun].http_method_names)
    for method, path in [("POST", f"{noun}/"), ("PUT", one), ("PATCH", one), ("DELETE", one)]:
        problem_of(auditor.ask(method, path), 403 if method.lower() in taken else 405)


@every_noun
def test_a_wrong_value_of_any_filter_is_refused_or_finds_nothing(noun: str, auditor: Caller, estate: Estate):
    """No filter lets everything through because it did not understand what it was given."""
    all_of_them = len(auditor.json(f"{noun}/")["results"])
    for name in NOUNS[noun].filterset_class.base_filters:
        answer = auditor.get(f"{noun}/?{name}=no%20such%20thing")
        if answer.status_code == 400:
            assert set(problem_of(answer, 400)["errors"]) == {name}
        else:
            assert answer.json()["results"] == []
    assert all_of_them


@pytest.mark.parametrize(("noun", "pk"), [("credentials", "no-uuid"), ("audit-entries", "one"), ("rules", "No Such")])
def test_what_cannot_be_an_id_is_not_found(noun: str, pk: str, auditor: Caller):
    problem_of(auditor.get(f"{noun}/{pk}/"), 404)


@pytest.mark.parametrize(
    "path",
    ["credentials/019a0000-0000-7000-8000-000000000000/", "audit-entries/9223372036854775808/", "rules/no-such-rule/"],
)
def test_an_id_of_nothing_is_not_found(path: str, auditor: Caller):
    problem_of(auditor.get(path), 404)


def test_an_owner_sees_their_own_and_nothing_else(estate: Estate):
    mine, foreign = estate.mine, estate.foreign
    caller = estate.caller
    assert caller.names("credentials/") == [mine.name]
    assert caller.names("findings/") == ["Unrotated"]
    assert caller.names("owners/") == ["Mira Okafor"]
    assert caller.json("connections/")["results"] == []
    assert caller.json("sync-runs/")["results"] == []
    assert caller.json("manifests/")["results"] == []
    one_each = ("servers", "clients", "tools", "grants", "exposures", "uses", "waivers", "posture-checks")
    for noun in (*one_each, "logging-records", "metadata-snapshots"):
        assert len(caller.json(f"{noun}/")["results"]) == 1
    assert caller.names("authorization-servers/") == ["https://login.example.org"]
    problem_of(caller.get(f"credentials/{foreign.pk}/"), 404)
    problem_of(caller.get(f"findings/{estate.foreign_finding.pk}/"), 404)
    assert foreign.name not in exported(caller, "credentials.ndjson")


def test_an_owner_of_nothing_sees_only_what_everybody_may(estate: Estate):
    Credential.objects.filter(pk=estate.mine.pk).update(owner=None)
    assert estate.caller.json("credentials/")["results"] == []
    assert estate.caller.json("policies/")["results"]


def test_naming_a_foreign_row_in_a_filter_says_that_there_is_none(estate: Estate):
    said = problem_of(estate.caller.get(f"findings/?credential={estate.foreign.pk}"), 400)
    assert said["errors"] == {"credential": ["There is no credential with this id."]}


def test_an_owner_is_not_told_the_counts_of_the_whole_estate(estate: Estate):
    assert {rule["met"] for rule in estate.caller.json("rules/")["results"]} == {None}


def test_a_secret_leaves_its_hint_and_fingerprint_only(auditor: Caller, estate: Estate):
    said = auditor.json(f"credentials/{estate.mine.pk}/")
    assert said["hint"] == "ghp_…9f2c"
    assert said["fingerprint"] == "kf1:00ff"
    assert "identity_key" not in said


def test_an_object_says_levels_in_words_and_links_in_full(auditor: Caller, estate: Estate):
    said = auditor.json(f"credentials/{estate.mine.pk}/")
    assert said["risk"] == "high"
    assert said["owner"] == {
        "id": str(estate.mira.pk), "url": f"{ROOT}owners/{estate.mira.pk}/", "display": "Mira Okafor",
    }  # fmt: skip
    assert said["custodian"] is None
    assert said["issued_at"] is None
    assert said["known_since"] == said["first_seen_at"] == "2026-05-27T12:00:00+00:00"


def test_a_finding_names_its_rule_and_controls(auditor: Caller, estate: Estate):
    (said,) = auditor.json("findings/?rule=unrotated")["results"]
    assert said["rule"] == {"id": "unrotated", "url": f"{ROOT}rules/unrotated/", "display": "Unrotated"}
    assert "PR.AA-01" in said["controls"]
    assert said["evidence"]["max_age"] == 86_400


def test_lengths_of_time_are_whole_seconds(auditor: Caller, estate: Estate):
    (said,) = auditor.json("connections/")["results"]
    assert said["interval"] == 3_600


def test_a_connection_tells_where_it_looks_and_nothing_that_no_form_asks_for(auditor: Caller, estate: Estate):
    settings = {"paths": ["/srv/a"], "host": "build-07", "pasted": "something of somebody"}
    Connection.objects.update(settings=settings, interval=None)
    (said,) = auditor.json("connections/")["results"]
    assert said["settings"] == {"paths": ["/srv/a"], "host": "build-07"}
    assert said["interval"] is None
    Connection.objects.update(settings={})
    (said,) = auditor.json("connections/")["results"]
    assert said["settings"] == {}


def test_a_row_of_csv_holds_a_link_as_two_columns(auditor: Caller, estate: Estate):
    text = exported(auditor, "credentials.csv?fields=name,owner,scopes,risk&ordering=risk")
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "owner", "owner_id", "scopes", "risk"],
        ["github / token", "Mira Okafor", str(estate.mira.pk), "repo", "high"],
        ["billing / login", "", "", "", "critical"],
    ]


def test_a_name_that_a_spreadsheet_would_run_is_text_in_csv(auditor: Caller, estate: Estate):
    Credential.objects.filter(pk=estate.mine.pk).update(name="=1+1")
    assert "'=1+1" in exported(auditor, "credentials.csv?fields=name")


def test_a_line_break_in_a_name_breaks_no_line(auditor: Caller, estate: Estate):
    Credential.objects.filter(pk=estate.mine.pk).update(name='two\nlines "quoted" \\ é')
    lines = exported(auditor, "credentials.ndjson?has_owner=true").splitlines()
    assert [json.loads(line)["name"] for line in lines] == ['two\nlines "quoted" \\ é']


def test_the_root_names_every_noun(auditor: Caller):
    assert auditor.json("") == {noun: f"{ROOT}{noun}/" for noun in NOUNS}


def test_an_audit_entry_carries_what_verifying_it_needs(auditor: Caller, estate: Estate):
    entry = auditor.json("audit-entries/?event=credential.owner_assigned")["results"][0]
    assert json.loads(entry["text"])["seq"] == entry["id"]
    assert len(bytes.fromhex(entry["hash"])) == 32


def test_a_credential_says_its_tags_and_who_confirmed_it(auditor: Caller, estate: Estate):
    said = {"tags": ["pci"], "reviewed_at": NOW, "reviewed_by": "Mira Okafor"}
    Credential.objects.filter(pk=estate.mine.pk).update(**said)
    (found,) = auditor.json("credentials/?tag=pci")["results"]
    assert {name: found[name] for name in said} == {**said, "reviewed_at": NOW.isoformat()}


def test_a_credential_says_whether_it_can_be_rotated_and_what_stands_in_the_way(auditor: Caller, estate: Estate):
    said = auditor.json(f"credentials/{estate.mine.pk}/")["readiness"]
    assert said["verdict"] == "violated"
    assert (
        said["words"] == said["facts"][0]["words"] == "laptops cannot be asked to issue and destroy: rotate it by hand."
    )
    assert {"check": "owner", "verdict": "met", "words": "It has an owner."} in said["facts"]
    assert auditor.json(f"credentials/{estate.mine.pk}/?fields=readiness") == {"readiness": said}
    Credential.objects.filter(pk=estate.mine.pk).update(gone_at=NOW, last_seen_at=NOW)
    assert auditor.json(f"credentials/{estate.mine.pk}/")["readiness"] is None


def test_freezes_and_windows_say_where_and_when(auditor: Caller, estate: Estate):
    (freeze,) = auditor.json(f"freezes/?environment={estate.mine.environment_id}")["results"]
    assert (freeze["display"], freeze["reason"], freeze["lifted_at"]) == ("Change freeze in prod", "Peak", None)
    (window,) = auditor.json("windows/?is_retired=false")["results"]
    held = (window["environment"], window["weekdays"], window["begins"], window["length"], window["timezone"])
    assert held == (None, [2, 4], "22:00:00", 14_400, "UTC")
    assert auditor.json("windows/?is_retired=true")["results"] == []
