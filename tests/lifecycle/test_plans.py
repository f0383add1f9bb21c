"""What is due, what changed and what lists show is found by indexes: plans over an estate large enough for a choice."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from access.actors import Actor, ActorKind
from access.roles import Role
from bench.evaluation import ESTATE
from inventory.models import Connection, Credential, McpServer, Owner
from lifecycle.actions import evaluation
from lifecycle.actions.evaluation import evaluate
from lifecycle.actions.judging import judged
from lifecycle.filters import FindingFilter
from lifecycle.models import Finding
from lifecycle.models.asked import asked_now
from lifecycle.models.findings import mildness, owner_key
from lifecycle.rules import Subject
from lifecycle.rules.facts import facts, parameters
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
CREDENTIALS = 3_000
HOUR = timedelta(hours=1)
# What an incremental evaluation and a page must never read from end to end. Servers and clients are a hundredth of it,
# and so are their grants and checks here.
LARGE = {
    "lifecycle_finding", "lifecycle_obligation", "inventory_credential", "inventory_use", "inventory_exposure",
}  # fmt: skip
# Somebody, and a server, with one or two of a thousand findings: of many, walking along the due dates would cost less.
QUEUE = """
UPDATE lifecycle_finding SET owner_id = (SELECT id FROM inventory_owner WHERE name = 'Owner 0'),
  at_server_id = (SELECT id FROM inventory_mcpserver WHERE name = 'server 0')
WHERE get_byte(uuid_send(id), 15) = 0 AND get_byte(uuid_send(id), 14) < 80
"""
WRITTEN = (
    "inventory_connection", "inventory_authorizationserver", "lifecycle_finding",
    "lifecycle_obligation", "lifecycle_evaluationmark", "lifecycle_rulestate", "audit_auditentry",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def estate(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The estate of the benchmark, evaluated once for all plans; committed, so emptied again."""
    with django_db_blocker.unblock():
        with database.cursor() as cursor:
            for statement in ESTATE.split(";\n"):
                if statement.strip():
                    cursor.execute(statement, {"size": CREDENTIALS, "now": NOW})
            evaluate(NOW, actor=Actor.system("test"), full=True)
            factories.owner(name="Owner 0")
            factories.server(name="server 0")
            cursor.execute(QUEUE)
            cursor.execute("VACUUM ANALYZE")
        yield
        with transaction.atomic(), database.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")  # audit entries are there for good
            cursor.execute(f"TRUNCATE {', '.join(WRITTEN)} CASCADE")
            cursor.execute("DELETE FROM inventory_owner")  # what every estate begins with refers to this table too


# ── Plans ──────────────────────────────────────────────────────────────────────────────────────
def _steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _steps(each)


def plan_of(statement: str, values: Any = None) -> list[dict[str, Any]]:
    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT json) {statement}", values)
        said = cursor.fetchone()[0]
    return list(_steps((json.loads(said) if isinstance(said, str) else said)[0]["Plan"]))


def plans_of(run: Callable[[], Any]) -> list[list[dict[str, Any]]]:
    """Of every statement that looks something up while `run` does what it does."""
    with CaptureQueriesContext(database) as caught:
        run()
    return [plan_of(each["sql"]) for each in caught.captured_queries if each["sql"].startswith("SELECT")]


def indexes(taken: list[dict[str, Any]]) -> set[str]:
    return {step["Index Name"] for step in taken if "Index Name" in step}


def scanned(taken: list[dict[str, Any]]) -> set[str]:
    return {step["Relation Name"] for step in taken if step["Node Type"] == "Seq Scan"} & LARGE


def is_sorted(taken: list[dict[str, Any]]) -> bool:
    return any("Sort" in step["Node Type"] for step in taken)


def named(keys: Any) -> int:
    return sum(len(list(more)) for _subject, more in keys)


# ── What became due ────────────────────────────────────────────────────────────────────────────
def test_what_became_due_is_a_range_of_an_index_for_every_date():
    taken = plans_of(lambda: named(evaluation._became_due(NOW + HOUR, NOW + 2 * HOUR)))
    assert not set().union(*map(scanned, taken))
    assert set().union(*map(indexes, taken)) >= {
        "obligation_by_rotate_by", "obligation_by_stale_at", "obligation_by_expires_at", "obligation_by_review_by",
        "obligation_by_rescored_at", "finding_by_escalation",
    }  # fmt: skip


# ── What changed ───────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def small(db: None) -> Connection:
    """A connection that lists one credential, which lies open and is used on a server of the large one."""
    mine = factories.credential(owner=factories.owner())
    factories.exposure(mine)
    factories.use(mine, server=McpServer.objects.first(), connection=mine.connection)
    return mine.connection


def _owner(mine: Credential) -> Any:
    return evaluation._changed_by("owner", {mine.owner_id})


def _server(mine: Credential) -> Any:
    return evaluation._changed_by("mcpserver", {McpServer.objects.last().pk})


def _finding(mine: Credential) -> Any:
    return evaluation._changed_by("finding", {Finding.objects.last().pk})


def _client(mine: Credential) -> Any:
    return evaluation._changed_by("mcpclient", {factories.client(registration="dynamic", client_id="desk-1").pk})


def _sync(mine: Credential) -> Any:
    return evaluation._changed_by("synced connection", {mine.connection_id})


@pytest.mark.parametrize("changed", [_owner, _server, _finding, _client, _sync], ids=lambda change: change.__name__[1:])
def test_what_a_change_touches_is_found_by_indexes(small, changed):
    mine = Credential.objects.get(connection=small)
    taken = plans_of(lambda: named(changed(mine)))
    assert taken
    assert not set().union(*map(scanned, taken))


@pytest.mark.parametrize("subject", [Subject.CREDENTIAL, Subject.SERVER])
def test_the_facts_of_a_few_subjects_are_looked_up(subject):
    model = {Subject.CREDENTIAL: Credential, Subject.SERVER: McpServer}[subject]
    ids = list(model.objects.order_by("pk").values_list("pk", flat=True)[:3])
    asked = asked_now()
    taken = plan_of(facts(subject, asked, within_scope=True), {"now": NOW, "scope": ids, **parameters(asked)})
    assert not scanned(taken)


def test_the_findings_of_a_few_subjects_are_looked_up():
    ids = list(Credential.objects.order_by("pk").values_list("pk", flat=True)[:3])
    with (
        transaction.atomic(),
        database.cursor() as cursor,
        judged(cursor, Subject.CREDENTIAL, asked_now(), NOW, ids=ids) as found,
    ):
        taken = plan_of(found.ends, found.values)
    assert not scanned(taken)


# ── What lists show ────────────────────────────────────────────────────────────────────────────
def _first(model: type[Owner] | type[McpServer]) -> Any:
    return model.objects.get(name__endswith=" 0")


OPEN = Finding.objects.unresolved()
LISTS: dict[str, tuple[Callable[[], QuerySet[Any]], str]] = {
    "findings by severity": (lambda: OPEN.order_by("-severity", "-id"), "finding_by_severity"),
    "findings by due date": (lambda: OPEN.order_by("due_at", "id"), "finding_by_due_date"),
    "findings of a rule": (lambda: OPEN.filter(rule="no-owner").order_by("rule", mildness(), "id"), "finding_by_rule"),
    "findings by owner": (lambda: OPEN.order_by(owner_key(), "due_at", "id"), "finding_by_owner"),
    "queue of an owner": (lambda: OPEN.owned_by(_first(Owner)).order_by("due_at", "id"), "finding_by_owner"),
    "queue at a server": (
        lambda: OPEN.at(_first(McpServer)).order_by("due_at", "id"),
        "finding_by_place",
    ),
    "credentials by risk": (
        lambda: Credential.objects.present().order_by("-risk", "-score", "-id"),
        "credential_by_risk",
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_page_of_a_list_is_read_from_an_index_in_its_order(name):
    rows, index = LISTS[name]
    statement, values = rows()[:51].query.sql_with_params()
    taken = plan_of(statement, values)
    assert index in indexes(taken)
    assert not scanned(taken)
    assert name.startswith("queue") or not is_sorted(taken)  # of a few findings of one owner, sorting costs less


# ── What an owner sees, and what is searched for ───────────────────────────────────────────────
def test_what_an_owner_sees_is_found_by_the_indexes_of_its_subjects():
    mine = Finding.objects.visible_to(Actor(ActorKind.USER, "1", "Somebody", frozenset({Role.OWNER}), user_id=1))
    statement, values = mine.order_by("due_at", "id")[:51].query.sql_with_params()
    taken = plan_of(statement, values)
    assert indexes(taken) >= {
        "finding_by_credential",
        "finding_by_server",
        "finding_by_assignee",
        "credential_by_owner",
    }
    assert not scanned(taken)


@pytest.mark.parametrize("waiver", ["requested", "active", "ending", "outgrown"])
def test_findings_with_a_waiver_like_that_are_looked_up_from_the_waivers(waiver):
    asked = FindingFilter({"waiver": [waiver]}, queryset=OPEN).qs
    statement, values = asked.order_by(owner_key(), "due_at", "id")[:51].query.sql_with_params()
    taken = plan_of(statement, values)
    assert "lifecycle_finding_pkey" in indexes(taken)
    assert not scanned(taken)


def test_findings_of_the_few_that_are_called_so_are_looked_up():
    statement, values = OPEN.matching("nobody-is-called-so").order_by("due_at", "id")[:51].query.sql_with_params()
    assert not scanned(plan_of(statement, values))
