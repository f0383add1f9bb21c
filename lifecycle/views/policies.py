"""What is asked of credentials: policies in order, their versions, and the editor that tries before it saves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from history.changes import Step, steps_of
from history.past import now as clock
from inventory.views.questions import go
from lifecycle.actions.policies import change_policy, create_policy, draft, retire_policy
from lifecycle.errors import (
    HoldsSecret,
    LifecycleError,
    NothingWouldChange,
    PolicyChangedMeanwhile,
    PolicyRefused,
    PolicyRetired,
    ReasonMissing,
)
from lifecycle.models import Finding, Policy, PolicyVersion, Snapshot
from lifecycle.models.breakdowns import by_policy, policy_binds
from lifecycle.models.policies import ASKED, asked_of
from lifecycle.policy_forms import PolicyForm, RetirementForm, WindowForm
from lifecycle.rules import RULES, Subject
from lifecycle.rules.asked import OFF
from lifecycle.tasks import after_decision
from lifecycle.trials import back_test, dry_run, dry_run_of_retirement
from lifecycle.views import policy_words as words
from lifecycle.views import trying
from web.pages import render_page_or_fragment
from web.paging import capped_count
from web.past import answers_past

MOST = 200  # policies on one page; nobody keeps so many in mind
VERSIONS = 30
REFUSED, CONFLICT = 422, 409
# Rules that compare a credential with what its policy asks: their findings are the policy's own.
OWN_RULES = tuple(
    slug for slug, rule in RULES.items() if rule.subject is Subject.CREDENTIAL and "policy" in rule.evidence
)


# ── The list ──────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Row:
    policy: Policy
    bound: int | None  # nobody counted it yet
    findings: int | None
    latest: PolicyVersion | None


@require_GET
@requires_reader
@answers_past
def policy_list(request: HttpRequest) -> HttpResponse:
    """In the order in which they are tried; those that are retired on their own page, newest first."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    is_retired = request.GET.get("retired") == "true"
    chosen = (
        Policy.objects.filter(retired_at__isnull=False).order_by("-retired_at", "id")
        if is_retired
        else Policy.objects.in_order()
    )
    policies = words.named(chosen[: MOST + 1], actor)
    keys = [policy.pk for policy in policies[:MOST]]
    counted = counts(actor)
    latest = {
        version.policy_id: version
        for version in PolicyVersion.objects.filter(policy__in=keys)
        .order_by("policy_id", "-number")
        .distinct("policy_id")
    }
    rows = [_row(policy, counted.of(policy.pk), latest.get(policy.pk)) for policy in policies[:MOST]]
    return render(
        request,
        "lifecycle/policy_list.html",
        {
            "rows": rows,
            "is_cut": len(policies) > MOST,
            "most": MOST,
            "is_retired": is_retired,
            "unbound": (counted.of(None) or NOTHING)["bound"] if not is_retired else 0,
            "counted_at": counted.counted_at,
            "may_change": actor.may(Right.SET_POLICY),
            "sees_everything": actor.sees_everything,
            "now": clock(),
        },
    )


def _row(policy: Policy, of: Mapping[str, Any] | None, latest: PolicyVersion | None) -> Row:
    if of is None:
        return Row(policy, None, None, latest)
    return Row(policy, of["bound"], sum(of["open"].get(slug, 0) for slug in OWN_RULES), latest)


@dataclass(frozen=True)
class Counts:
    """What is counted of policies: now, or of a large estate with the last snapshot, which was at `counted_at`."""

    policies: Mapping[str, Mapping[str, Any]]
    counted_at: datetime | None = None

    def of(self, policy: UUID | None) -> Mapping[str, Any] | None:
        """Nothing of a policy that no snapshot has counted yet."""
        return self.policies.get(str(policy) if policy else "", None if self.counted_at and policy else NOTHING)


NOTHING: Mapping[str, Any] = {"bound": 0, "unknown": {}, "open": {}, "unresolved": {}}


def counts(actor: Actor, policies: Sequence[UUID] | None = None) -> Counts:
    """Of these policies, or of all. Counting walks everything that they bind, so a large estate is not counted here."""
    bound = policy_binds(actor)
    if policies is not None:
        bound = bound.filter(policy__in=policies)
    if actor.sees_everything and capped_count(bound).more:
        snapshot = Snapshot.objects.filter(breakdown__has_key="policies").first()
        if snapshot is not None:
            return Counts(snapshot.breakdown["policies"], snapshot.taken_at)
    findings = Finding.objects.visible_to(actor)
    if policies is not None:
        findings = findings.filter(credential__in=bound.values("credential"))
    return Counts(by_policy(bound, findings))


# ── One policy ────────────────────────────────────────────────────────────────────────────────
@require_GET
@requires_reader
@answers_past
def policy_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = clock()
    policy = get_object_or_404(Policy, pk=pk)
    versions = list(PolicyVersion.objects.of(policy)[: VERSIONS + 1]) if actor.sees_everything else []
    asked = asked_of(policy)
    steps = steps_of(policy, most=VERSIONS) if actor.sees_everything else []
    names = words.Names.of([asked, *(version.asked for version in versions), *map(_asked_then, steps)], actor)
    words.name([policy], names)
    counted = counts(actor, [pk])
    of = counted.of(pk)
    answers = population(policy, of or NOTHING)
    return render(
        request,
        "lifecycle/policy_detail.html",
        {
            "policy": policy,
            "selector": words.selector(asked, names),
            "limits": words.limits(asked),
            "requirements": words.requirements(asked),
            "logged": [names.said("logging", each) for each in policy.logging],
            "overrides": words.overrides(asked),
            "tied": list(Policy.objects.tied_with(policy)[:3]) if policy.retired_at is None else [],
            "bound": of["bound"] if of else 0,
            "is_counted": of is not None,
            "counted_at": counted.counted_at,
            "population": answers,
            "others": other_findings(of or NOTHING, {answer.slug for answer in answers}),
            "past": _past(versions, steps, names),
            "has_earlier": len(versions) > VERSIONS,
            "may_change": actor.may(Right.SET_POLICY) and policy.retired_at is None,
            "sees_everything": actor.sees_everything,
            "now": now,
        },
    )


@dataclass(frozen=True)
class Past:
    """What became of it at one instant: by a version, or without one."""

    at: datetime
    version: PolicyVersion | None
    differences: list[words.Difference]
    is_retirement: bool = False


def _past(versions: Sequence[PolicyVersion], steps: Sequence[Step], names: words.Names) -> list[Past]:
    """Newest first. What a version changed is read from the row as it stood before and after; of the time before its
    past was kept, from the version before.
    """
    made = {step.after["version"]: step for step in steps if step.changed("version")}
    found = [
        Past(
            step.at,
            None,
            words.differences(asked_of(_then(step.before)), _asked_then(step), names),
            step.changed("retired_at") and step.after["retired_at"] is not None,
        )
        for step in steps
        if not step.changed("version")
    ]
    found = [each for each in found if each.differences or each.is_retirement]
    for version, earlier in zip_longest(versions, versions[1:]):
        step = made.get(version.number)
        before = asked_of(_then(step.before)) if step else earlier.asked if earlier else None
        at = step.at if step else version.changed_at
        found.append(Past(at, version, words.differences(before, version.asked, names), version.is_retirement))
    return sorted(found, key=attrgetter("at"), reverse=True)[:VERSIONS]


def _then(values: Mapping[str, Any]) -> Policy:
    """The policy as a version of its row has it."""
    return Policy(**{name: value for name, value in values.items() if name in ASKED and value is not None})


def _asked_then(step: Step) -> dict[str, Any]:
    return asked_of(_then(step.after))


@dataclass(frozen=True)
class Answer:
    """How what a policy binds answers one of its limits."""

    slug: str
    name: str
    met: int
    violated: int
    unknown: int

    @property
    def parts(self) -> list[tuple[str, int, str]]:
        return [("crit", self.violated, "Violated"), ("none", self.unknown, "Unknown"), ("ok", self.met, "Met")]

    @property
    def label(self) -> str:
        return f"{self.name}: {self.violated} violated, {self.unknown} unknown, {self.met} met"


def population(policy: Policy, of: Mapping[str, Any]) -> list[Answer]:
    """Of each limit that the policy sets, how many of those it binds violate it and of how many nobody can tell.

    What is violated are the findings; what is unknown is read off the dates that the rule reads.
    """
    asked = {
        "unrotated": policy.max_age,
        "stale": policy.max_idle,
        "no-expiry": policy.requires_expiry,
        "lifetime-too-long": policy.max_lifetime,
        "review-overdue": policy.review_interval,
    }
    answers = []
    for slug, is_asked in asked.items():
        if is_asked and of["bound"] and slug in RULES and policy.overrides.get(slug) != OFF:
            violated, unknown = of["unresolved"].get(slug, 0), of["unknown"].get(slug, 0)
            met = max(of["bound"] - violated - unknown, 0)
            answers.append(Answer(slug, RULES[slug].name, met, violated, unknown))
    return answers


def other_findings(of: Mapping[str, Any], told: set[str]) -> list[tuple[str, str, int]]:
    """What is found at what it binds by rules other than those `told` of: slug, name and how many, most first."""
    others = sorted(((number, slug) for slug, number in of["unresolved"].items() if slug not in told), reverse=True)
    return [(slug, words.rule_name(slug), number) for number, slug in others]


# ── The editor ────────────────────────────────────────────────────────────────────────────────
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.SET_POLICY)
def policy_create(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.SET_POLICY)
def policy_change(request: HttpRequest, pk: UUID) -> HttpResponse:
    policy = get_object_or_404(Policy, pk=pk)
    if policy.retired_at is not None:
        messages.warning(request, str(PolicyRetired()))
        return go(request, reverse("policy_detail", args=[pk]))
    return _edit(request, policy)


@dataclass
class Editor:
    """The form with what its trial showed, and what is to be said about that."""

    form: PolicyForm
    windows: WindowForm
    policy: Policy | None
    version: int  # that was looked at
    drafted: Policy | None = None
    trial: trying.Trial | None = None
    note: str = ""
    conflict: PolicyVersion | None = None
    conflicting: Sequence[words.Difference] = ()
    failed: str = ""  # why nothing could be tried

    @property
    def next_version(self) -> int:
        return self.version + 1

    @property
    def status(self) -> int:
        return REFUSED if self.form.errors or self.failed else CONFLICT if self.conflict or self.note else 200


def _edit(request: HttpRequest, policy: Policy | None) -> HttpResponse:
    """Fill in, try, save. Each step shows the same page with what was typed; only the last writes."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    is_sent = request.method == "POST"
    editor = Editor(
        form=PolicyForm(request.POST if is_sent else None, policy=policy),
        windows=WindowForm(request.POST if is_sent else None),
        policy=policy,
        version=_version_looked_at(request, policy),
    )
    if is_sent and _draft(editor):
        shown = trying.brought_back(request.POST.get("trial", ""), actor)
        if "save" not in request.POST:
            _try(editor, now)
        elif not editor.form.cleaned_data["reason"].strip():
            editor.form.add_error("reason", str(ReasonMissing()))
            editor.trial = shown
        elif _may_be_saved(editor, shown, now):
            saved = _save(editor, actor, now)
            if saved is not None:
                after_decision()
                messages.success(
                    request, f"Version {saved.version} of {saved.name} is saved. The next evaluation goes by it."
                )
                return go(request, reverse("policy_detail", args=[saved.pk]))
    return _shown(request, editor, actor, now)


def _version_looked_at(request: HttpRequest, policy: Policy | None) -> int:
    newest = policy.version if policy else 0
    try:
        return int(request.POST.get("version", newest))
    except ValueError:
        return newest


def _draft(editor: Editor) -> bool:
    """Make the draft of what was typed; what cannot be asked goes to its fields."""
    form = editor.form
    if not form.is_valid() or not editor.windows.is_valid():
        return False
    try:
        editor.drafted = draft(form.values, of=editor.policy)
    except PolicyRefused as exc:
        form.refuse(exc.problems)
        return False
    return True


def _try(editor: Editor, now: datetime) -> None:
    drafted = editor.drafted
    assert drafted is not None  # noqa: S101  only what could be drafted is tried
    window = editor.windows.cleaned_data["window"]
    try:
        editor.trial = trying.trial(
            trying.digest_of(drafted),
            now,
            lambda: dry_run(drafted, now),
            lambda: back_test(drafted, since=now - window, until=now, now=now),
            window.days,
        )
    except LifecycleError as exc:
        editor.failed = str(exc)


def _may_be_saved(editor: Editor, shown: trying.Trial | None, now: datetime) -> bool:
    """Whether the person has seen what saving does. What they saw and is out of date is tried again."""
    drafted = editor.drafted
    assert drafted is not None  # noqa: S101  only what could be drafted is saved
    if shown is None:
        _try(editor, now)
        editor.note = "Nothing is saved yet: this is what it does. Save again to keep it."
    elif not shown.is_of(trying.digest_of(drafted)):
        _try(editor, now)
        editor.note = "You changed the draft after it was tried, so it was tried again. Save again to keep it."
    elif shown.is_current(now):
        editor.trial = shown
    else:
        _try(editor, now)
        if editor.trial is not None and not shown.says_the_same(editor.trial):
            editor.note = trying.HAS_CHANGED
    return not editor.note and not editor.failed


def _save(editor: Editor, actor: Actor, now: datetime) -> Policy | None:
    form, trial = editor.form, editor.trial
    assert trial is not None  # noqa: S101  nothing is saved untried
    kept = {"dry_run": trial.dry_run, "back_test": trial.back_test}
    how: dict[str, Any] = {"actor": actor, "now": now, "reason": form.cleaned_data["reason"], **kept}
    try:
        if editor.policy is None:
            return create_policy(form.values, **how)
        return change_policy(editor.policy, form.values, expected_version=editor.version, **how)
    except PolicyChangedMeanwhile:
        _explain_conflict(editor, actor)
    except PolicyRefused as exc:
        form.refuse(exc.problems)
    except (ReasonMissing, HoldsSecret) as exc:
        form.add_error("reason", str(exc))
    except (NothingWouldChange, PolicyRetired) as exc:
        form.add_error(None, str(exc))
    return None


def _explain_conflict(editor: Editor, actor: Actor) -> None:
    """Say who changed what meanwhile. Saving again then takes the newest version as looked at."""
    assert editor.policy is not None  # noqa: S101  what does not exist cannot be changed meanwhile
    newest = get_object_or_404(Policy, pk=editor.policy.pk)
    kept = {version.number: version for version in PolicyVersion.objects.of(newest)[:VERSIONS]}
    editor.conflict = kept.get(newest.version)
    before = kept.get(editor.version)
    if editor.conflict is not None and before is not None:
        names = words.Names.of([before.asked, editor.conflict.asked], actor)
        editor.conflicting = words.differences(before.asked, editor.conflict.asked, names)
    editor.version = newest.version


def _shown(request: HttpRequest, editor: Editor, actor: Actor, now: datetime) -> HttpResponse:
    drafted = editor.drafted
    return render_page_or_fragment(
        request,
        "lifecycle/policy_form.html",
        "lifecycle/_policy_editor.html",
        {
            "editor": editor,
            "form": editor.form,
            "policy": editor.policy,
            "trial": editor.trial,
            "token": editor.trial.token(actor) if editor.trial else "",
            "sentence": drafted.sentence if drafted else "",
            "forgone": _forgone(editor),
            "now": now,
        },
        status=editor.status,
    )


def _forgone(editor: Editor) -> list[tuple[str, list[str]]]:
    """Of each policy that the draft takes credentials from: what it asks and the draft does not, as one binds alone."""
    if editor.trial is None or editor.drafted is None:
        return []
    after = asked_of(editor.drafted)
    taken = [each["policy"] for each in editor.trial.dry_run["newly_bound"] if each["policy"]]
    lost = [
        (each.name, words.forgone(asked_of(each), after)) for each in Policy.objects.in_order().filter(pk__in=taken)
    ]
    return [(name, said) for name, said in lost if said]


# ── Its end ───────────────────────────────────────────────────────────────────────────────────
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.SET_POLICY)
def policy_retire(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What falls to which policy when this one ends is shown before anybody says so."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    policy = get_object_or_404(Policy, pk=pk)
    if policy.retired_at is not None:
        messages.warning(request, str(PolicyRetired()))
        return go(request, reverse("policy_detail", args=[pk]))
    form = RetirementForm(request.POST if request.method == "POST" else None)
    version = _version_looked_at(request, policy)
    run, failed = None, ""
    try:
        run = dry_run_of_retirement(policy, now).as_json()
    except LifecycleError as exc:
        failed = str(exc)
    if request.method == "POST" and form.is_valid() and run is not None:
        try:
            retire_policy(
                policy,
                expected_version=version,
                actor=actor,
                now=now,
                reason=form.cleaned_data["reason"],
                dry_run=run,
            )
        except LifecycleError as exc:
            form.add_error(None, str(exc))
            version = get_object_or_404(Policy, pk=pk).version
        else:
            after_decision()
            messages.success(request, f"{policy.name} is retired. The next evaluation binds what it bound anew.")
            return go(request, reverse("policy_list"))
    context = {"policy": policy, "form": form, "run": run, "failed": failed, "version": version, "now": now}
    status = REFUSED if form.errors or (failed and request.method == "POST") else 200
    return render(request, "lifecycle/policy_retire.html", context, status=status)
