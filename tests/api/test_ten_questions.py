"""The page of an auditor's ten questions: each of its commands, run by a shell and curl against a live server."""

import csv
import io
import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from config.actions import issue_token
from inventory.models import Credential, Owner
from inventory.states import Admission, Registration
from lifecycle.models import Finding, Operation
from lifecycle.states import OperationKind, OperationState, Proof, Step
from reviews.models import Campaign, Decision, ReviewItem
from tests.api.conftest import an_entry, finding, waiver
from tests.factories import client, connection, credential, environment, exposure, owner, server
from tests.history.passing import time_passes

PAGE = (Path(__file__).parents[2] / "docs" / "questions.md").read_text()
HEADS = re.findall(r"^## (\d+)\. (.+)$", PAGE, re.MULTILINE)
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
DAY = timedelta(days=1)


def known_estate() -> None:
    """Of everything that a question asks about one that it must find, and one that it must not."""
    now = timezone.now()
    prod, place, mira = environment("prod"), connection(name="place"), owner(name="Mira Okafor")
    old = credential(name="payments old", environment=prod, connection=place, owner=mira, issued_at=now - 91 * DAY)
    credential(name="young", environment=prod, connection=place, owner=mira, issued_at=now - 89 * DAY)
    credential(name="elsewhere", environment=environment("dev"), connection=place, issued_at=now - 400 * DAY)
    exposure(old, host="laptop-7", file="/home/mira/mcp.json", pointer="/env/TOKEN")
    exposure(old, host="laptop-8", gone_at=now, last_seen_at=now)
    for name, admission in (("newcomer", Admission.QUARANTINED), ("known", Admission.ADMITTED)):
        client(name=name, client_id=name, registration=Registration.DYNAMIC, admission=admission, connection=place)
    waiver(finding(old))
    offering, granted = server(name="notes", connection=place), server(name="mail", connection=place)
    for at, closed in ((offering, {}), (granted, {"state": "resolved", "resolved_at": now, "resolution": "met"})):
        Finding.objects.create(
            rule="tool-surface-ungranted", server=at, severity=2, opened_at=now, refreshed_at=now,
            due_at=now + DAY, evidence={"tools": ["delete_note"]}, **closed,
        )  # fmt: skip
    for days in (1, 200):
        Operation.objects.create(
            kind=OperationKind.REVOCATION, credential=old, connection=place, state=OperationState.COMPLETED,
            reason="It leaked.", requested_by="Otto", requested_by_key="user:2", requested_at=now - days * DAY,
            refused_at=now - days * DAY + timedelta(minutes=4), closed_at=now - days * DAY + timedelta(minutes=5),
            proof=Proof.VERIFIED, proof_reason="It is refused.", step=Step.VERIFY_REFUSED, step_at=now,
            overlap=timedelta(0), quiet=timedelta(0),
        )  # fmt: skip
    reviewed(old, mira, now)
    an_entry(old)
    an_entry(old)


def reviewed(row: Credential, mira: Owner, now: Any) -> None:
    campaign = Campaign.objects.create(
        name="Spring", reviewed=["credential"], state="open", due_at=now + DAY, created_by="Otto",
        created_by_key="user:2", created_at=now, launched_at=now, size=2,
    )  # fmt: skip
    values = {
        "campaign": campaign, "kind": "credential", "credential": row, "connection": row.connection, "owner": mira,
        "reviewer": mira, "bound_digest": "0", "alike": "x", "frozen_at": now - 9 * DAY, "recommendation": "revoke",
    }  # fmt: skip
    late = ReviewItem.objects.create(name="late", due_at=now - DAY, **values)
    for who, what, is_against in (("Mira", "keep", True), ("Otto", "revoke", False)):
        said = {"decided_by": who, "decided_by_key": who, "decided_at": now}
        Decision.objects.create(
            item=late, campaign=campaign, seat="first" if is_against else "second", what=what, seen_digest="0",
            is_against=is_against, reason="Needed" if is_against else "", **said,
        )  # fmt: skip


def answer(number: int, given: dict[str, str]) -> str:
    """What a shell prints for a command of the page; the first one is what all others begin with."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", COMMANDS[0] + COMMANDS[number]],
        env={"PATH": os.environ["PATH"], **given}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, f"{COMMANDS[number]}\n{done.stderr}"
    return done.stdout


def rows(text: str, *names: str) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in names) for row in csv.DictReader(io.StringIO(text))]


def test_the_page_has_ten_questions_and_a_command_for_each():
    assert [int(number) for number, _ in HEADS] == list(range(1, 11))
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        assert "```sh" in part


@pytest.mark.django_db(transaction=True)
def test_each_command_of_the_page_finds_what_it_must_and_leaves_out_the_rest(live_server):
    with transaction.atomic():
        known_estate()
        time_passes()
    Credential.objects.filter(name="payments old").update(owner=owner(name="Somebody new"))
    now = timezone.now()
    token = issue_token("audit", Role.AUDITOR, life=DAY, actor=Actor.system("test"))
    given = {
        "URL": f"{live_server.url}/api/v1", "TOKEN": token, "DAY": f"{now - DAY / 2:%Y-%m-%dT%H:%M:%SZ}",
        "FROM": f"{now - 90 * DAY:%Y-%m-%d}", "TO": f"{now + DAY:%Y-%m-%d}",
    }  # fmt: skip
    (keys, owned, revoked, orphans, exposed, unreviewed, waived, overruled, late, ungranted, chain) = (
        answer(number, given) for number in range(1, len(COMMANDS))
    )
    assert rows(keys, "name", "owner") == [("payments old", "Somebody new")]
    assert rows(owned, "name", "owner") == [("payments old", "Mira Okafor")]
    ((name, proof, asked, refused),) = rows(revoked, "credential", "proof", "requested_at", "refused_at")
    assert (name, proof) == ("payments old", "verified")
    assert asked < refused
    assert rows(orphans, "name", "owner") == [("elsewhere", "")]
    ((name, host, file, since),) = rows(exposed, "credential", "host", "file", "first_seen_at")
    assert (name, host, file) == ("payments old", "laptop-7", "/home/mira/mcp.json")
    assert since
    assert rows(unreviewed, "name", "admission") == [("newcomer", "quarantined")]
    assert rows(waived, "finding", "requested_by", "approved_by") == [("Unrotated", "Mira", "Otto")]
    assert rows(overruled, "display", "reason", "decided_by") == [("Keep: late", "Needed", "Mira")]
    assert rows(late, "display", "reviewer") == [("late", "Mira Okafor")]
    assert rows(ungranted, "server", "severity") == [("notes", "medium")]
    assert re.fullmatch(r"\d+ entries hold; the last hash is [0-9a-f]{64}\n", chain)


@pytest.mark.django_db(transaction=True)
def test_the_command_about_the_trail_finds_an_entry_that_was_changed(live_server):
    for _ in range(3):
        an_entry(credential(name="one"))
    with database.cursor() as cursor, transaction.atomic():
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE audit_auditentry SET text = replace(text, 'Mira', 'Nora') WHERE seq = 2")
    token = issue_token("audit", Role.AUDITOR, life=DAY, actor=Actor.system("test"))
    with pytest.raises(AssertionError, match="broken at entry 2"):
        answer(len(COMMANDS) - 1, {"URL": f"{live_server.url}/api/v1", "TOKEN": token})
