"""What auditors ask of the live estate: each question of `docs/api.md` finds what it must and leaves out the rest."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from access.actors import Actor
from config.api import NOUNS
from inventory.models import AuthorizationServer, ClientRemoval, McpServer, MetadataSnapshot, PostureCheck, SyncRun
from inventory.states import Admission, Authentication, Registration, RunState, Severity, Transport, Verdict
from lifecycle.actions.policies import set_rule
from lifecycle.models import Policy
from tests.api.conftest import Caller, Estate
from tests.factories import NOW, client, connection, credential, environment, grant, server, tool

DAY = timedelta(days=1)
DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
REQUEST = re.compile(rf"`((?:{'|'.join(NOUNS)})/\?[^`]+)`")
WRITTEN = sorted(set(REQUEST.findall(DOCUMENT.read_text())))


def check(of: McpServer, **values: Any) -> PostureCheck:
    defaults = {"check_id": "MCP-RS-01", "verdict": Verdict.VIOLATED, "severity": Severity.HIGH, "checked_at": NOW}
    return PostureCheck.objects.create(server=of, **{**defaults, **values})


def test_which_servers_let_anybody_in(auditor: Caller):
    server(name="open", transport=Transport.HTTP, authentication=Authentication.ANONYMOUS)
    server(name="closed", transport=Transport.HTTP, authentication=Authentication.OAUTH)
    assert auditor.names("servers/?authentication=anonymous&gone=false") == ["open"]


def test_which_keys_in_production_are_older_than_ninety_days(auditor: Caller):
    prod = environment("prod")
    credential(name="old", environment=prod, issued_at=NOW - 91 * DAY)
    credential(name="young", environment=prod, issued_at=NOW - 89 * DAY)
    credential(name="elsewhere", environment=environment("dev"), issued_at=NOW - 91 * DAY)
    (named,) = auditor.json("environments/?name=prod")["results"]
    issued = f"{NOW - 90 * DAY:%Y-%m-%d}"
    assert auditor.names(f"credentials/?environment={named['id']}&gone=false&issued_before={issued}") == ["old"]


def test_which_clients_registered_themselves_this_month(auditor: Caller):
    client(name="mine", registration=Registration.DYNAMIC, issued_at=NOW)
    client(name="last month's", registration=Registration.DYNAMIC, issued_at=NOW - DAY)
    client(name="made by an admin", registration=Registration.PRE_REGISTERED, issued_at=NOW)
    assert auditor.names("clients/?registration=dynamic&issued_after=2026-06-01") == ["mine"]


def test_which_clients_still_wait_for_somebody_to_admit_them(auditor: Caller):
    client(name="waiting", admission=Admission.QUARANTINED)
    client(name="admitted")
    assert auditor.names("clients/?admission=quarantined") == ["waiting"]


def test_which_tools_changed_after_they_were_approved(auditor: Caller):
    one = server()
    tool(one, "moved", approved_digest="0" * 64, changed_at=NOW)
    tool(one, "moved long ago", approved_digest="0" * 64, changed_at=NOW - 40 * DAY)
    tool(one, "never approved", changed_at=NOW)
    assert auditor.names("tools/?is_changed=true&changed_after=2026-05-25") == ["moved"]


def test_which_tools_has_nobody_approved(auditor: Caller):
    one = server()
    tool(one, "new")
    tool(one, "known", approved_at=NOW, approved_by="Otto")
    assert auditor.names("tools/?approved=false&gone=false") == ["new"]


def test_which_grants_run_out_within_thirty_days(auditor: Caller):
    def granted(name: str, **values: Any) -> None:
        grant(client(name=name), server(name="notes"), **values)

    granted("soon", ends_at=NOW + 29 * DAY)
    granted("later", ends_at=NOW + 31 * DAY)
    granted("over", ends_at=NOW - DAY / 2)
    granted("taken back", ends_at=NOW + 29 * DAY, withdrawn_at=NOW, withdrawn_by="Otto")
    asked = "grants/?withdrawn=false&ends_after=2026-06-01T12:00:00Z&ends_before=2026-07-01"
    assert auditor.names(asked) == ["soon on notes"]


def test_what_could_not_be_read_last_night(auditor: Caller):
    for name, state, days in [("partly", "partial", 0), ("whole", "complete", 0), ("lately", "failed", 2)]:
        SyncRun.objects.create(
            connection=connection(name=name), state=RunState(state), requested_by="schedule",
            started_at=NOW - days * DAY, finished_at=NOW, problems=[{"file": "a", "reason": "It is locked."}],
        )  # fmt: skip
    (run,) = auditor.json("sync-runs/?state=partial&state=failed&started_after=2026-06-01")["results"]
    assert (run["connection"]["display"], run["problems"][0]["reason"]) == ("partly", "It is locked.")


def test_which_servers_gave_no_answer_when_they_were_last_asked(auditor: Caller):
    server(name="silent", transport=Transport.HTTP, probe_error="Nothing answered.")
    server(name="answers", transport=Transport.HTTP, probed_at=NOW)
    assert auditor.names("servers/?probe_failed=true") == ["silent"]
    assert auditor.names("servers/?probe_failed=false&probed_after=2026-06-01") == ["answers"]


def test_which_servers_got_worse_since_a_day(auditor: Caller):
    one, two = server(name="worse"), server(name="as before")
    check(one, changed_at=NOW)
    check(two, changed_at=NOW - 3 * DAY)
    check(one, check_id="MCP-RS-02", severity=Severity.LOW, changed_at=NOW)
    said = auditor.json("posture-checks/?verdict=violated&severity=high&changed_after=2026-06-01")["results"]
    assert [each["server"]["display"] for each in said] == ["worse"]


def test_what_an_authorization_server_published_anew(auditor: Caller):
    issuer = AuthorizationServer.objects.create(issuer="https://id.example", first_seen_at=NOW)
    for differences in ([], ["Grant types: implicit is new."]):
        MetadataSnapshot.objects.create(
            authorization_server=issuer, digest="d", differences=differences, first_seen_at=NOW
        )
    MetadataSnapshot.objects.create(server=server(), digest="d", differences=["Another."], first_seen_at=NOW)
    (said,) = auditor.json(f"metadata-snapshots/?authorization_server={issuer.pk}&is_change=true")["results"]
    assert said["display"] == "https://id.example 2026-06-01"
    assert said["differences"] == ["Grant types: implicit is new."]


def test_which_removals_are_under_way(auditor: Caller):
    values = {"reason": "Dead.", "requested_by": "Mira", "announced_at": NOW}
    ClientRemoval.objects.create(client=client(name="leaving"), next_at=NOW + DAY, **values)
    ClientRemoval.objects.create(
        client=client(name="left"), stage="removed", ended_at=NOW, ended_reason="Its server says so.", **values
    )
    (said,) = auditor.json("client-removals/?ended=false")["results"]
    assert said["client"]["display"] == "leaving"


@pytest.mark.parametrize("noun", ["posture-checks", "metadata-snapshots"])
def test_an_owner_reads_what_is_said_of_their_own_and_of_nobody_elses(noun: str, estate: Any):
    foreign = server(name="somebody else's")
    check(foreign)
    MetadataSnapshot.objects.create(server=foreign, digest="d", first_seen_at=NOW)
    assert [each["server"]["display"] for each in estate.caller.json(f"{noun}/")["results"]] == ["github"]


@pytest.mark.parametrize("request_", WRITTEN)
def test_every_request_that_the_documentation_writes_is_understood(request_: str, auditor: Caller, estate: Any):
    named = {
        "environment": environment("prod").pk,
        "credential": estate.mine.pk,
        "authorization_server": AuthorizationServer.objects.get().pk,
        "subject_id": estate.mine.pk,
    }
    auditor.json(re.sub(r"(\w+)=ID", lambda it: f"{it[1]}={named[it[1]]}", request_))


def test_the_documentation_writes_down_requests():
    assert len(WRITTEN) > 15


def test_a_rule_says_whether_it_is_on_and_what_it_counts_as(auditor: Caller, estate: Estate):
    said = {"actor": Actor.system("test"), "now": NOW, "reason": "Noise"}
    set_rule("stale", is_on=False, severity=Severity.HIGH, **said)
    rule = auditor.json("rules/stale/")
    assert (rule["is_on"], rule["severity"], rule["declared_severity"]) == (False, "high", "medium")
    assert auditor.names("rules/?is_on=false") == ["Stale"]
    assert "Stale" in auditor.names("rules/?severity=high")


def test_versions_of_a_policy_are_listed_with_what_was_asked(auditor: Caller, estate: Estate):
    policy = Policy.objects.get(name="API keys")
    versions = auditor.json(f"policy-versions/?policy={policy.pk}&ordering=number")["results"]
    assert [each["number"] for each in versions] == [1, 2]
    assert versions[-1]["asked"]["max_age"] == auditor.json(f"policies/{policy.pk}/")["max_age"] == 90 * 86_400
    assert versions[-1]["sentence"] == auditor.json(f"policies/{policy.pk}/")["sentence"]


def test_an_owner_sees_no_versions_for_their_dry_runs_name_credentials_of_others(estate: Estate):
    assert estate.caller.json("policy-versions/")["results"] == []
