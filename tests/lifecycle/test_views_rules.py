"""A rule explains itself, says how much of the estate it could see, and is set otherwise only with a reason."""

from datetime import timedelta

import pytest
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from inventory.states import Severity
from lifecycle.actions.evaluation import evaluate
from lifecycle.actions.policies import create_policy, set_rule
from lifecycle.models import Finding, RuleDay, RuleSetting
from lifecycle.rules import RULES
from lifecycle.rules.controls import TITLES, by_framework
from lifecycle.rules.explained import EXPLAINED
from lifecycle.views.rules import percent
from tests import factories
from tests.lifecycle.test_views_policies import carried, key
from tests.people import browser, owners_browser, text

MIRA = Actor.system("Mira Okafor")


@pytest.mark.parametrize("slug", RULES)
def test_every_rule_explains_when_it_is_violated(slug):
    assert EXPLAINED[slug].violated


@pytest.mark.parametrize("slug", [slug for slug, rule in RULES.items() if rule.unknown != "false"])
def test_every_rule_that_can_be_unknown_says_when(slug):
    assert EXPLAINED[slug].unknown


def test_every_control_has_its_title_and_framework():
    named = {control for rule in RULES.values() for control in rule.controls}
    assert named <= set(TITLES)
    assert [framework for framework, _ in by_framework(("ASI03", "NHI7:2025", "PR.AA-01", "MCP01:2025"))] == [
        "NIST CSF 2.0", "OWASP NHI Top 10", "OWASP MCP Top 10", "OWASP Agentic Top 10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("share", "said"),
    [(None, ""), (0, "0 %"), (0.001, "< 1 %"), (0.416, "42 %"), (0.999, "99 %"), (1.0, "100 %")],
)
def test_a_share_is_never_rounded_to_all_or_nothing(share, said):
    assert percent(share) == said


@pytest.mark.django_db
class TestPages:
    def evaluated(self) -> None:
        evaluate(timezone.now(), actor=Actor.system("test"), full=True)

    def set(self, slug: str, *, is_on: bool = True, severity: Severity | None = None) -> RuleSetting:
        return set_rule(
            slug, is_on=is_on, severity=severity, actor=MIRA, now=timezone.now(), reason="Everybody rotates by hand"
        )

    def test_the_list_says_of_how_much_each_rule_could_tell(self):
        key(10, last_used_at=None)
        key(10)
        self.evaluated()
        page = text(browser(Role.AUDITOR).get("/rules/"))
        assert "Seen to be met by 50 % of 2 credentials; it could see 50 % of them" in page

    def test_a_rule_names_its_controls_and_says_when_nobody_can_tell(self):
        page = text(browser(Role.AUDITOR).get("/rules/unrotated/"))
        assert "Long-Lived Secrets" in page
        assert EXPLAINED["unrotated"].unknown in page

    def test_a_rule_that_is_off_says_so_on_its_page_and_in_the_list(self):
        self.set("stale", is_on=False)
        reader = browser(Role.AUDITOR)
        assert "Switched off for the whole estate" in text(reader.get("/rules/stale/"))
        assert "Everybody rotates by hand" in text(reader.get("/rules/stale/"))
        assert "nothing is judged" in text(reader.get("/rules/"))
        assert "1 of " in text(reader.get("/rules/"))

    def test_a_rule_that_is_graded_says_what_it_was_declared_as(self):
        self.set("stale", severity=Severity.CRITICAL)
        assert "Graded critical instead of medium" in text(browser(Role.AUDITOR).get("/rules/stale/"))

    def test_policies_that_want_it_otherwise_are_named(self):
        values = {"name": "Batch keys", "overrides": {"stale": "off"}}
        policy = create_policy(values, actor=MIRA, now=timezone.now(), reason="They idle by design")
        assert f"/policies/{policy.pk}/" in text(browser(Role.AUDITOR).get("/rules/stale/"))

    def test_days_that_were_counted_are_drawn_and_the_others_are_gaps(self):
        now = timezone.now()
        for days, violated in ((3, 7), (1, 4)):
            on = now - timedelta(days=days)
            RuleDay.objects.create(rule="stale", taken_on=on.date(), counted_at=on, met=1, violated=violated, unknown=2)
        page = text(browser(Role.AUDITOR).get("/rules/stale/"))
        assert "counted on 2 of 90 days" in page
        assert "7 violations on" in page

    def test_one_day_alone_is_no_trend(self):
        assert "Day by day" not in text(browser(Role.AUDITOR).get("/rules/stale/"))

    def test_an_owner_reads_the_rule_and_neither_counts_nor_reasons(self):
        key(200)
        self.evaluated()
        self.set("unrotated", severity=Severity.LOW)
        person, me = owners_browser()
        mine = key(300, owner=me)
        self.evaluated()
        page = text(person.get("/rules/unrotated/"))
        assert mine.name in page
        assert "Everybody rotates by hand" not in page
        assert "Switch or grade" not in page
        assert "of the whole estate, for those who see all of it" in page

    def test_a_rule_is_switched_off_once_its_effect_was_shown(self):
        reviewer = browser(Role.REVIEWER)
        key(400)
        self.evaluated()
        address = "/rules/unrotated/set/"
        assert "graded critical" in text(reviewer.get(address))
        at_once = reviewer.post(address, {"wanted": "off", "reason": "By hand", "save": "yes"})
        assert at_once.status_code == 409
        tried = text(reviewer.post(address, {"wanted": "off"}))
        assert "It would close 1 finding." in tried
        sent = {"wanted": "off", "save": "yes", **carried(tried)}
        assert reviewer.post(address, {**sent, "reason": ""}).status_code == 422
        assert not RuleSetting.objects.exists()
        assert (
            reviewer.post(address, {**sent, "reason": "Everybody rotates by hand"})["Location"] == "/rules/unrotated/"
        )
        self.evaluated()
        assert not Finding.objects.unresolved().filter(rule="unrotated").exists()
        assert "“Everybody rotates by hand”" in text(reviewer.get("/rules/unrotated/"))

    def test_setting_a_rule_as_it_stands_says_so(self):
        reviewer = browser(Role.REVIEWER)
        tried = text(reviewer.post("/rules/stale/set/", {"wanted": "declared"}))
        answer = reviewer.post(
            "/rules/stale/set/", {"wanted": "declared", "save": "yes", "reason": "Again", **carried(tried)}
        )
        assert "there is nothing to change" in text(answer)

    def test_findings_are_counted_by_who_answers_for_them(self):
        mira = factories.owner(name="Mira Okafor")
        key(200, owner=mira)
        key(300)
        self.evaluated()
        page = text(browser(Role.AUDITOR).get("/rules/unrotated/"))
        assert f"rule=unrotated&amp;owner={mira.pk}" in page

    def test_an_address_of_no_rule_leads_nowhere(self):
        assert browser(Role.REVIEWER).get("/rules/no-such/set/").status_code == 404
