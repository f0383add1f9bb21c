"""Pages as of a past instant: said plainly, with a way back, and nothing to change."""

import re
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from inventory.actions.ownership import assign_owner
from inventory.models import Credential, Grant, McpServer
from inventory.states import CredentialStatus, Severity
from lifecycle.actions.findings import acknowledge, assign
from lifecycle.actions.policies import change_policy, create_policy
from lifecycle.models import Finding, FindingChange, Policy
from lifecycle.states import Resolution
from tests.api.conftest import Estate, estate  # noqa: F401  the same small estate
from tests.factories import NOW, client, credential, grant, owner, server
from tests.history.passing import DAY, time_passes
from tests.people import HTMX, browser, text

SYSTEM = Actor.system("test")


def half_a_day_ago() -> str:
    return f"{timezone.now() - DAY / 2:%Y-%m-%dT%H:%M}"


def addresses(of: Credential) -> list[str]:
    pair = Grant.objects.get()
    found = Finding.objects.filter(credential=of).first()
    lists = (
        "server_list", "client_list", "credential_list", "owner_list", "exposure_list", "grant_list", "grant_matrix",
        "finding_list", "waiver_list", "policy_list",
    )  # fmt: skip
    return [
        *map(reverse, lists),
        reverse("grant_pair", args=[pair.client_id, pair.server_id]),
        *(
            reverse(name, args=[pk])
            for name, pk in (
                ("credential_detail", of.pk),
                ("server_detail", pair.server_id),
                ("client_detail", pair.client_id),
                ("owner_detail", of.owner_id),
                ("finding_detail", found.pk if found else None),
                ("policy_detail", Policy.objects.in_order()[0].pk),
            )
        ),
    ]


def main(page: str) -> str:
    return page[page.index("<main") : page.index("</main>")]


def seen(who: Client, address: str) -> str:
    answer = who.get(address, {"as_of": half_a_day_ago()}, follow=True)
    assert answer.status_code == 200, address
    return text(answer)


def test_every_page_of_the_past_says_so_leads_back_and_offers_no_change(estate: Estate):  # noqa: F811
    time_passes()
    for who in (browser(Role.ADMINISTRATOR), estate.caller.browser):
        for address in addresses(estate.mine):
            page = seen(who, address)
            assert "You are looking at the past" in page
            (back,) = set(re.findall(r'<a class="btn" data-present href="([^"]*)"', page))
            assert "as_of" not in back
            assert back.startswith(address)
            shown = main(page)
            assert "csrfmiddlewaretoken" not in shown, address
            assert "hx-post" not in shown, address
            assert "dialog-slot" not in shown, address


def test_links_keep_to_the_instant_where_the_page_they_lead_to_knows_it(estate: Estate):  # noqa: F811
    time_passes()
    page = seen(browser(Role.AUDITOR), reverse("credential_list"))
    then = half_a_day_ago()
    assert f'href="{reverse("credential_detail", args=[estate.mine.pk])}?as_of={then}"' in page
    assert f'href="{reverse("owner_list")}?as_of={then}"' in page
    assert f'href="{reverse("operation_list")}"' in page  # of the present, as every page about it


def test_a_page_that_leads_on_keeps_to_the_instant(estate: Estate):  # noqa: F811
    time_passes()
    answer = browser(Role.AUDITOR).get(reverse("finding_list"), {"as_of": half_a_day_ago()})
    assert answer.status_code == 302
    assert f"as_of={half_a_day_ago()}" in answer["Location"]


def test_a_page_shows_what_was_so_then(db: None):
    row = credential(name="deploy", owner=owner(name="Ada"), status=CredentialStatus.ACTIVE)
    time_passes()
    Credential.objects.filter(pk=row.pk).update(name="release", owner=None, status=CredentialStatus.DESTROYED)
    page = seen(browser(Role.AUDITOR), reverse("credential_detail", args=[row.pk]))
    assert "<h1>deploy" in page
    assert "Ada" in page
    assert "release" not in page
    assert "Destroyed" not in page


def test_an_age_is_that_of_then(db: None):
    row = credential(issued_at=timezone.now() - 30.5 * DAY)
    time_passes(20 * DAY)
    address = reverse("credential_detail", args=[row.pk])
    answer = browser(Role.AUDITOR).get(address, {"as_of": f"{timezone.now() - 10 * DAY:%Y-%m-%dT%H:%M}"})
    assert ">20 d<" in text(answer)


def test_a_fragment_and_a_file_are_of_then_too(db: None):
    row = credential(name="deploy")
    time_passes()
    Credential.objects.filter(pk=row.pk).update(name="release")
    who, address = browser(Role.AUDITOR), reverse("credential_list")
    asked = {"as_of": half_a_day_ago()}
    fragment = text(who.get(address, asked, headers=HTMX))
    assert "deploy" in fragment
    assert "release" not in fragment
    lines = text(who.get(address, {**asked, "format": "csv"}))
    assert "deploy" in lines
    assert "release" not in lines


def test_saved_views_filters_and_pages_keep_to_the_instant(db: None):
    for n in range(60):
        credential(name=f"key {n}")
    time_passes()
    page = main(seen(browser(Role.AUDITOR), reverse("credential_list")))
    (later,) = re.findall(r'<a class="btn" href="([^"]*)"[^>]*id="page-later"', page)
    assert "as_of=" in later
    assert page.count(f'<input type="hidden" name="as_of" value="{half_a_day_ago()}">') >= 2
    assert "Save view" not in page
    for tab in re.findall(r'<a href="([^"]*)"[^>]*id="tab-', page):
        assert "as_of=" in tab


def test_tabs_are_counted_of_now_alone(db: None):
    credential()
    time_passes()
    reader = browser(Role.AUDITOR)
    assert 'class="count"' in text(reader.get(reverse("credential_list")))
    assert 'class="count"' not in main(seen(reader, reverse("credential_list")))


def test_an_owners_past_shows_only_what_is_theirs_now(estate: Estate):  # noqa: F811
    Credential.objects.filter(pk=estate.foreign.pk).update(owner=estate.mira, gone_at=None)  # it was Mira's then
    time_passes()
    Credential.objects.filter(pk=estate.foreign.pk).update(owner=owner())
    who = estate.caller.browser
    page = seen(who, reverse("credential_list"))
    address = reverse("credential_detail", args=[estate.foreign.pk])
    assert reverse("credential_detail", args=[estate.mine.pk]) in page
    assert address not in page
    assert who.get(address, {"as_of": half_a_day_ago()}).status_code == 404


# ── What is no past ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("yesterday", "Give an instant"),
        ("2001-01-01T00:00", "does not reach back so far"),
        ("9999-12-31T23:59", "has not come yet"),
    ],
)
def test_an_instant_of_which_nothing_is_known_is_refused_with_a_way_on(asked: str, said: str, db: None):
    answer = browser(Role.AUDITOR).get(reverse("credential_list"), {"as_of": asked, "kind": "api_key"})
    assert answer.status_code == 400
    page = text(answer)
    assert said in page
    assert 'data-present href="/credentials/?kind=api_key"' in page
    assert '<input id="as-of"' in page


def test_a_page_that_knows_the_present_alone_refuses_a_past_instant(db: None):
    answer = browser(Role.AUDITOR).get(reverse("operation_list"), {"as_of": half_a_day_ago()})
    assert answer.status_code == 400
    assert "shows the present only" in text(answer)


def test_nothing_is_written_at_an_address_of_the_past(db: None):
    row = credential()
    who = browser(Role.ADMINISTRATOR)
    answer = who.post(f"{reverse('credential_assign_owner')}?as_of={half_a_day_ago()}", {"id": str(row.pk)})
    assert answer.status_code == 400


def test_whoever_may_not_look_learns_nothing_of_the_past(db: None):
    time_passes()
    address = reverse("credential_list")
    assert Client().get(address, {"as_of": half_a_day_ago()}).status_code == 302
    assert browser().get(address, {"as_of": half_a_day_ago()}).status_code == 403


# ── The timeline ───────────────────────────────────────────────────────────────────────────────


def test_a_change_that_nobody_recorded_is_on_the_timeline(db: None):
    row = credential(status=CredentialStatus.ACTIVE)
    time_passes()
    Credential.objects.filter(pk=row.pk).update(status=CredentialStatus.SUSPENDED)
    page = text(browser(Role.AUDITOR).get(reverse("credential_detail", args=[row.pk])))
    assert "<b>It changed</b> status: active → suspended" in page


@pytest.mark.parametrize("kind", ["server", "client", "owner", "grant"])
def test_it_is_on_that_of_every_kind(kind: str, db: None):
    host, program, who = server(name="old"), client(name="old"), owner(name="old")
    held = grant(program, host, ends_at=timezone.now() + 9 * DAY, approved_at=NOW, reason="old")
    time_passes()
    row = {"server": host, "client": program, "owner": who, "grant": held}[kind]
    column = "reason" if kind == "grant" else "name"
    type(row).objects.filter(pk=row.pk).update(**{column: "new"})
    address = (
        reverse("grant_pair", args=[program.pk, host.pk])
        if kind == "grant"
        else reverse(f"{kind}_detail", args=[row.pk])
    )
    assert f"<b>It changed</b> {column}: old → new" in text(browser(Role.AUDITOR).get(address))


def test_what_an_audit_entry_tells_is_told_once(db: None):
    row, ada = credential(), owner(name="Ada")
    time_passes()
    assign_owner(Credential.objects.filter(pk=row.pk), ada, actor=SYSTEM, reason="She runs it.")
    page = text(browser(Role.AUDITOR).get(reverse("credential_detail", args=[row.pk])))
    assert "assigned the owner" in page
    assert "It changed" not in page


def test_the_timeline_of_the_past_ends_at_its_instant(db: None):
    row = server(name="one")
    time_passes(3 * DAY)
    McpServer.objects.filter(pk=row.pk).update(name="two")
    time_passes(DAY)
    McpServer.objects.filter(pk=row.pk).update(name="three")
    page = seen(browser(Role.AUDITOR), reverse("server_detail", args=[row.pk]))
    assert "name: one → two" in page
    assert "three" not in page


def test_a_name_is_told_where_a_key_changed(db: None):
    row = credential(owner=owner(name="Ada"))
    time_passes()
    Credential.objects.filter(pk=row.pk).update(owner=owner(name="Ben"))
    page = text(browser(Role.AUDITOR).get(reverse("credential_detail", args=[row.pk])))
    assert "owner: Ada → Ben" in page


# ── Of findings and policies ───────────────────────────────────────────────────────────────────


def history_on(page: str) -> str:
    part = page[page.index('<h2 id="h-hist">') :]
    return part[: part.index("</section>")]


def a_finding(days: int = 40, **values: Any) -> Finding:
    """One that an evaluation opened some days ago, and told anybody of."""
    then = timezone.now() - days * DAY
    made = Finding.objects.create(
        rule="no-owner", credential=credential(), severity=Severity.MEDIUM, opened_at=then, refreshed_at=then,
        due_at=then + 90 * DAY, **values,
    )  # fmt: skip
    time_passes()
    return made


def finding_page(found: Finding, **asked: str) -> str:
    return text(browser(Role.AUDITOR).get(reverse("finding_detail", args=[found.pk]), asked))


def test_what_nobody_recorded_is_on_the_timeline_of_a_finding(db: None):
    found = a_finding()
    Finding.objects.filter(pk=found.pk).update(severity=Severity.LOW)
    assert "<b>It changed</b> severity: medium → low" in history_on(finding_page(found))


def test_what_an_evaluation_saw_anew_is_told_in_words(db: None):
    found = a_finding(evidence={"max_age": 90 * 86_400, "issued_at": "2026-01-02T00:00:00Z"})
    seen_anew = {"max_age": 30 * 86_400, "issued_at": "2026-01-02T00:00:00Z"}
    Finding.objects.filter(pk=found.pk).update(evidence=seen_anew, refreshed_at=timezone.now())
    shown = history_on(finding_page(found))
    assert "<b>Evaluation</b> saw it otherwise" in shown
    assert "max age: 90 days → 30 days" in shown
    assert "issued at" not in shown


def test_what_a_record_of_the_evaluation_tells_is_told_once(db: None):
    found, now = a_finding(), timezone.now()
    Finding.objects.filter(pk=found.pk).update(
        severity=Severity.HIGH, raised_by=["past_due"], refreshed_at=now, escalated_at=now
    )
    FindingChange.objects.create(
        finding=found, kind="escalated", changed_at=now, severity_before=2, severity=3, raised_by=["past_due"]
    )
    shown = history_on(finding_page(found))
    assert "escalated it from medium to high" in shown
    assert "saw it otherwise" not in shown
    assert "It changed" not in shown


def test_what_people_decided_about_a_finding_is_told_once(db: None):
    found, someone = a_finding(), Actor.system("test")
    acknowledge([found.pk], actor=someone, now=timezone.now())
    assign([found.pk], owner(name="Ada"), actor=someone)
    shown = history_on(finding_page(found))
    assert shown.count("acknowledged it") == 1
    assert "It changed" not in shown


def test_an_end_of_a_finding_is_told_once(db: None):
    found = a_finding()
    Finding.objects.filter(pk=found.pk).update(state="resolved", resolved_at=timezone.now(), resolution=Resolution.MET)
    shown = history_on(finding_page(found))
    assert shown.count("resolved it") == 1
    assert "It changed" not in shown


def test_the_timeline_of_a_finding_of_the_past_ends_at_its_instant(db: None):
    found = a_finding()
    Finding.objects.filter(pk=found.pk).update(severity=Severity.LOW)
    time_passes(3 * DAY)
    Finding.objects.filter(pk=found.pk).update(severity=Severity.CRITICAL)
    shown = history_on(finding_page(found, as_of=half_a_day_ago()))
    assert "severity: medium → low" in shown
    assert "critical" not in shown


def test_many_versions_of_a_finding_are_told_part_by_part(db: None):
    found = a_finding(days=300)
    for day in range(120):
        Finding.objects.filter(pk=found.pk).update(due_at=timezone.now() + day * DAY)
        time_passes(Finding)
    told, asked = [], {}
    while True:
        shown = history_on(finding_page(found, **asked))
        told += re.findall(r"due at: ([^<]*)", shown)
        earlier = re.search(r'href="\?before=([^#"]*)#', shown)
        if not earlier:
            break
        asked = {"before": unquote(earlier.group(1))}
    assert len(told) == len(set(told)) == 120


def policy_page(policy: Policy, **asked: str) -> str:
    page = text(browser(Role.AUDITOR).get(reverse("policy_detail", args=[policy.pk]), asked))
    part = page[page.index('id="h-ver"') :]
    return " ".join(part[: part.index("</section>")].split())


def a_policy() -> Policy:
    reviewer = Actor(SYSTEM.kind, "1", "Ada", frozenset({Role.ADMINISTRATOR}))
    how = {"actor": reviewer, "now": timezone.now(), "reason": "It is time."}
    made = create_policy({"name": "Short", "max_age": 90 * DAY}, **how)
    time_passes()
    return made


def changed(policy: Policy, **values: Any) -> None:
    reviewer = Actor(SYSTEM.kind, "1", "Ada", frozenset({Role.ADMINISTRATOR}))
    version = Policy.objects.get(pk=policy.pk).version
    change_policy(
        policy, values, expected_version=version, actor=reviewer, now=timezone.now(), reason="It was too long."
    )


def test_a_policy_that_changed_without_a_version_says_so(db: None):
    held = a_policy()
    Policy.objects.filter(pk=held.pk).update(max_age=30 * DAY)
    shown = policy_page(held)
    assert "<h3>It changed</h3>" in shown
    assert "without a version" in shown
    assert '<span class="muted">90 days</span>' in shown
    assert "30 days</dd>" in shown


def test_a_version_tells_what_it_changed_itself_and_nothing_that_was_changed_before_it(db: None):
    held = a_policy()
    Policy.objects.filter(pk=held.pk).update(max_age=30 * DAY)
    time_passes()
    changed(held, name="Shorter")
    shown = policy_page(held)
    assert shown.count("Maximum age") == 1
    second = shown[shown.index("<h3>Version 2</h3>") : shown.index("<h3>It changed</h3>")]
    assert "Shorter" in second
    assert "Maximum age" not in second


def test_a_change_of_a_policy_is_told_once(db: None):
    held = a_policy()
    changed(held, max_age=60 * DAY)
    shown = policy_page(held)
    assert "It changed" not in shown
    assert shown.count("Maximum age") == 1


def test_the_history_of_a_policy_of_the_past_ends_at_its_instant(db: None):
    held = a_policy()
    time_passes(3 * DAY)
    changed(held, max_age=60 * DAY)
    Policy.objects.filter(pk=held.pk).update(priority=7)
    shown = policy_page(held, as_of=half_a_day_ago())
    assert "Version 1" in shown
    assert "Version 2" not in shown
    assert "It changed" not in shown
