"""`manage.py evaluate` as a script calls it: one document, and an exit code that means one thing."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from inventory.states import Severity
from lifecycle.models import EvaluationMark, Finding
from lifecycle.states import FindingState
from tests import factories


def evaluated(capsys, *arguments: str) -> tuple[dict, int]:
    """What it printed and its exit code."""
    code = 0
    try:
        call_command("evaluate", "--format", "json", *arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return json.loads(capsys.readouterr().out), code


@pytest.fixture
def estate(db) -> None:
    """Findings of medium severity at most, and one credential whose last use nobody saw."""
    factories.credential(last_used_at=None, owner=factories.owner())
    factories.credential(issued_at=timezone.now(), last_used_at=timezone.now())


def test_it_says_what_is_open_and_what_is_unknown(estate, capsys):
    said, code = evaluated(capsys, "--full")
    assert code == 0
    assert said["is_full"]
    assert said["open"]["total"] == sum(said["open"]["by_severity"].values()) == Finding.objects.count() > 0
    assert said["open"]["by_rule"]["no-owner"] == 1
    assert said["unknown"]["stale"] == said["counted"]["stale"]["unknown"] == 1
    assert said["fail_on"] is None


@pytest.mark.parametrize(("level", "code"), [("low", 1), ("medium", 1), ("high", 0), ("critical", 0)])
def test_findings_fail_it_at_or_above_the_severity_that_was_asked(estate, capsys, level, code):
    assert evaluated(capsys, "--full", "--fail-on", level)[1] == code


def test_a_waived_finding_fails_nothing(estate, capsys):
    evaluated(capsys, "--full")
    Finding.objects.update(state=FindingState.WAIVED)
    said, code = evaluated(capsys, "--fail-on", "low")
    assert (said["at_or_above"], said["open"]["total"], code) == (0, 0, 0)
    assert said["waived"] > 0


def test_what_was_judged_later_stays_judged_until_it_is_told_that_the_clock_was_wrong(estate, capsys):
    evaluated(capsys, "--full")
    ahead = EvaluationMark.objects.get().evaluated_at + timedelta(days=400)
    EvaluationMark.objects.update(evaluated_at=ahead)
    assert evaluated(capsys)[0]["judged_at"] == ahead.isoformat()
    assert evaluated(capsys, "--clock-was-wrong")[0]["judged_at"] < ahead.isoformat()


def test_another_evaluation_under_way_is_a_failure_in_one_sentence(estate):
    database = connection.settings_dict
    with psycopg.connect(host=database["HOST"], dbname=database["NAME"], user=database["USER"]) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('keyreeve evaluation', 0))")
        with pytest.raises(CommandError, match="Another evaluation is under way") as refused:
            call_command("evaluate")
    assert refused.value.returncode == 3


def test_a_wrong_call_is_none_of_the_other_two(capsys):
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("evaluate", "--fail-on", "dreadful")


def process(database: str, *arguments: str) -> subprocess.Popen[str]:
    known = connection.settings_dict
    return subprocess.Popen(
        [sys.executable, "manage.py", "evaluate", "--format", "json", *arguments],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": f"postgresql://postgres@/{database}?host={known['HOST']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_without_a_database_it_fails_in_one_sentence(db):
    one = process("there_is_no_such_database")
    out, err = one.communicate(timeout=60)
    assert (one.returncode, out) == (3, "")
    assert len(err.strip().splitlines()) == 1


@pytest.mark.django_db(transaction=True)
def test_ended_in_the_middle_it_fails_and_has_changed_nothing():
    factories.credential()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        (name,) = cursor.fetchone()
    known = connection.settings_dict
    with psycopg.connect(host=known["HOST"], dbname=name, user=known["USER"]) as other:
        other.execute("LOCK TABLE lifecycle_finding IN ACCESS EXCLUSIVE MODE")
        one = process(name, "--full", "--fail-on", "low")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'lifecycle_finding'::regclass"
        end = time.monotonic() + 60
        while not other.execute(waiting).fetchone()[0]:
            assert time.monotonic() < end
            time.sleep(0.05)
        one.send_signal(signal.SIGTERM)
        out, err = one.communicate(timeout=60)
        other.rollback()
    assert (one.returncode, out) == (3, "")
    assert "ended before it was done" in err
    assert not Finding.objects.filter(severity__gte=Severity.LOW).exists()
