"""What live places answered, as rows: the same answer twice writes nothing, and nothing that was said is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection as database

from inventory.actions.posture import latest_documents, record_checks, record_documents, record_tools
from inventory.models import AuthorizationServer, McpServer, MetadataSnapshot, PostureCheck, Tool
from inventory.posture.model import Check, CheckResult, Target
from inventory.states import Severity, Verdict
from providers.observations import ObservedTool, SafetyClass
from tests.factories import NOW, client, server

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(hours=1)


def a_check(target: Target = Target.SERVER) -> Check:
    return Check(
        id="MCP-XX-01",
        target=target,
        title="It answers",
        level="MUST",
        safety=SafetyClass.PASSIVE,
        severity=Severity.HIGH,
        section="2025-06-18, section 1",
    )


def met(subject: str = "https://mcp.example") -> CheckResult:
    return a_check().met(subject, "It does.")


def violated(subject: str = "https://mcp.example") -> CheckResult:
    return a_check().violated(subject, "It does not.")


@contextmanager
def written() -> Iterator[list[int]]:
    """How many rows of the three tables are written within."""
    statement = """SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_xact_user_tables
        WHERE schemaname = 'public'
        AND relname IN ('inventory_posturecheck', 'inventory_tool', 'inventory_metadatasnapshot')"""
    with database.cursor() as cursor:
        cursor.execute(statement)
        before = cursor.fetchone()[0]
        counted: list[int] = []
        yield counted
        cursor.execute(statement)
        counted.append(int(cursor.fetchone()[0] - before))


def test_a_verdict_is_kept_with_its_severity_and_evidence() -> None:
    one = server()
    assert record_checks(Target.SERVER, [(one.pk, violated())], now=NOW) == 1
    row = PostureCheck.objects.get(server=one)
    assert (row.verdict, row.severity, row.checked_at) == (Verdict.VIOLATED, Severity.HIGH, NOW)
    assert row.evidence == {"said": "It does not."}


def test_the_same_verdict_twice_writes_nothing() -> None:
    one = server()
    record_checks(Target.SERVER, [(one.pk, violated())], now=NOW)
    with written() as count:
        assert record_checks(Target.SERVER, [(one.pk, violated())], now=LATER) == 0
    assert count == [0]


def test_a_changed_verdict_says_since_when() -> None:
    one = server()
    record_checks(Target.SERVER, [(one.pk, violated())], now=NOW)
    record_checks(Target.SERVER, [(one.pk, met())], now=LATER)
    row = PostureCheck.objects.get(server=one)
    assert (row.verdict, row.changed_at, row.checked_at) == (Verdict.MET, LATER, LATER)


def test_new_evidence_for_an_old_verdict_is_no_change_of_verdict() -> None:
    one = server()
    record_checks(Target.SERVER, [(one.pk, violated())], now=NOW)
    record_checks(Target.SERVER, [(one.pk, a_check().violated("x", "Still not."))], now=LATER)
    row = PostureCheck.objects.get(server=one)
    assert (row.changed_at, row.checked_at) == (NOW, LATER)


def test_each_kind_of_subject_has_rows_of_its_own() -> None:
    issuer = AuthorizationServer.objects.create(issuer="https://login.example", first_seen_at=NOW)
    one, program = server(), client()
    for target, subject in (
        (Target.SERVER, one.pk),
        (Target.AUTHORIZATION_SERVER, issuer.pk),
        (Target.CLIENT, program.pk),
    ):
        assert record_checks(target, [(subject, met())], now=NOW) == 1
    assert PostureCheck.objects.filter(server=one).count() == 1
    assert PostureCheck.objects.filter(authorization_server=issuer).count() == 1
    assert PostureCheck.objects.filter(client=program).count() == 1


def test_text_that_no_column_takes_is_kept_without_what_it_cannot_take() -> None:
    one = server()
    record_checks(Target.SERVER, [(one.pk, a_check().met("x", "nul \x00 and half a pair \ud800"))], now=NOW)
    assert PostureCheck.objects.get(server=one).evidence["said"].startswith("nul \N{REPLACEMENT CHARACTER}")


def listing(**digests: str) -> tuple[ObservedTool, ...]:
    return tuple(ObservedTool(name=name, schema_digest=digest) for name, digest in digests.items())


def test_tools_are_listed_with_the_time_their_definition_changed() -> None:
    one = server()
    assert record_tools({one.pk: listing(search="a")}, now=NOW)["tools_added"] == 1
    assert record_tools({one.pk: listing(search="b")}, now=LATER)["tools_changed"] == 1
    tool = Tool.objects.get(server=one)
    assert (tool.schema_digest, tool.first_seen_at, tool.changed_at) == ("b", NOW, LATER)


def test_the_same_tools_twice_write_nothing() -> None:
    one = server()
    record_tools({one.pk: listing(search="a", delete="b")}, now=NOW)
    with written() as count:
        assert not any(record_tools({one.pk: listing(search="a", delete="b")}, now=LATER).values())
    assert count == [0]


def test_a_tool_that_is_no_longer_listed_is_gone_and_may_come_back() -> None:
    one = server()
    record_tools({one.pk: listing(search="a", delete="b")}, now=NOW)
    assert record_tools({one.pk: listing(search="a")}, now=LATER)["tools_gone"] == 1
    assert Tool.objects.get(server=one, name="delete").gone_at == LATER
    record_tools({one.pk: listing(search="a", delete="b")}, now=LATER)
    assert Tool.objects.get(server=one, name="delete").gone_at is None


def test_tools_of_servers_that_were_not_listed_stay() -> None:
    one, other = server(), server()
    record_tools({one.pk: listing(search="a"), other.pk: listing(search="a")}, now=NOW)
    record_tools({one.pk: ()}, now=LATER)
    assert Tool.objects.get(server=other).gone_at is None


def test_an_approved_definition_that_changes_is_marked_and_not_overwritten() -> None:
    one = server()
    record_tools({one.pk: listing(search="a")}, now=NOW)
    Tool.objects.filter(server=one).update(approved_digest="a")
    record_tools({one.pk: listing(search="b")}, now=LATER)
    (tool,) = Tool.objects.changed()
    assert (tool.approved_digest, tool.is_changed) == ("a", True)


def test_tools_with_the_longest_names_stay_apart() -> None:
    one = server()
    record_tools({one.pk: listing(**{"x" * 5_000 + end: end for end in "ab"})}, now=NOW)
    assert Tool.objects.filter(server=one).count() == 2


def test_a_document_is_kept_only_when_it_says_something_new() -> None:
    one: McpServer = server()
    first, second = {"scopes": ["read"]}, {"scopes": ["read", "write"]}
    assert record_documents(Target.SERVER, {one.pk: first}, differences={}, now=NOW) == 1
    assert record_documents(Target.SERVER, {one.pk: first}, differences={}, now=LATER) == 0
    said = {one.pk: ["Its scopes changed: gained write."]}
    assert record_documents(Target.SERVER, {one.pk: second}, differences=said, now=LATER) == 1
    newest, _oldest = MetadataSnapshot.objects.filter(server=one)
    assert newest.differences == ["Its scopes changed: gained write."]
    assert latest_documents(Target.SERVER, [one.pk]) == {one.pk: second}
