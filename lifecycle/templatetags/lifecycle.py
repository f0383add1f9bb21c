"""How a finding stands in a row, and a score in parts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from access.rights import Right
from audit.sentences import OWNED_AS
from history.past import now as clock
from inventory.states import CredentialKind, Verdict
from lifecycle.models import Finding, Operation, Policy, Waiver, reports
from lifecycle.models.readiness import Readiness
from lifecycle.rules import RULES
from lifecycle.rules.score import PARTS
from lifecycle.states import OperationKind, OperationState, Proof, WaiverState
from lifecycle.views import findings, jobs, operations
from web.templatetags.keyreeve import icon

register = template.Library()
WEIGHTIEST = max(part.most for part in PARTS)

WAIVER_STATES: dict[str, tuple[str, str]] = {  # tone, icon
    WaiverState.REQUESTED: ("busy", "review"),
    WaiverState.SCHEDULED: ("off", "overlap"),
    WaiverState.ACTIVE: ("off", "pause"),
    WaiverState.DECLINED: ("bad", "x"),
    WaiverState.WITHDRAWN: ("off", "undo"),
    WaiverState.EXPIRED: ("off", "clock"),
}


@register.simple_tag(takes_context=True)
def title_of(context: template.Context, finding: Finding) -> str:
    """The finding's sentence at the page's instant."""
    return finding.title_now(context.get("now") or clock())


@register.filter
def rule_name(slug: str) -> str:
    """The rule's name; of one that is no longer shipped, its slug."""
    return RULES[slug].name if slug in RULES else slug


@register.simple_tag
def waiver_state(waiver: Waiver) -> SafeString:
    """Its state with a shape and a word."""
    tone, drawing = WAIVER_STATES[waiver.state]
    return format_html('<span class="state {}">{}{}</span>', tone, icon(drawing), waiver.get_state_display())


@register.filter
def sentence_under_its_name(policy: Policy) -> str:
    """What it asks, for a place where its name stands already: whom it binds is said only where the name does not."""
    sentence = policy.sentence
    named, _, asked = sentence.partition(": ")
    return asked[:1].upper() + asked[1:] if asked and named.casefold() == policy.name.casefold() else sentence


@register.filter
def subject_url(finding: Finding) -> str:
    return findings.subject_url(finding.subject)


@register.simple_tag
def points_bar(points: int, most: int) -> SafeString:
    """A part of the score beside its number: the track is as long as the part can weigh."""
    tone = "crit" if points == most else "high" if 2 * points > most else "ink"
    return format_html(
        '<svg class="bar meterbar" viewBox="0 0 120 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="c-track" width="{}" height="8"/><rect class="c-{}" width="{}" height="8"/></svg>',
        round(120 * most / WEIGHTIEST),
        tone,
        round(120 * points / WEIGHTIEST),
    )


@register.simple_tag(takes_context=True)
def next_step(context: template.Context, finding: Finding) -> dict[str, str]:
    """Where a finding is worked off, and the verb for it; who may not do it is led to the subject."""
    return findings.next_step(finding, context["request"].actor)


@register.inclusion_tag("lifecycle/_evaluation_notice.html", takes_context=True)
def evaluation_notice(context: template.Context) -> dict[str, Any]:
    """Says that findings are not kept up to date, where that is so at the page's instant.

    A page that has read the scheduled job for itself gives it as `evaluation`.
    """
    now = context.get("now") or clock()
    job = context["evaluation"] if "evaluation" in context else jobs.the_evaluation()
    return {"still": jobs.evaluation_stands_still(job, now), "now": now, "actor": context["request"].actor}


@register.inclusion_tag("components/hour_strip.html")
def hour_strip(hours: Sequence[Any], name: str) -> dict[str, Any]:
    """A job's last hours side by side; the sentence of the picture counts them."""
    counted = ", ".join(f"{part.label.lower()} in {part.value}" for part in jobs.parts_of(hours))
    cells = [(8 * i, hour) for i, hour in enumerate(hours)]
    return {"cells": cells, "width": 8 * len(cells), "label": f"{name}, the last {len(cells)} hours: {counted}"}


PROOFS = {
    "none": ("off", "todo"),
    "executed": ("busy", "check"),
    "verified": ("good", "met"),
    "unverifiable": ("off", "unknown"),
}


@register.simple_tag
def proof(operation: Operation) -> SafeString:
    """How it is known that the old secret is refused, with a shape and a word."""
    tone, drawing = PROOFS[operation.proof]
    return format_html('<span class="state {}">{}{}</span>', tone, icon(drawing), operation.get_proof_display())


# How a thing in a batch stands: tone, icon.
ITEMS = {
    "to_decide": ("busy", "review"),
    "waiting": ("off", "todo"),
    "open": ("busy", "busy"),
    "stalled": ("bad", "stop"),
    "verified": ("good", "met"),
    "unverifiable": ("off", "unknown"),
    "done": ("good", "check"),
    "ended_otherwise": ("off", "transfer"),
    "asked": ("busy", "clock"),
    "transferred": ("good", "transfer"),
    "skipped": ("off", "na"),
    "cancelled": ("off", "ended"),
}


@register.simple_tag
def item_state(name: str) -> SafeString:
    """How a thing in a batch stands, with a shape and a word."""
    tone, drawing = ITEMS[name]
    return format_html('<span class="state {}">{}{}</span>', tone, icon(drawing), reports.WORDS[name].capitalize())


@register.filter
def owned_as(part: str) -> str:
    """For what somebody answers: `IAM owner`."""
    return OWNED_AS.get(part, part.replace("_", " "))


@register.filter
def kind_name(kind: str) -> str:
    """A kind of credential in words."""
    return str(dict(CredentialKind.choices).get(kind, kind))


@register.simple_tag
def operation_words(kind: str, state: str, number: int) -> str:
    """`rotations, waiting`."""
    return f"{OperationKind(kind).label.lower()}{'' if number == 1 else 's'}, {OperationState(state).label.lower()}"


READY = {  # icon, word; that something is not ready yet is not a violation
    Verdict.MET: ("good", "met", "Ready"),
    Verdict.UNKNOWN: ("off", "unknown", "Not certain"),
    Verdict.VIOLATED: ("", "warn", "Not ready"),
}


@register.simple_tag
def ready(readiness: Readiness) -> SafeString:
    """Whether it can be rotated when it falls due, with a shape and a word."""
    tone, drawing, word = READY[readiness.verdict]
    return format_html('<span class="state {}">{}{}</span>', tone, icon(drawing), word)


@register.simple_tag
def dress(operation: Operation, now: datetime) -> str:
    """Gives a row its progress; shows nothing."""
    operations.dressed(operation, now)
    return ""


BADGES = {"running": ("busy", "busy"), "stalled": ("crit", "stop"), "completed": ("ok", "met")}


@register.simple_tag
def operation_badge(operation: Any) -> SafeString:
    """Where it is, beside the name of its page."""
    tone, drawing = BADGES.get(operation.shown, ("line", "clock" if operation.is_open else "ended"))
    word = operation.word
    if operation.shown == OperationState.COMPLETED and operation.proof == Proof.UNVERIFIABLE:
        tone, drawing, word = "line", "unknown", f"{word}, not verified"
    return format_html('<span class="badge {}">{}{}</span>', tone, icon(drawing), word)


@register.simple_tag(takes_context=True)
def kill_link(context: template.Context, kind: str, key: Any, css: str = "btn quiet") -> SafeString:
    """The way to the kill switch over this, for who may pull it."""
    if not context["request"].actor.may(Right.DECIDE_MANY):
        return SafeString("")
    at = f"{reverse('batch_new')}?kind={kind}&id={key}"
    words = "Look what revoking it reaches" if kind == "credentials" else "Revoke everything behind it…"
    return format_html('<a class="{}" href="{}">{}{}</a>', css, at, icon("stop"), words)
