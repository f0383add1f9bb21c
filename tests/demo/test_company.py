"""The demo company's past is made by the real rules, and its policies do what their dry runs say."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread

import httpx2
import pytest
from django.utils import timezone

from access.roles import Role
from demo import company, ownership, reviews
from demo.decisions import PARTNER, over_the_weeks
from demo.estate import write
from demo.receiver import HOST, Receiver
from demo.weeks import Decision, live_through
from inventory.actions.connections import create_connection
from inventory.actions.grants import draft_grants
from inventory.engine import sync
from inventory.feeds.rows import NDJSON
from inventory.intake import take
from inventory.models import (
    Credential,
    CredentialVersion,
    Grant,
    McpServer,
    Owner,
    OwnershipDay,
    OwnershipQuestion,
    Use,
)
from inventory.states import ConnectionKind, QuestionState
from lifecycle.actions.evaluation import evaluate
from lifecycle.models import Policy, PolicyVersion, RuleDay, Snapshot, Waiver
from lifecycle.trials.past import back_test
from notifications.signing import signed
from providers.base import Secret
from reviews.models import Campaign, MeasureDay, ReviewItem
from reviews.models import Decision as Decided
from tests.people import browser, text

ACTOR = company.ACTOR


@pytest.fixture
def founded(tmp_path: Path, db: None) -> datetime:
    """The company's files and its partners' keys, with who answers for them; nobody has judged them yet."""
    now = timezone.now()
    write(tmp_path, now=now)
    company.people()
    places = {"paths": [str(tmp_path)]}
    files = create_connection(
        kind=ConnectionKind.MCP_CONFIG, name="files", settings=places, actor=ACTOR, now=now, interval=None
    )
    sync(files.pk, clock=timezone.now, actor=ACTOR)
    register = create_connection(
        kind=ConnectionKind.FEED,
        name="Partner desk register",
        settings={"identity": ["issuer", "external_id"]},
        actor=ACTOR,
        now=now,
        interval=timedelta(hours=1),
    )
    take(register, company.export(now), format_=NDJSON, clock=timezone.now, actor=ACTOR)
    return now


@pytest.mark.long
def test_what_the_editor_shows_of_a_change_is_what_saving_it_then_does(founded: datetime) -> None:
    evaluate(timezone.now(), actor=ACTOR, full=True)
    policy = Policy.objects.get(name="API keys")
    reviewer = browser(Role.REVIEWER)
    address = f"/policies/{policy.pk}/change/"
    page = text(reviewer.get(address))
    form = {
        "name": policy.name,
        "description": policy.description,
        "priority": policy.priority,
        "kinds": ["api_key"],
        "max_age_0": "30",
        "max_age_1": "days",
        "requires_owner": "on",
        "requires_reference": "on",
        "automation": "off",
        "window": "90",
        **dict(re.findall(r'<input type="hidden" name="(version|trial)" value="([^"]*)"', page)),
    }
    tried = text(reviewer.post(address, form))
    carried = dict(re.findall(r'<input type="hidden" name="(version|trial)" value="([^"]*)"', tried))
    saved = reviewer.post(address, {**form, **carried, "reason": "A trial", "save": "yes"})
    assert saved.status_code == 302, text(saved)
    shown = PolicyVersion.objects.of(policy).first().dry_run
    assert shown["opened"] > 0
    done = evaluate(timezone.now(), actor=ACTOR)
    assert (done.opened, done.resolved) == (shown["opened"], shown["closed"])


def test_the_weeks_before_leave_a_past_that_can_be_read(founded: datetime) -> None:
    live_through(founded, over_the_weeks(), actor=ACTOR, counted=(12, 1))
    assert Snapshot.objects.count() == 2
    assert RuleDay.objects.filter(rule="unrotated").count() == 2
    assert CredentialVersion.objects.filter(is_current=False).exists()
    assert set(Waiver.objects.values_list("state", flat=True)) >= {"active", "declined", "requested"}
    assert [row.version for row in Policy.objects.filter(retired_at__isnull=False)] == [3]
    partner = Policy.objects.get(name=PARTNER)
    assert back_test(partner, since=founded - timedelta(days=70), until=founded, now=founded).opened > 0


def test_the_receiver_takes_what_is_signed_and_nothing_else() -> None:
    receiver = Receiver(0, b"k" * 32)
    listening = Thread(target=receiver.serve_forever, args=(0.01,))
    listening.start()
    try:
        body, now = b'{"type": "test", "data": {}}', int(timezone.now().timestamp())
        headers = dict(signed(body, message_id="one", timestamp=now, secrets=[Secret("k" * 32)]))
        url = f"http://{HOST}:{receiver.server_port}/"
        answers = [httpx2.post(url, content=sent, headers=headers).status_code for sent in (body, body + b" ")]
    finally:
        receiver.shutdown()
        receiver.server_close()
        listening.join()
    assert answers == [204, 401]


def test_its_owners_answered_in_every_way_and_some_are_still_asked(founded: datetime) -> None:
    people = {row.name: row for row in Owner.objects.all()}
    keys = list(Credential.objects.order_by("pk").values_list("pk", flat=True))

    def give(number: int, name: str) -> None:
        Credential.objects.filter(pk=keys[number]).update(owner=people[name])

    for number, name in enumerate((*ownership.ACCEPTED, "Data", "Workplace IT")):
        give(number, name)
    later: list[tuple[int, Decision]] = [
        (days, lambda _now, given=given: give(*given))  # type: ignore[misc]
        for days, given in ((12, (10, "Payments")), (11, (11, "Routing")), (5, (12, "Data")))
    ]
    live_through(founded, [*later, *ownership.over_the_weeks()], actor=ACTOR, counted=(12, 11, 5, 3, 1))
    asked = OwnershipQuestion.objects.get(owner__name="Mira Okafor", state=QuestionState.OPEN)
    assert founded < asked.answer_by < founded + timedelta(days=14)
    assert set(OwnershipQuestion.objects.values_list("state", flat=True)) == set(QuestionState.values) - {"settled"}
    quarantined = OwnershipQuestion.objects.get(owner__name="Workplace IT")
    assert [each["name"] for each in quarantined.passes] == ["Workplace IT", "Ana Duarte", "Priya Raman"]
    assert OwnershipDay.objects.count() == MeasureDay.objects.filter(measure="owners-accepted").count() == 5


def test_its_first_review_is_signed_with_everything_carried_out(founded: datetime) -> None:
    began = founded - timedelta(days=30)
    drafted = draft_grants(Use.objects.present(), actor=ACTOR, now=began, reason="What is reached.")
    Grant.objects.update(approved_at=began, approved_by="demo", ends_at=founded + timedelta(days=80))
    McpServer.objects.update(application_owner=Owner.objects.get(name="Platform"))
    McpServer.objects.filter(name="github-prod").update(application_owner=Owner.objects.get(name="Mira Okafor"))
    live_through(founded, reviews.over_the_weeks(), actor=ACTOR, counted=(12, 1))
    campaign = Campaign.objects.get()
    assert (campaign.state, campaign.signed_by, campaign.size) == ("signed", "Priya Raman", drafted)
    assert set(ReviewItem.objects.values_list("ending", flat=True)) == {"kept", "revoked"}
    assert set(Decided.objects.values_list("decided_by", flat=True)) == {"Mira Okafor", "Priya Raman"}
