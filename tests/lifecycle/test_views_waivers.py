"""The queue, a finding in each of its states, and the register of waivers, as people see them."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from access.roles import Role
from inventory.models import Owner
from inventory.states import Severity
from lifecycle.actions.findings import acknowledge, add_link, comment
from lifecycle.actions.waivers import decline_waivers, withdraw_waiver
from lifecycle.models import Finding, FindingChange, Waiver, WaiverCap
from lifecycle.states import LinkKind
from lifecycle.views.waivers import TEAMS, teams
from tests import factories
from tests.inventory.discovery_samples import github_token
from tests.lifecycle.waived import MIRA, OTTO, approved, requested, waived
from tests.people import HTMX, browser, owners_browser, person, text

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def a_finding(**values: Any) -> Finding:
    """Opened now by the real clock, which the pages ask."""
    now = timezone.now()
    said = {"opened_at": now, "refreshed_at": now, "due_at": now + 30 * DAY, "severity": Severity.MEDIUM}
    subject = values.pop("credential", None) or factories.credential()
    return Finding.objects.create(credential=subject, **{"rule": "no-owner", **said, **values})


def soon(days: int = 30) -> dict[str, Any]:
    now = timezone.now()
    return {"now": now, "ends_at": now + days * DAY}


def reviewer() -> tuple[Client, str]:
    """A reviewer's browser, and their key."""
    somebody = person(Role.REVIEWER)
    client = Client()
    client.force_login(somebody)
    return client, f"user:{somebody.pk}"


# ── The queue ──────────────────────────────────────────────────────────────────────────────────
def test_the_queue_opens_on_what_is_open_and_for_an_owner_on_what_is_theirs():
    assert browser(Role.REVIEWER).get("/findings/")["Location"] == "/findings/?state=open&state=acknowledged"
    mine, _ = owners_browser()
    assert mine.get("/findings/")["Location"].endswith("&mine=true")


def test_what_is_mine_is_what_i_answer_for_and_what_i_work_on():
    mine, me = owners_browser()
    answered = a_finding(owner=me, credential=factories.credential(name="answered", owner=me))
    a_finding(assigned_to=me, credential=factories.credential(name="assigned"))
    a_finding(credential=factories.credential(name="another's"))
    page = text(mine.get("/findings/?mine=true&state=open"))
    assert answered.subject.name in page
    assert "assigned" in page
    assert "another&#x27;s" not in page


@pytest.mark.parametrize("group", ["owner", "server", "rule", "severity", "due", "none"])
def test_each_way_of_parting_the_queue_shows_heads_with_numbers(group: str):
    team, place = factories.owner(name="Payments"), factories.server(name="billing")
    a_finding(owner=team, at_server=place)
    a_finding(owner=team, at_server=place)
    a_finding()
    page = text(browser(Role.AUDITOR).get(f"/findings/?state=open&group={group}"))
    heads = {"owner": 2, "server": 2, "rule": 1, "severity": 1, "due": 1, "none": 0}[group]
    assert page.count('scope="rowgroup"') == heads
    assert ("2 in all" in page) == (group in {"owner", "server"})
    assert page.count("data-row") >= 3


def test_a_head_leads_to_its_part_alone():
    team = factories.owner(name="Payments")
    a_finding(owner=team, credential=factories.credential(name="theirs"))
    a_finding(credential=factories.credential(name="nobodys"))
    auditor = browser(Role.AUDITOR)
    assert f"owner={team.pk}" in text(auditor.get("/findings/?state=open&group=owner"))
    alone = text(auditor.get("/findings/?state=open&group=owner&has_owner=false"))
    assert "nobodys" in alone
    assert "theirs" not in alone


@pytest.mark.parametrize(
    ("query", "most"),
    [
        ("group=owner", 10),
        ("owner={owner}", 11),
        ("environment={environment}", 12),
        ("q=nothing-is-called-so", 12),
        ("assigned_to={nobody}", 12),
        ("mine=true", 11),
    ],
)
def test_the_queue_asks_few_questions_of_the_database(query: str, most: int, django_assert_max_num_queries: Any):
    owner, environment = factories.owner(), factories.environment()
    for _ in range(3):
        key = factories.credential(environment=environment)
        a_finding(credential=key, owner=owner, at_server=factories.server(), assigned_to=factories.owner())
    given = {"owner": owner.pk, "environment": environment.pk, "nobody": factories.owner().pk}
    reviewer = browser(Role.REVIEWER)
    with django_assert_max_num_queries(most):
        assert reviewer.get(f"/findings/?state=open&{query.format(**given)}").status_code == 200


def test_resolved_findings_are_listed_by_when_that_was():
    now = timezone.now()
    a_finding(state="resolved", resolved_at=now, resolution="met")
    assert "resolved last first" in text(browser(Role.AUDITOR).get("/findings/?state=resolved"))


def test_a_link_to_another_order_leaves_the_groups_behind():
    a_finding()
    assert 'scope="rowgroup"' not in text(browser(Role.AUDITOR).get("/findings/?state=open&group=owner&sort=-severity"))


# ── One finding ────────────────────────────────────────────────────────────────────────────────
def stood(found: Finding, state: str) -> None:
    now = timezone.now()
    if state == "acknowledged":
        acknowledge([found.pk], actor=MIRA, now=now)
    elif state == "resolved":
        Finding.objects.filter(pk=found.pk).update(state="resolved", resolved_at=now, resolution="met")
    elif state == "requested":
        requested(found, **soon())
    elif state == "declined":
        decline_waivers([requested(found, **soon())], reason="The network is open.", actor=OTTO, now=now)
    elif state != "open":
        active = waived(found, **soon(9 if state == "ending soon" else 30))
        if state == "extended":
            approved(requested(found, extends=active, now=now, ends_at=now + 60 * DAY), now=now)
        elif state == "outgrown":
            Finding.objects.filter(pk=found.pk).update(severity=Severity.HIGH)
        elif state == "withdrawn":
            withdraw_waiver(active, actor=OTTO, now=now, reason="It moved.")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("open", ["Acknowledge</button>", "Waive…"]),
        ("acknowledged", ["acknowledged it", "Waive…"]),
        ("resolved", ["Resolved", "Seen to be met"]),
        ("requested", ["Mira Okafor asks for a waiver", "Approve…", "Decline…"]),
        ("declined", ["declined the waiver", "The network is open."]),
        ("waived", ["Waived until", "Approved by Otto Brandt", "Extend…", "Reached only from the office network."]),
        ("ending soon", ["which is soon"]),
        ("extended", ["Goes on until", "Approved, begins later"]),
        ("outgrown", ["More severe than what was accepted", "It was medium when it was waived and is high now"]),
        ("withdrawn", ["withdrew the waiver", "It moved.", "Waive…"]),
    ],
)
def test_a_finding_says_how_it_stands(state: str, said: list[str]):
    found = a_finding()
    stood(found, state)
    page = text(browser(Role.REVIEWER).get(f"/findings/{found.pk}/"))
    assert [words for words in said if words not in page] == []


def test_whoever_asked_is_told_that_somebody_else_decides():
    mine, key = reviewer()
    found = a_finding()
    Waiver.objects.filter(pk=requested(found, **soon()).pk).update(requested_by_key=key)
    page = text(mine.get(f"/findings/{found.pk}/"))
    assert "You asked for it, so somebody else decides." in page
    assert "Approve…" not in page


def test_a_finding_says_why_it_is_severe_who_works_on_it_and_when_it_escalates():
    found = a_finding(
        severity=Severity.HIGH, raised_by=["production", "exposed"], assigned_to=factories.owner(name="Ana Duarte"),
        escalates_at=timezone.now() + 9 * DAY,
    )  # fmt: skip
    page = text(browser(Role.AUDITOR).get(f"/findings/{found.pk}/"))
    for words in ("It serves production", "Its secret lies open", "its rule says medium", "Ana Duarte", "Escalates"):
        assert words in page


def test_the_history_is_one_line_of_everything_and_the_rest_is_earlier():
    now = timezone.now()
    found = a_finding(opened_at=now - 90 * DAY)
    FindingChange.objects.create(
        finding=found, kind="escalated", changed_at=now - 9 * DAY, severity_before=2, severity=3, raised_by=["past_due"]
    )
    for day in range(31):
        comment([found.pk], f"Day {day} of it.", actor=MIRA, now=now - (40 + day) * DAY)
    add_link(found, kind=LinkKind.TICKET, reference="SEC-1", url="https://t.example/1", actor=MIRA, now=now)
    auditor = browser(Role.AUDITOR)
    page = text(auditor.get(f"/findings/{found.pk}/"))
    assert "escalated it from medium to high" in page
    assert "linked what will resolve it" in page
    assert "Day 27 of it." in page
    assert "Day 28 of it." not in page
    before = (now - 67 * DAY).isoformat().replace("+", "%2B")
    earlier = text(auditor.get(f"/findings/{found.pk}/?before={before}"))
    assert "Day 28 of it." in earlier
    assert "opened it" in earlier
    assert auditor.get(f"/findings/{found.pk}/?before=yesterday").status_code == 200


def test_a_comment_with_a_secret_is_refused_and_what_was_typed_is_not_in_the_audit():
    found, secret = a_finding(), github_token()
    answer = browser(Role.REVIEWER).post("/findings/comment/", {"id": found.pk, "decided": "yes", "text": secret})
    assert answer.status_code == 422
    assert "A secret stands in this text" in text(answer)


def test_findings_are_assigned_and_commented_from_the_list():
    found, other, ana = a_finding(), a_finding(), factories.owner(name="Ana Duarte")
    mine = browser(Role.REVIEWER)
    ids = [str(found.pk), str(other.pk)]
    assert "Assign 2 findings" in text(mine.post("/findings/assign/", {"id": ids}, headers=HTMX))
    mine.post("/findings/assign/", {"id": ids, "decided": "yes", "assignee": "Ana Duarte"})
    mine.post("/findings/comment/", {"id": ids, "decided": "yes", "text": "Both at once."})
    assert Finding.objects.filter(assigned_to=ana).count() == 2
    assert "Both at once." in text(mine.get(f"/findings/{other.pk}/"))


# ── The register ───────────────────────────────────────────────────────────────────────────────
def test_a_waiver_is_asked_for_approved_by_another_and_extended():
    (mine, _), (theirs, _) = reviewer(), reviewer()
    found = a_finding()
    said = {
        "id": found.pk, "reason": "Moves to the gateway in July.", "compensating_control": "Closed network only.",
        "until": f"{(timezone.now() + 9 * DAY).date()}",
    }  # fmt: skip
    mine.post("/findings/waive/", said)
    asked = Waiver.objects.get()
    decision = {"id": asked.pk, "decided": "yes", "reason": "The control holds."}
    assert mine.post("/waivers/approve/", decision).status_code == 422
    assert theirs.post("/waivers/approve/", decision).status_code == 302
    assert "Ask to extend" in text(mine.get(f"/findings/waive/?id={found.pk}"))
    mine.post("/findings/waive/", {**said, "until": f"{(timezone.now() + 30 * DAY).date()}"})
    assert Waiver.objects.requested().get().extends == asked


@pytest.mark.parametrize(
    ("view", "state"),
    [
        ("state=requested", "requested"), ("is_active=true", "waived"), ("ending_soon=true", "ending soon"),
        ("outgrown=true", "outgrown"), ("state=scheduled", "extended"),
        ("state=declined&state=withdrawn&state=expired", "withdrawn"),
    ],
)  # fmt: skip
def test_the_register_has_a_view_for_each_state(view: str, state: str):
    stood(a_finding(credential=factories.credential(name="the one")), state)
    a_finding(credential=factories.credential(name="not asked for"))
    page = text(browser(Role.REVIEWER).get(f"/waivers/?{view}"))
    assert "the one" in page
    assert "not asked for" not in page


def test_an_owner_sees_the_waivers_of_their_findings_alone():
    mine, me = owners_browser()
    waived(a_finding(owner=me, credential=factories.credential(name="mine", owner=me)), **soon())
    waived(a_finding(credential=factories.credential(name="foreign")), **soon())
    page = text(mine.get("/waivers/?is_active=true"))
    assert "mine" in page
    assert "foreign" not in page


def test_an_administrator_changes_a_cap_on_the_page_and_takes_it_away():
    team: Owner = factories.owner(name="Payments")
    admin = browser(Role.ADMINISTRATOR)
    asked = {"decided": "yes", "most_active": "3", "days": "60", "reason": "Agreed with the auditors."}
    admin.post(f"/waivers/caps/{team.pk}/", asked)
    page = text(admin.get("/waivers/?is_active=true"))
    assert "Payments" in page
    assert "Agreed with the auditors." in page
    admin.post(f"/waivers/caps/{team.pk}/remove/", {"decided": "yes", "reason": "No longer needed."})
    assert WaiverCap.objects.get().is_default


def test_an_owner_sees_their_cap_after_those_of_many_teams():
    cap = {"most_active": 3, "longest_total": 60 * DAY, "changed_by": "Otto Brandt", "changed_at": timezone.now()}
    WaiverCap.objects.bulk_create(WaiverCap(owner=factories.owner(), **cap) for _ in range(TEAMS + 1))
    mine, me = owners_browser()
    waived(a_finding(owner=me, credential=factories.credential(owner=me)), **soon())
    assert [row["team"] for row in teams(me.user.as_actor())][1:] == [me.name]
    assert me.name in text(mine.get("/waivers/?is_active=true"))


def test_a_waiver_of_one_person_says_so():
    found = a_finding()
    active = waived(found, **soon())
    Waiver.objects.filter(pk=active.pk).update(is_single_handed=True, requested_by_key="", approved_by_key="")
    page = text(browser(Role.AUDITOR).get(f"/findings/{found.pk}/"))
    assert "Granted by Otto Brandt alone, before a waiver took two people." in page
