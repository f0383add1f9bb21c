"""What Prometheus reads."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from audit.heads import sign_head, signing_key
from config import metrics
from config.heartbeats import declare
from config.metrics import FAMILIES
from inventory.models import ClientRemoval
from lifecycle.tasks import evaluate_findings
from tests import factories
from tests.access.estates import token_browser
from tests.people import browser, owners_browser

pytestmark = pytest.mark.django_db
LINE = re.compile(r'keyreeve_[a-z_]+(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? -?[0-9.e+-]+')


@pytest.fixture(autouse=True)
def fresh(settings) -> None:
    settings.METRICS_KEPT_FOR = -1


def read(client: Client, **headers: str) -> dict[str, float]:
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.content
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {}
    for line in answer.content.decode().splitlines():
        if not line.startswith("#"):
            assert LINE.fullmatch(line), line
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def test_every_family_is_there_with_its_help(tmp_path) -> None:
    declare()
    ClientRemoval.objects.create(
        client=factories.client(), announced_at=timezone.now(), next_at=timezone.now() - timedelta(minutes=1)
    )
    factories.connection(name="a place", due_at=timezone.now() - timedelta(hours=1))
    key = signing_key(tmp_path / "key", now=timezone.now(), actor=Actor.system("test"))
    sign_head(key, now=timezone.now(), actor=Actor.system("test"))
    evaluate_findings.apply()
    said = browser(Role.AUDITOR).get("/metrics").content.decode()
    for family in FAMILIES:
        assert f"# HELP keyreeve_{family.name} {family.says}\n# TYPE keyreeve_{family.name} {family.kind}\n" in said
    found = read(browser(Role.AUDITOR))
    assert found['keyreeve_due{work="connections"}'] == 1
    assert found['keyreeve_overdue_seconds{work="connections"}'] > 3_500
    assert found['keyreeve_due{work="removals"}'] == 1
    assert found['keyreeve_job_failures{job="evaluation of findings"}'] == 0
    assert found['keyreeve_job_run_seconds{job="evaluation of findings"}'] > 0
    assert found['keyreeve_rule_subjects{rule="unrotated",verdict="violated"}'] == 0
    assert found["keyreeve_audit_uncovered_entries"] >= 1


def test_a_scraper_comes_in_by_an_auditors_token_or_by_that_of_the_settings(settings) -> None:
    settings.METRICS_TOKEN = "a long text of chance"
    assert token_browser(Role.AUDITOR).get("/metrics").status_code == 200
    assert read(Client(), Authorization="Bearer a long text of chance")["keyreeve_audit_entries_total"] >= 0


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Bearer  ", "Token wrong", "Basic eA=="])
@pytest.mark.parametrize("known", ["", "right"])
def test_nobody_else_comes_in(settings, given: str, known: str) -> None:
    settings.METRICS_TOKEN = known
    assert Client().get("/metrics", headers={"Authorization": given}).status_code == 401


def test_an_owner_reads_no_figures_of_the_whole_estate() -> None:
    own, _ = owners_browser()
    assert own.get("/metrics").status_code == 403


def test_of_several_askers_one_counts(settings, monkeypatch) -> None:
    settings.METRICS_KEPT_FOR = 60
    monkeypatch.setattr(metrics, "_kept", None)
    reader = browser(Role.AUDITOR)
    reader.get("/metrics")
    with CaptureQueriesContext(connection) as queries:
        reader.get("/metrics")
    assert not [query for query in queries if "lifecycle_" in query["sql"]]


def test_a_label_keeps_what_would_end_it_to_itself(settings) -> None:
    assert list(metrics._family("x", "y", "gauge", [((("place", 'a"b\\c\nd'),), 1)]))[-1] == (
        'keyreeve_x{place="a\\"b\\\\c\\nd"} 1'
    )


def test_the_manual_lists_every_metric() -> None:
    manual = Path("docs/monitoring.md").read_text()
    made_here = {"info", "broker_up", "queue_messages", "queue_oldest_seconds", "scrape_seconds"}
    named = set(re.findall(r"^\| `keyreeve_([a-z_]+)", manual, re.MULTILINE))
    assert named == made_here | {family.name for family in FAMILIES}


def test_each_statement_goes_by_an_index_where_a_table_grows() -> None:
    """Of the audit entries none reads more than the last hour's, whatever there is."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for family in FAMILIES:
            cursor.execute(f"EXPLAIN {family.sql}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan on audit_auditentry" not in plan, family.name
            assert "Seq Scan on lifecycle_operation" not in plan, family.name
