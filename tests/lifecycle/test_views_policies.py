"""Reviewers try a policy before they save it; everybody else reads what is asked, and each only what they may."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from inventory.states import CredentialKind
from lifecycle.actions.evaluation import evaluate
from lifecycle.actions.policies import change_policy, create_policy
from lifecycle.models import Finding, Obligation, Policy, PolicyVersion
from tests import factories
from tests.people import HTMX, browser, owners_browser, text

pytestmark = pytest.mark.django_db

MIRA = Actor.system("Mira Okafor")


@pytest.fixture
def reviewer() -> Client:
    return browser(Role.REVIEWER)


@pytest.fixture
def policy() -> Policy:
    return make(name="Deploy keys", kinds=[CredentialKind.API_KEY], max_age=timedelta(days=90), priority=10)


def make(**values: Any) -> Policy:
    return create_policy(values, actor=MIRA, now=timezone.now(), reason="The contract asks for it")


def key(days: int, **values: Any) -> Any:
    """An API key that was issued so many days ago, and used today."""
    now = timezone.now()
    since = now - timedelta(days=days)
    made = {"kind": CredentialKind.API_KEY, "issued_at": since, "first_seen_at": since, "last_used_at": now}
    return factories.credential(**{**made, **values})


def typed(**values: Any) -> dict[str, Any]:
    """What a browser sends of a filled form."""
    return {
        "name": "Deploy keys",
        "priority": "10",
        "kinds": ["api_key"],
        "max_age_0": "60",
        "max_age_1": "days",
        "automation": "off",
        "window": "90",
        **values,
    }


def carried(page: str) -> dict[str, str]:
    """The hidden fields that a page gives its form."""
    return dict(re.findall(r'<input type="hidden" name="(version|trial)" value="([^"]*)"', page))


def evaluated() -> None:
    evaluate(timezone.now(), actor=Actor.system("test"), full=True)


# ── Reading ──


def test_policies_stand_in_the_order_in_which_they_are_tried(policy, full):
    make(name="Before all others", priority=1)
    page = text(browser(Role.AUDITOR).get("/policies/"))
    assert page.index("Before all others") < page.index("Deploy keys") < page.index("Everything else")
    assert "API keys: rotate within 90 days." in page


def test_the_list_says_how_many_each_binds_and_leads_to_them(policy):
    key(10)
    key(120)
    evaluated()
    page = text(browser(Role.AUDITOR).get("/policies/"))
    assert re.search(rf'href="/credentials/\?policy={policy.pk}">2<', page)


def test_a_retired_policy_is_listed_apart(policy, reviewer):
    reviewer.post(f"/policies/{policy.pk}/retire/", {"reason": "Replaced", "version": "1"})
    reader = browser(Role.AUDITOR)
    assert "Deploy keys" not in text(reader.get("/policies/"))
    assert "Deploy keys" in text(reader.get("/policies/?retired=true"))


def test_without_a_policy_the_list_says_what_is_not_judged():
    PolicyVersion.objects.all().delete()
    Policy.objects.all().delete()
    assert "Nothing is asked of any credential" in text(browser(Role.REVIEWER).get("/policies/"))
    assert "No policy is retired" in text(browser(Role.AUDITOR).get("/policies/?retired=true"))


def test_the_page_says_how_what_it_binds_answers_and_leads_there(policy):
    key(120)
    key(10)
    key(10, issued_at=None)
    evaluated()
    page = text(browser(Role.AUDITOR).get(f"/policies/{policy.pk}/"))
    assert "Unrotated: 1 violated, 1 unknown, 1 met" in page
    assert f"/credentials/?policy={policy.pk}&amp;finding=unrotated" in page


def test_each_version_says_who_changed_what_and_why(policy):
    change_policy(
        policy,
        {"max_age": timedelta(days=60)},
        expected_version=1,
        actor=Actor.system("Ana Duarte"),
        now=timezone.now(),
        reason="After the leak in May",
    )
    page = text(browser(Role.AUDITOR).get(f"/policies/{policy.pk}/"))
    assert "Ana Duarte" in page
    assert "“After the leak in May”" in page
    assert re.search(r"Maximum age</dt><dd><span class=\"muted\">90 days</span>.*60 days</dd>", page)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OWNER])
def test_whoever_only_reads_is_offered_no_change(policy, role):
    reader = browser(role)
    for path in ("/policies/", f"/policies/{policy.pk}/"):
        page = text(reader.get(path))
        assert "Deploy keys" in page
        assert not re.search(r'href="/policies/(new|.*(change|retire))/"', page)


def test_an_owner_reads_no_other_owners_name_and_counts_what_is_theirs(policy):
    somebody = factories.owner(name="Zweifelhaft")
    change_policy(
        policy, {"owners": [somebody.pk]}, expected_version=1, actor=MIRA, now=timezone.now(), reason="Theirs alone"
    )
    key(10)
    person, me = owners_browser()
    key(10, owner=me)
    Policy.objects.filter(pk=policy.pk).update(owners=[somebody.pk, me.pk])
    evaluated()
    page = text(person.get(f"/policies/{policy.pk}/")) + text(person.get("/policies/"))
    assert "Zweifelhaft" not in page
    assert "another owner" in page
    assert "All 1 credential" in page
    assert "Theirs alone" not in page
    for path in (f"/api/v1/policies/{policy.pk}/", "/api/v1/policies/"):
        assert "Zweifelhaft" not in text(person.get(path))
        assert "Zweifelhaft" in text(browser(Role.AUDITOR).get(path))


# ── Trying and saving ──


def test_a_new_policy_is_tried_then_saved_and_does_what_was_shown(reviewer):
    old, young = key(80), key(10)
    evaluated()
    tried = text(reviewer.post("/policies/new/", typed(**{"try": "yes"})))
    assert not Policy.objects.filter(name="Deploy keys").exists()
    assert "It would bind 2 credentials, 2 of them newly, and open 1 finding." in tried
    assert "API keys: rotate within 60 days." in tried
    assert old.name in tried
    assert "Save version 1" in tried

    saved = reviewer.post("/policies/new/", typed(save="yes", reason="The contract of May", **carried(tried)))
    policy = Policy.objects.get(name="Deploy keys")
    assert saved.status_code == 302
    assert saved["Location"] == f"/policies/{policy.pk}/"
    version = PolicyVersion.objects.get(policy=policy)
    assert (version.number, version.reason) == (1, "The contract of May")
    assert version.dry_run["opened"] == 1
    assert version.back_test["opened"] >= 1

    evaluated()
    assert set(Obligation.objects.filter(policy=policy).values_list("pk", flat=True)) == {old.pk, young.pk}
    assert [finding.credential_id for finding in Finding.objects.unresolved().filter(rule="unrotated")] == [old.pk]
    assert "What was expected of it" in text(reviewer.get(f"/policies/{policy.pk}/"))


def test_whoever_takes_credentials_from_another_policy_sees_what_is_no_longer_asked_of_them(reviewer):
    make(name="The old one", priority=20, max_idle=timedelta(days=30), review_interval=timedelta(days=90))
    key(10)
    evaluated()
    tried = text(reviewer.post("/policies/new/", typed(**{"try": "yes"})))
    assert "<dt>The old one</dt><dd>maximum time without use 30 days; review every 90 days</dd>" in tried
    kept = typed(max_idle_0="40", max_idle_1="days", review_interval_0="1", review_interval_1="days", **{"try": "yes"})
    assert "asks less" not in text(reviewer.post("/policies/new/", kept))


def test_what_needs_somebody_takes_the_focus_without_script(reviewer):
    refused = text(reviewer.post("/policies/new/", typed(name="", **{"try": "yes"})))
    notice = refused[refused.index("autofocus") :]
    assert notice.index("One field needs you.") < notice.index("<fieldset")


def test_what_was_typed_survives_a_refusal_which_stands_at_its_field(reviewer):
    answer = reviewer.post(
        "/policies/new/",
        typed(name="", description="From the contract", tags=["pci"], tags_add="eu", overlap_0="99", overlap_1="days"),
    )
    page = text(answer)
    assert answer.status_code == 422
    assert "Give the policy a name." in page
    assert "From the contract" in page
    assert 'name="tags" value="pci" checked' in page
    assert 'name="tags" value="eu" checked' in page


def test_what_cannot_be_asked_is_said_where_it_was_typed(reviewer):
    answer = reviewer.post("/policies/new/", typed(overlap_0="99", overlap_1="days"))
    assert answer.status_code == 422
    assert "shorter than the maximum age" in text(answer)


def test_nothing_is_saved_that_nobody_has_seen(reviewer):
    answer = reviewer.post("/policies/new/", typed(save="yes", reason="At once"))
    assert answer.status_code == 409
    assert "Nothing is saved yet" in text(answer)
    assert not Policy.objects.filter(name="Deploy keys").exists()


def test_a_draft_that_was_changed_after_it_was_tried_is_tried_again(reviewer):
    tried = text(reviewer.post("/policies/new/", typed()))
    answer = reviewer.post("/policies/new/", typed(max_age_0="30", save="yes", reason="Shorter", **carried(tried)))
    assert "You changed the draft after it was tried" in text(answer)
    assert not Policy.objects.filter(name="Deploy keys").exists()


@pytest.mark.parametrize(("kind", "is_saved"), [(CredentialKind.OTHER, False), (CredentialKind.API_KEY, True)])
def test_numbers_that_an_estate_in_motion_changed_are_shown_again_before_they_are_saved(reviewer, kind, is_saved):
    key(80, kind=CredentialKind.OTHER)
    evaluated()
    tried = text(reviewer.post("/policies/new/", typed(kinds=["other"], priority="3")))
    key(80, kind=kind)
    make(name="Something changed", kinds=[CredentialKind.DATABASE_PASSWORD])
    sent = typed(kinds=["other"], priority="3", save="yes", reason="Now", **carried(tried))
    answer = reviewer.post("/policies/new/", sent)
    assert Policy.objects.filter(name="Deploy keys").exists() is is_saved
    assert is_saved or "the numbers differ" in text(answer)


def test_a_trial_that_somebody_else_made_is_not_believed(reviewer):
    theirs = carried(text(browser(Role.REVIEWER).post("/policies/new/", typed())))
    answer = reviewer.post("/policies/new/", typed(save="yes", reason="Borrowed", **theirs))
    assert "Nothing is saved yet" in text(answer)


def test_a_trial_of_another_policy_is_not_kept_with_this_one(reviewer):
    one, other = make(name="One", priority=50), make(name="Other", priority=60)
    shown = carried(text(reviewer.post(f"/policies/{one.pk}/change/", typed(name="One"))))
    answer = reviewer.post(f"/policies/{other.pk}/change/", typed(name="Other", save="yes", reason="Borrowed", **shown))
    assert "it was tried again" in text(answer)
    assert Policy.objects.get(pk=other.pk).version == 1


def test_a_reason_is_asked_for_and_what_was_shown_stays(reviewer):
    tried = text(reviewer.post("/policies/new/", typed()))
    answer = reviewer.post("/policies/new/", typed(save="yes", reason=" ", **carried(tried)))
    page = text(answer)
    assert answer.status_code == 422
    assert "Say why" in page
    assert carried(page)["trial"]


def test_a_change_says_which_version_it_makes_and_keeps_what_it_does_not_ask(policy, reviewer):
    change_policy(
        policy,
        {"overrides": {"stale": "off"}},
        expected_version=1,
        actor=MIRA,
        now=timezone.now(),
        reason="Idle is fine",
    )
    address = f"/policies/{policy.pk}/change/"
    assert 'value="off" selected' in text(reviewer.get(address))
    tried = text(reviewer.post(address, typed(rule_stale="off", version="2")))
    assert "Save version 3" in tried
    reviewer.post(address, typed(rule_stale="off", save="yes", reason="Shorter", **carried(tried)))
    policy.refresh_from_db()
    assert (policy.version, policy.max_age, policy.overrides) == (3, timedelta(days=60), {"stale": "off"})


def test_whoever_was_slower_sees_who_changed_what_and_keeps_what_they_typed(policy, reviewer):
    address = f"/policies/{policy.pk}/change/"
    tried = text(reviewer.post(address, typed(version="1")))
    change_policy(
        policy,
        {"max_idle": timedelta(days=20)},
        expected_version=1,
        actor=Actor.system("Ana Duarte"),
        now=timezone.now(),
        reason="Quicker",
    )
    sent = typed(save="yes", reason="Mine", description="Kept words")
    answer = reviewer.post(address, {**sent, **carried(tried)})
    if "numbers differ" in text(answer):
        answer = reviewer.post(address, {**sent, **carried(text(answer))})
    page = text(answer)
    assert answer.status_code == 409
    assert "Ana Duarte changed this policy" in page
    assert "20 days" in page
    assert "Kept words" in page
    assert Policy.objects.get(pk=policy.pk).version == 2
    reviewer.post(address, {**sent, **carried(page)})
    assert Policy.objects.get(pk=policy.pk).version == 3


def test_saving_what_stands_already_says_so(policy, reviewer):
    address = f"/policies/{policy.pk}/change/"
    same = typed(max_age_0="90", version="1")
    tried = text(reviewer.post(address, same))
    answer = reviewer.post(address, {**same, "save": "yes", "reason": "Again", **carried(tried)})
    assert "there is nothing to change" in text(answer)
    assert Policy.objects.get(pk=policy.pk).version == 1


def test_the_editor_alone_is_swapped_where_htmx_asks(reviewer):
    fragment = text(reviewer.post("/policies/new/", typed(), headers=HTMX))
    assert fragment.lstrip().startswith('<form id="policy-editor"')


def test_a_policy_is_retired_with_its_reason_once_its_effect_was_shown(policy, reviewer):
    key(120)
    evaluated()
    address = f"/policies/{policy.pk}/retire/"
    page = text(reviewer.get(address))
    assert "1 credential would fall to other policies" in page
    assert reviewer.post(address, {"version": "1"}).status_code == 422
    assert reviewer.post(address, {"version": "1", "reason": "Replaced"}).status_code == 302
    last = PolicyVersion.objects.of(policy).first()
    assert (last.is_retirement, last.reason, last.dry_run["kind"]) == (True, "Replaced", "retirement")
    assert reviewer.get(f"/policies/{policy.pk}/change/").status_code == 302


def test_an_address_of_no_policy_leads_nowhere(reviewer):
    nobody = UUID(int=7)
    for path in ("", "change/", "retire/"):
        assert reviewer.get(f"/policies/{nobody}/{path}").status_code == 404
