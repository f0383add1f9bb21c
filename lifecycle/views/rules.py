"""The rules: what each asks, how the estate answers it, and who switched or graded it otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from inventory.states import Severity
from inventory.views.questions import go
from lifecycle.actions.policies import set_rule
from lifecycle.errors import LifecycleError, ReasonMissing
from lifecycle.models import Finding, Policy, RuleDay, RuleSetting, RuleState
from lifecycle.models.evaluations import Verdicts, rule_series
from lifecycle.models.findings import mildness
from lifecycle.policy_forms import RuleSettingForm
from lifecycle.rules import RULES, Rule, Subject
from lifecycle.rules.controls import by_framework
from lifecycle.rules.explained import EXPLAINED, Explanation
from lifecycle.states import DUE_WITHIN
from lifecycle.tasks import after_decision
from lifecycle.trials import dry_run_of_setting
from lifecycle.views import trying
from lifecycle.views.findings import listed
from web.pages import render_page_or_fragment
from web.paging import capped_count
from web.pictures import Slot, stacks
from web.wording import day, plural

SUBJECTS = list(Subject)
DAYS = 90  # of a rule's trend
LEAST_COUNTED = 2  # of them, or there is no trend
WORST = 10
OWNERS = 8
COUNTED_UP_TO = 10_000  # findings of a rule; more of them are grouped on their own list


@dataclass(frozen=True)
class Standing:
    """A rule as it counts now: as its declaration says, or as the newest setting wants it."""

    rule: Rule
    setting: RuleSetting | None = None

    @property
    def is_on(self) -> bool:
        return self.setting is None or self.setting.is_on

    @property
    def severity(self) -> Severity:
        graded = self.setting.severity if self.setting else None
        return Severity(graded) if graded else self.rule.severity

    @property
    def is_regraded(self) -> bool:
        return self.is_on and self.setting is not None and self.setting.severity is not None

    @property
    def is_otherwise(self) -> bool:
        return not self.is_on or self.is_regraded


def standings() -> dict[str, Standing]:
    settings = {setting.rule: setting for setting in RuleSetting.objects.current()}
    return {slug: Standing(rule, settings.get(slug)) for slug, rule in RULES.items()}


def standing_of(slug: str) -> Standing:
    """The rule of that address, or 404."""
    return _standing(slug, settings_of(slug, 1))


def _standing(slug: str, settings: Sequence[RuleSetting]) -> Standing:
    """As the first of its settings says, the newest."""
    rule = RULES.get(slug)
    if rule is None:
        raise Http404
    return Standing(rule, settings[0] if settings else None)


@dataclass(frozen=True)
class _Row:
    standing: Standing
    state: RuleState | None

    @property
    def explained(self) -> Explanation:
        return EXPLAINED[self.standing.rule.slug]

    @property
    def parts(self) -> list[tuple[str, int, str]]:
        return parts_of(self.state)

    @property
    def answer(self) -> str:
        return answer_of(self.state, self.standing.rule.subject)


@require_GET
@requires_reader
def rule_list(request: HttpRequest) -> HttpResponse:
    """All of them on one page, by what they are about."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    states = {state.rule: state for state in RuleState.objects.all()} if actor.sees_everything else {}
    shown = sorted(
        standings().values(),
        key=lambda each: (SUBJECTS.index(each.rule.subject), not each.is_on, -each.severity, each.rule.name),
    )
    rows = [_Row(each, states.get(each.rule.slug)) for each in shown]
    groups = [(subject, list(each)) for subject, each in groupby(rows, key=lambda row: row.standing.rule.subject)]
    return render(
        request,
        "lifecycle/rule_list.html",
        {
            "groups": groups,
            "otherwise": sum(1 for each in shown if each.is_otherwise),
            "count": len(shown),
            "sees_everything": actor.sees_everything,
            "evaluated_at": max((state.evaluated_at for state in states.values()), default=None),
            "now": timezone.now(),
        },
    )


@require_GET
@requires_reader
def rule_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """A rule explains itself, with its population as the last full evaluation counted it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    settings = settings_of(slug)
    standing = _standing(slug, settings)
    state = RuleState.objects.filter(rule=slug).first() if actor.sees_everything else None
    now = timezone.now()
    unresolved = Finding.objects.visible_to(actor).unresolved().filter(rule=slug)
    worst = list(listed(actor).unresolved().filter(rule=slug).order_by("rule", mildness(), "id")[:WORST])
    count = capped_count(unresolved, COUNTED_UP_TO)
    return render(
        request,
        "lifecycle/rule_detail.html",
        {
            "standing": standing,
            "rule": standing.rule,
            "explained": EXPLAINED.get(slug),
            "state": state,
            "parts": parts_of(state),
            "answer": answer_of(state, standing.rule.subject),
            "trend": trend(slug, now.date()) if actor.sees_everything else None,
            "due_within": DUE_WITHIN[standing.severity],
            "controls": by_framework(standing.rule.controls),
            "count": count,
            "owners": [] if count.more else owners_of(unresolved),
            "findings": [(finding, finding.title_now(now)) for finding in worst],
            "settings": [(each, setting_in_words(each)) for each in settings] if actor.sees_everything else [],
            "overriding": [
                (policy, policy.overrides[slug]) for policy in Policy.objects.in_order().filter(overrides__has_key=slug)
            ],
            "may_change": actor.may(Right.SET_POLICY),
            "sees_everything": actor.sees_everything,
            "now": now,
        },
    )


def parts_of(state: Verdicts | None) -> list[tuple[str, int, str]]:
    if state is None:
        return []
    return [("crit", state.violated, "Violated"), ("none", state.unknown, "Unknown"), ("ok", state.met, "Met")]


def percent(share: float | None) -> str:
    """`82 %`; what is not all of it is never rounded up to all, and what is something never down to nothing."""
    if share is None:
        return ""
    rounded = round(share * 100)
    if rounded == 100 and share < 1:
        return "99 %"
    return "< 1 %" if rounded == 0 and share > 0 else f"{rounded} %"


def answer_of(state: Verdicts | None, noun: str) -> str:
    """How the estate answers, in one sentence: what is unknown is said and is not met."""
    if state is None or not state.population:
        return ""
    said = f"Seen to be met by {percent(state.met_share)} of {plural(state.population, noun)}"
    if not state.unknown:
        return f"{said}; all of them could be seen."
    return f"{said}; it could see {percent(state.seen_share)} of them, and the rest is not counted as met."


def trend(slug: str, today: date) -> dict[str, Any] | None:
    """The last days as a picture; nothing while fewer than two of them were counted."""
    series = rule_series(slug, DAYS, today=today)
    counted = [(on, row) for on, row in series if row is not None]
    if len(counted) < LEAST_COUNTED:
        return None
    (first_on, first), (last_on, last) = counted[0], counted[-1]
    slots = [Slot(_tick(on), _pieces(row)) for on, row in series]
    now = datetime.combine(today, datetime.min.time())
    label = (
        f"{plural(first.violated, 'violation')} on {day(first_on, now)}, {last.violated} on {day(last_on, now)}; "
        f"unknown {first.unknown}, then {last.unknown}."
    )
    missing = len(series) - len(counted)
    return {"picture": stacks(slots), "label": label, "missing": missing, "days": len(series), "counted": len(counted)}


def _tick(on: date) -> str:
    return f"{on.day} {on:%b}" if on.day in {1, 15} else ""


def _pieces(row: RuleDay | None) -> Sequence[tuple[str, int]]:
    return () if row is None else (("crit", row.violated), ("none", row.unknown))


def owners_of(findings: Any) -> list[tuple[Any, int]]:
    """Who answers for most of them; None for what nobody answers for."""
    rows = findings.order_by().values("owner", "owner__name").annotate(number=Count("pk")).order_by("-number")
    return [({"pk": row["owner"], "name": row["owner__name"]}, row["number"]) for row in rows[:OWNERS]]


def settings_of(slug: str, most: int = 20) -> list[RuleSetting]:
    """Newest first."""
    return list(RuleSetting.objects.filter(rule=slug).order_by("-number")[:most])


def setting_in_words(setting: RuleSetting) -> str:
    if not setting.is_on:
        return "switched it off"
    return f"graded it {str(Severity(setting.severity).label).lower()}" if setting.severity else "set it as declared"


# ── Setting it otherwise ──────────────────────────────────────────────────────────────────────
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.SET_POLICY)
def rule_set(request: HttpRequest, slug: str) -> HttpResponse:
    """Choose, try, save: the same steps as a policy's, for the whole estate."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    standing = standing_of(slug)
    form = RuleSettingForm(
        request.POST if request.method == "POST" else None, rule=standing.rule, setting=standing.setting
    )
    setting = _Setting(standing, form)
    if request.method == "POST" and form.is_valid():
        shown = trying.brought_back(request.POST.get("trial", ""), actor)
        if "save" not in request.POST:
            setting.try_it(now)
        elif not form.cleaned_data["reason"].strip():
            form.add_error("reason", str(ReasonMissing()))
            setting.trial = shown
        elif setting.may_be_saved(shown, now) and setting.save(actor, now):
            after_decision()
            messages.success(request, f"{standing.rule.name} {setting.said}. The next evaluation goes by it.")
            return go(request, reverse("rule_detail", args=[slug]))
    return render_page_or_fragment(
        request,
        "lifecycle/rule_form.html",
        "lifecycle/_rule_editor.html",
        {
            "standing": standing,
            "rule": standing.rule,
            "form": form,
            "setting": setting,
            "trial": setting.trial,
            "token": setting.trial.token(actor) if setting.trial else "",
            "now": now,
        },
        status=setting.status,
    )


@dataclass
class _Setting:
    """What is wanted of a rule, with what its trial showed and what is to be said about that."""

    standing: Standing
    form: RuleSettingForm
    trial: trying.Trial | None = None
    note: str = ""
    failed: str = ""

    @property
    def status(self) -> int:
        return 422 if self.form.errors or self.failed else 409 if self.note else 200

    @property
    def said(self) -> str:
        if not self.form.is_on:
            return "is switched off"
        graded = self.form.severity
        return f"is graded {str(graded.label).lower()}" if graded else "stands as declared"

    def _digest(self) -> str:
        return trying.digest_of_setting(self.standing.rule.slug, is_on=self.form.is_on, severity=self.form.severity)

    def try_it(self, now: datetime) -> None:
        slug, is_on, severity = self.standing.rule.slug, self.form.is_on, self.form.severity
        try:
            self.trial = trying.trial(self._digest(), now, lambda: dry_run_of_setting(slug, is_on, severity, now))
        except LifecycleError as exc:
            self.failed = str(exc)

    def may_be_saved(self, shown: trying.Trial | None, now: datetime) -> bool:
        if shown is not None and shown.is_of(self._digest()) and shown.is_current(now):
            self.trial = shown
            return True
        self.try_it(now)
        if shown is None or not shown.is_of(self._digest()):
            self.note = "Nothing is saved yet: this is what it does. Save again to keep it."
        elif self.trial is not None and not shown.says_the_same(self.trial):
            self.note = trying.HAS_CHANGED
        return not self.note and not self.failed

    def save(self, actor: Actor, now: datetime) -> bool:
        try:
            set_rule(
                self.standing.rule.slug,
                is_on=self.form.is_on,
                severity=self.form.severity,
                actor=actor,
                now=now,
                reason=self.form.cleaned_data["reason"],
            )
        except LifecycleError as exc:
            self.form.add_error(None, str(exc))
            return False
        return True
