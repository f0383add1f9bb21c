"""What people decide to ask of credentials: policies created, changed and retired, rules switched and graded.

A policy's row is its newest version; each change keeps a version of its own with who, why, and what was known
beforehand. A rule's setting is never changed either: a newer one takes its place.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from access.actors import Actor
from access.rights import Right
from audit.actions import action, record
from audit.events import Event
from inventory import tags
from inventory.discovery.prose import holds_secret
from inventory.models import Environment, Owner
from inventory.states import CredentialKind, Logged, ServerRole, Severity, TrustModel
from lifecycle.actions.findings import as_seen, why_of
from lifecycle.errors import (
    HoldsSecret,
    NotAReviewer,
    NothingWouldChange,
    PolicyChangedMeanwhile,
    PolicyRefused,
    PolicyRetired,
    RuleSetMeanwhile,
    RuleUnknown,
    SeverityUnknown,
)
from lifecycle.models import Policy, PolicyVersion, RuleSetting
from lifecycle.models.policies import ASKED, LIMITS, asked_of, names_of
from lifecycle.rules import RULES, Subject
from lifecycle.rules.asked import GRADES, OFF
from lifecycle.rules.asking import NAMELESS
from lifecycle.rules.wording import exact_length
from lifecycle.states import Automation
from web.wording import thousands

LONGEST_NAME, LONGEST_DESCRIPTION = 100, 2_000
LARGEST_PRIORITY = 1_000_000
MOST_VALUES = 100  # of one selector or of the allowed scopes
LONGEST_LIMIT = timedelta(days=3_650)
SHORTEST_REVIEW = timedelta(days=1)  # people review, and not more often than that
OVERRIDABLE = tuple(slug for slug, rule in RULES.items() if rule.subject is Subject.CREDENTIAL)

Values = Mapping[str, Any]
Shown = Mapping[str, Any] | None  # a dry run or a back-test as JSON


# ── Policies ───────────────────────────────────────────────────────────────────────────────────
def draft(values: Values, *, of: Policy | None = None) -> Policy:
    """An unsaved policy with `values` over those of `of`; nothing is written. Raises PolicyRefused.

    `values` are typed and named as in ASKED; what is not given stays, or is as a new policy has it.
    """
    drafted = copy(of) if of is not None else Policy()
    drafted.names = None
    problems = {name: "A policy has nothing of that name." for name in values if name not in ASKED}
    for name, value in values.items():
        if name in problems:
            continue
        try:
            setattr(drafted, name, _cleaners[name](value))
        except _Refused as exc:
            problems[name] = str(exc)
    for name, said in _between_fields(drafted).items():
        problems.setdefault(name, said)
    for name, said in _against_rows(drafted).items():
        problems.setdefault(name, said)
    if problems:
        raise PolicyRefused(problems)
    return drafted


@action
def create_policy(
    values: Values, *, actor: Actor, now: datetime, reason: str, dry_run: Shown = None, back_test: Shown = None
) -> Policy:
    """A new policy, in force from the next evaluation on. Raises NotAReviewer, ReasonMissing, PolicyRefused."""
    reason = _decided(actor, reason)
    policy = draft(values)
    _save(policy, force_insert=True)
    _keep(policy, actor=actor, now=now, reason=reason, dry_run=dry_run, back_test=back_test)
    asked = {name: value for name, value in _said(policy).items() if value not in (None, "", [], {}, False)}
    record(
        Event.POLICY_CREATED,
        actor=actor,
        subject=policy,
        detail={"version": policy.version, "asks": asked, "reason": reason},
    )
    return policy


@action
def change_policy(
    policy: Policy,
    values: Values,
    *,
    expected_version: int,
    actor: Actor,
    now: datetime,
    reason: str,
    dry_run: Shown = None,
    back_test: Shown = None,
) -> Policy:
    """The next version of a policy, in force from the next evaluation on.

    `expected_version` is the one that was looked at: raises PolicyChangedMeanwhile when it is no longer the newest,
    PolicyRetired, NothingWouldChange, and what `create_policy` raises.
    """
    reason = _decided(actor, reason)
    held = _held(policy, expected_version)
    changed = draft(values, of=held)
    before, after = _said(held), _said(changed)
    if asked_of(held) == asked_of(changed):
        raise NothingWouldChange
    changed.version = held.version + 1
    _save(changed, update_fields=[*ASKED, "version"])
    _keep(changed, actor=actor, now=now, reason=reason, dry_run=dry_run, back_test=back_test)
    record(
        Event.POLICY_CHANGED,
        actor=actor,
        subject=changed,
        detail={
            "version": changed.version,
            "changed": {
                name: {"from": before[name], "to": after[name]} for name in ASKED if before[name] != after[name]
            },
            "reason": reason,
        },
    )
    return changed


@action
def retire_policy(
    policy: Policy,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    expected_version: int | None = None,
    dry_run: Shown = None,
) -> Policy:
    """End a policy. What it bound falls to the next that fits at the next evaluation; the row and its versions stay."""
    reason = _decided(actor, reason)
    held = _held(policy, expected_version)
    held.retired_at = now
    held.version += 1
    held.save(update_fields=["retired_at", "version"])
    _keep(held, actor=actor, now=now, reason=reason, dry_run=dry_run, is_retirement=True)
    record(Event.POLICY_RETIRED, actor=actor, subject=held, detail={"version": held.version, "reason": reason})
    return held


def _held(policy: Policy, expected_version: int | None) -> Policy:
    held = Policy.objects.select_for_update(no_key=True).get(pk=policy.pk)
    if held.retired_at is not None:
        raise PolicyRetired
    if expected_version is not None and held.version != expected_version:
        latest = PolicyVersion.objects.of(held).first()
        raise PolicyChangedMeanwhile(by=latest.changed_by if latest else "", at=latest.changed_at if latest else None)
    return held


def _keep(
    policy: Policy,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    dry_run: Shown = None,
    back_test: Shown = None,
    is_retirement: bool = False,
) -> None:
    PolicyVersion(
        policy=policy,
        number=policy.version,
        asked=asked_of(policy),
        sentence=policy.sentence,
        reason=reason,
        changed_by=actor.label[:200],
        changed_at=now,
        is_retirement=is_retirement,
        dry_run=dry_run,
        back_test=back_test,
    ).save(force_insert=True)


def _save(policy: Policy, **how: Any) -> None:
    try:
        with transaction.atomic():
            policy.save(**how)
    except IntegrityError as exc:  # somebody else was faster by a moment
        if "policy_name_is_unique_while_in_force" not in str(exc):
            raise
        raise PolicyRefused({"name": _taken(policy.name)}) from exc


def _said(policy: Policy) -> dict[str, Any]:
    """What the audit entry says: names instead of keys and lengths in words, for those who read it."""
    names = names_of([policy])
    said = asked_of(policy)
    for selector in ("environments", "owners"):
        said[selector] = [names.get(each, NAMELESS) for each in getattr(policy, selector)]
    for limit in LIMITS:
        said[limit] = exact_length(getattr(policy, limit)) if getattr(policy, limit) is not None else None
    return said


# ── Rules ──────────────────────────────────────────────────────────────────────────────────────
@action
def set_rule(
    slug: str, *, is_on: bool, severity: Severity | None, actor: Actor, now: datetime, reason: str
) -> RuleSetting:
    """Switch a rule for the whole estate, or grade it otherwise; without a severity it is graded as declared.

    Raises NotAReviewer, ReasonMissing, RuleUnknown, SeverityUnknown, NothingWouldChange, RuleSetMeanwhile.
    """
    reason = _decided(actor, reason)
    if slug not in RULES:
        raise RuleUnknown
    if severity is not None and (severity not in Severity.values or severity == Severity.NONE):
        raise SeverityUnknown
    if severity == RULES[slug].severity and not RULES[slug].graded:
        severity = None  # what the declaration says anyway; of a graded rule it is the same for every subject
    current = RuleSetting.objects.filter(rule=slug).order_by("-number").first()
    before = (current.is_on, current.severity) if current else (True, None)
    if before == (is_on, severity):
        raise NothingWouldChange
    setting = RuleSetting(
        rule=slug,
        number=current.number + 1 if current else 1,
        is_on=is_on,
        severity=severity,
        reason=reason,
        changed_by=actor.label[:200],
        changed_at=now,
    )
    try:
        with transaction.atomic():
            setting.save(force_insert=True)
    except IntegrityError as exc:
        if "rule_setting_number_is_unique" not in str(exc):
            raise
        raise RuleSetMeanwhile from exc
    record(
        Event.RULE_SET,
        actor=actor,
        subject=setting,
        detail={"rule": slug, "from": _grade(*before), "to": _grade(is_on, severity), "reason": reason},
    )
    return setting


def unset_rule(slug: str, *, actor: Actor, now: datetime, reason: str) -> RuleSetting:
    """Back to what the release declares. Raises what `set_rule` raises."""
    return set_rule(slug, is_on=True, severity=None, actor=actor, now=now, reason=reason)


def _grade(is_on: bool, severity: int | None) -> str:
    if not is_on:
        return OFF
    return "as declared" if severity is None else Severity(severity).name.lower()


# ── What may be asked ──────────────────────────────────────────────────────────────────────────
class _Refused(Exception):
    """One sentence about one value."""


def _decided(actor: Actor, reason: str) -> str:
    if not actor.may(Right.SET_POLICY):
        raise NotAReviewer
    return why_of(reason)


def _text(longest: int, *, is_needed: bool = False) -> Callable[[Any], str]:
    def clean(value: Any) -> str:
        if not isinstance(value, str) or "\0" in value:
            raise _Refused("This is to be text.")
        said = as_seen(value)
        if is_needed and not said:
            raise _Refused("A policy needs a name.")
        if is_needed and not said.isprintable():
            raise _Refused("A name is one line.")
        if holds_secret(said):
            raise _Refused(str(HoldsSecret()))
        if len(said) > longest:
            raise _Refused(f"At most {thousands(longest)} characters; these are {thousands(len(said))}.")
        return said

    return clean


def _priority(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST_PRIORITY:
        raise _Refused(f"A priority is a whole number from 1 to {thousands(LARGEST_PRIORITY)}.")
    return value


def _values(value: Any) -> list[Any]:
    """Each once, in the order given."""
    if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
        raise _Refused("This is to be a list.")
    kept = list(dict.fromkeys(value))
    if len(kept) > MOST_VALUES:
        raise _Refused(f"At most {MOST_VALUES} values; these are {thousands(len(kept))}.")
    return kept


def _known(choices: Any) -> Callable[[Any], list[str]]:
    def clean(value: Any) -> list[str]:
        kept = _values(value)
        unknown = [each for each in kept if each not in choices.values]
        if unknown:
            raise _Refused(f"Nobody knows “{str(unknown[0])[:60]}” here.")
        return [each for each in choices.values if each in kept]

    return clean


def _words(longest: int) -> Callable[[Any], list[str]]:
    def clean(value: Any) -> list[str]:
        kept = _values(value)
        for each in kept:
            if not isinstance(each, str) or not each.strip() or len(each) > longest or not each.isprintable():
                raise _Refused(f"Each is one line of text of at most {longest} characters.")
        return list(dict.fromkeys(each.strip() for each in kept))

    return clean


def _tags(value: Any) -> list[str]:
    kept = _values(value)
    if not all(isinstance(each, str) and tags.is_tag(each) for each in kept):
        raise _Refused(tags.RULE)
    return kept


def _keys(value: Any) -> list[UUID]:
    kept = _values(value)
    if not all(isinstance(each, UUID) for each in kept):
        raise _Refused("Choose from those that are offered.")
    return kept


def _limit(value: Any) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise _Refused("A limit is a length of time above nothing; leave it empty not to ask.")
    if value > LONGEST_LIMIT:
        raise _Refused(f"At most {thousands(LONGEST_LIMIT.days)} days.")
    if value % timedelta(minutes=1):
        raise _Refused("A limit is counted in whole minutes.")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Refused("This is yes or no.")
    return value


def _scopes(value: Any) -> list[str]:
    kept = _words(200)(value)
    for each in kept:
        if any(char.isspace() for char in each):
            raise _Refused(f"“{each[:60]}” has a space in it; a scope has none. Give each on its own.")
        if "*" in each[:-1] or each == "*":
            raise _Refused(
                "A star stands at the end and allows what begins so: `repo:*`. To allow every scope, leave the list "
                "empty."
            )
    return kept


def _automation(value: Any) -> str:
    if value not in Automation.values:
        raise _Refused("Choose one of those that are offered.")
    return str(value)


def _overrides(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _Refused("Rules are overridden one by one.")
    for slug, wanted in value.items():
        if slug not in OVERRIDABLE:
            raise _Refused(f"“{str(slug)[:60]}” is no rule about credentials, which are all that a policy binds.")
        if wanted != OFF and wanted not in GRADES:
            raise _Refused(f"“{RULES[slug].name}” can be off, low, medium, high or critical.")
    return {slug: value[slug] for slug in sorted(value)}


_cleaners: Mapping[str, Callable[[Any], Any]] = {
    "name": _text(LONGEST_NAME, is_needed=True),
    "description": _text(LONGEST_DESCRIPTION),
    "priority": _priority,
    "kinds": _known(CredentialKind),
    "trust_models": _known(TrustModel),
    "environments": _keys,
    "providers": _words(100),
    "owners": _keys,
    "tags": _tags,
    "server_roles": _known(ServerRole),
    **dict.fromkeys(LIMITS, _limit),
    "requires_owner": _flag,
    "requires_expiry": _flag,
    "requires_reference": _flag,
    "allowed_scopes": _scopes,
    "logging": _known(Logged),
    "automation": _automation,
    "overrides": _overrides,
}


def _between_fields(policy: Policy) -> dict[str, str]:
    problems = {}
    if not policy.name:
        problems["name"] = "A policy needs a name."
    if policy.automation != Automation.OFF and policy.max_age is None:
        problems["automation"] = "What rotates by itself needs a maximum age, or nothing ever falls due."
    if policy.overlap and policy.max_age and policy.overlap >= policy.max_age:
        problems["overlap"] = "The overlap is to be shorter than the maximum age, or a rotation never ends."
    if policy.review_interval and policy.review_interval < SHORTEST_REVIEW:
        problems["review_interval"] = "A review is asked once a day at most."
    return problems


def _against_rows(policy: Policy) -> dict[str, str]:
    problems = {}
    namesakes = Policy.objects.in_force().filter(name=policy.name).exclude(pk=policy.pk)
    if policy.name and namesakes.exists():
        problems["name"] = _taken(policy.name)
    for selector, model in (("environments", Environment), ("owners", Owner)):
        chosen = set(getattr(policy, selector))
        if chosen and model.objects.filter(pk__in=chosen).count() != len(chosen):
            problems[selector] = "One that was chosen does not exist any more; choose again."
    return problems


def _taken(name: str) -> str:
    return f"There is a policy called “{name}” in force already."
