"""Connections as people meet them: a form that takes no secret, a test on the spot, a run watched to its end."""

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from inventory.connection_forms import FORMS
from inventory.models import Connection, SyncRun
from inventory.states import ConnectionKind, RunState
from tests import factories
from tests.browser.conftest import Complaints, unfit


@pytest.fixture
def running(transactional_db: None) -> Connection:
    """An AWS connection in the middle of a run, after a partial one and a failed one."""
    now = timezone.now()
    place = factories.connection(
        kind=ConnectionKind.AWS,
        name="AWS 123456789012 with a name as long as people make them",
        settings={"use_machine_identity": True, "roles": [f"arn:aws:iam::{n}23456789012:role/reader" for n in (1, 2)]},
        due_at=now,
        lease_token=uuid4(),
        lease_until=now + timedelta(minutes=5),
    )
    for state in (RunState.FAILED, RunState.PARTIAL, RunState.RUNNING):
        SyncRun.objects.create(
            connection=place,
            state=state,
            requested_by="scheduled sync",
            started_at=now,
            finished_at=None if state is RunState.RUNNING else now,
            done=40,
            expected=100,
            error="" if state is RunState.RUNNING else "A part of it could not be listed.",
            problems=[{"file": "aws:123456789012/iam", "reason": "AWS refuses iam:ListUsers (AccessDenied)."}],
        )
    return place


def pages(place: Connection) -> list[str]:
    return ["new/", *(f"new/{kind}/" for kind in FORMS), f"{place.pk}/", f"{place.pk}/edit/"]


@pytest.mark.long
def test_its_pages_are_accessible_in_both_themes_and_never_scroll_sideways(
    newcomer: Page, live_server, axe, running: Connection
) -> None:
    assert unfit(newcomer, axe, *(f"{live_server.url}/connections/{path}" for path in pages(running))) == {}


def test_a_run_is_watched_to_its_end_and_the_facts_are_fresh_then(
    newcomer: Page, live_server, running: Connection
) -> None:
    newcomer.goto(f"{live_server.url}/connections/{running.pk}/")
    expect(newcomer.get_by_text("40 of 100 credentials")).to_be_visible()
    SyncRun.objects.filter(state=RunState.RUNNING).update(done=70)
    expect(newcomer.get_by_text("70 of 100 credentials")).to_be_visible()
    newcomer.reload()
    expect(newcomer.get_by_role("progressbar")).to_have_attribute("value", "70")
    expect(newcomer.locator("#connection-facts")).to_contain_text("Last complete")
    now = timezone.now()
    SyncRun.objects.filter(state=RunState.RUNNING).update(
        state=RunState.COMPLETE, finished_at=now, counts={"credentials_added": 12}, problems=[]
    )
    Connection.objects.update(lease_token=None, lease_until=None, due_at=now + timedelta(hours=1), last_complete_at=now)
    expect(newcomer.get_by_text("12 credentials added")).to_be_visible()
    expect(newcomer.get_by_role("progressbar")).to_have_count(0)
    expect(newcomer.locator("#connection-lede")).to_contain_text("read completely just now")
    expect(newcomer.locator("#connection-facts")).to_contain_text(f"{now:%H:%M}")


def test_a_secret_that_was_pasted_is_gone_from_the_page(newcomer: Page, live_server, complaints: Complaints) -> None:
    newcomer.goto(f"{live_server.url}/connections/new/")
    newcomer.get_by_role("link", name="PostgreSQL").click()
    newcomer.get_by_label("Host", exact=True).fill("billing-db.example")
    newcomer.get_by_label("User").fill("keyreeve")
    pasted = f"pass-{uuid4()}"
    newcomer.get_by_label("Password", exact=True).fill(pasted)
    newcomer.get_by_role("button", name="Add and look").click()
    expect(newcomer.get_by_text("it was taken out and is kept nowhere").first).to_be_visible()
    expect(newcomer.get_by_label("Host", exact=True)).to_have_value("billing-db.example")
    assert pasted not in newcomer.content()
    assert [each for each in complaints if "422" not in each] == []
    complaints.clear()


def test_a_connection_is_added_tested_and_waits_for_its_worker(newcomer: Page, live_server, tmp_path: Path) -> None:
    (tmp_path / "checkouts").mkdir()
    newcomer.goto(f"{live_server.url}/connections/new/mcp_config/")
    newcomer.get_by_label("Paths").fill(str(tmp_path / "checkouts"))
    newcomer.get_by_role("button", name="Test").click()
    expect(newcomer.get_by_text("It answers.")).to_be_visible()
    newcomer.get_by_role("button", name="Add and look").click()
    expect(newcomer.get_by_text("Waiting for a worker.")).to_be_visible()
    newcomer.get_by_role("button", name="Test").click()
    expect(newcomer.locator("#connection-said")).to_contain_text("can be read.")
