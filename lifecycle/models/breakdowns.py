"""Counts that walk the whole estate: what the overview draws, as plain data that a snapshot can keep.

A small estate is counted when somebody looks; of a large one the last snapshot is shown, because these cost seconds.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import TruncDate

from access.actors import Actor
from inventory.models import Credential
from inventory.states import ENDED
from lifecycle.models.findings import Finding, FindingQuerySet
from lifecycle.models.policies import Obligation
from lifecycle.models.waivers import Waiver
from lifecycle.states import COUNTED

DAYS_AHEAD = 14
AGES = (timedelta(days=1), timedelta(days=7), timedelta(days=30))  # edges between the ages of findings


def age_spans(now: datetime) -> list[tuple[datetime | None, datetime | None]]:
    """When findings of each age were opened: after the first, up to the second; None is open."""
    edges = [now - age for age in AGES]
    return list(zip([*edges, None], [None, *edges], strict=True))


def findings_by_age(actor: Actor, now: datetime) -> dict[str, list[list[int]]]:
    """Severity → for each age, how many findings are open and how many of them past due."""
    counted: dict[str, Count] = {}
    for i, (start, end) in enumerate(age_spans(now)):
        within = Q(opened_at__gt=start) if start else Q()
        within &= Q(opened_at__lte=end) if end else Q()
        counted[f"count{i}"] = Count("pk", filter=within)
        counted[f"late{i}"] = Count("pk", filter=within & Q(due_at__lt=now))
    grouped = Finding.objects.visible_to(actor).open().order_by().values("severity").annotate(**counted)
    rows: list[dict[str, Any]] = [dict(row) for row in grouped]
    ages = range(len(AGES) + 1)
    return {str(row["severity"]): [[row[f"count{i}"], row[f"late{i}"]] for i in ages] for row in rows}


def due_by_day(actor: Actor, now: datetime) -> dict[str, dict[str, int]]:
    """Day (ISO) → how many rotations and expiries fall due and waivers end on it."""
    last = now + timedelta(days=DAYS_AHEAD)
    visible = Credential.objects.visible_to(actor).live()
    obligations = Obligation.objects.filter(rotate_by__gte=now, rotate_by__lt=last)
    if not actor.sees_everything:
        obligations = obligations.filter(credential__in=visible.values("pk"))
    sources: list[tuple[str, QuerySet[Any], str]] = [
        ("rotation", obligations, "rotate_by"),
        ("expiry", visible.filter(expires_at__gte=now, expires_at__lt=last), "expires_at"),
        ("waiver", Waiver.objects.visible_to(actor).active().filter(ends_at__gte=now, ends_at__lt=last), "ends_at"),
    ]
    first, *others = (
        queryset.order_by()
        .annotate(on=TruncDate(field), due=Value(kind))
        .values("on", "due")
        .annotate(count=Count("pk"))
        .values_list("due", "on", "count")
        for kind, queryset, field in sources
    )
    days: dict[str, dict[str, int]] = {}
    for kind, on, count in first.union(*others, all=True):
        days.setdefault(on.isoformat(), {})[kind] = count
    return days


def rotation_by_kind(actor: Actor, now: datetime) -> list[dict[str, Any]]:
    """Per kind with a limit: how many, how many past it, and how many of unknown age that may be."""
    bound = Obligation.objects.filter(rotate_by__isnull=False).exclude(credential__status__in=ENDED)
    bound = bound.filter(credential__gone_at=None)
    if not actor.sees_everything:
        bound = bound.filter(credential__in=Credential.objects.visible_to(actor).values("pk"))
    rows = (
        bound.order_by()
        .values(kind=F("credential__kind"))
        .annotate(
            total=Count("pk"),
            late=Count("pk", filter=Q(rotate_by__lt=now)),
            unknown=Count("pk", filter=Q(rotate_by__gte=now, credential__issued_at=None)),
        )
        .order_by("-late", "-total")
    )
    return [dict(row) for row in rows]


def policy_binds(actor: Actor) -> QuerySet[Obligation]:
    """Obligations of what the actor may see. Whoever sees everything needs no join to count them."""
    if actor.sees_everything:
        return Obligation.objects.all()
    return Obligation.objects.filter(credential__in=Credential.objects.visible_to(actor).values("pk"))


# Of each limit that a policy may set: the rule that holds a credential against it, and when nobody can tell.
LIMITS_UNKNOWN = {
    "unrotated": Q(credential__issued_at=None),
    "stale": Q(credential__last_used_at=None),
    "no-expiry": Q(credential__expires_at=None),
    "lifetime-too-long": Q(credential__expires_at=None) | Q(credential__issued_at=None),
    "review-overdue": Q(credential__reviewed_at=None),
}


def by_policy(bound: QuerySet[Obligation], findings: FindingQuerySet) -> dict[str, dict[str, Any]]:
    """Policy (none: "") → how many it binds, and by rule how many are open, unresolved, and unknown among them.

    Two passes for all policies together. Unknown are those of limits alone, whether or not the policy sets them.
    """
    found = Finding.objects.unresolved().filter(credential=OuterRef("credential"))
    unknown = {
        slug: Count("pk", filter=condition & ~Q(Exists(found.filter(rule=slug))))
        for slug, condition in LIMITS_UNKNOWN.items()
    }
    policies: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = [
        dict(row) for row in bound.order_by().values("policy").annotate(number=Count("pk"), **unknown)
    ]
    for row in rows:
        policies[_key(row["policy"])] = {
            "bound": row["number"],
            "unknown": {slug: row[slug] for slug in LIMITS_UNKNOWN},
            "open": {},
            "unresolved": {},
        }
    violated = (
        findings.unresolved()
        .filter(credential__isnull=False)
        .order_by()
        .annotate(policy=Subquery(bound.order_by().filter(credential=OuterRef("credential")).values("policy")[:1]))
        .values("policy", "rule")
        .annotate(number=Count("pk"), counted=Count("pk", filter=Q(state__in=COUNTED)))
    )
    for row_of_rule in violated:
        if of := policies.get(_key(row_of_rule["policy"])):
            of["unresolved"][row_of_rule["rule"]] = row_of_rule["number"]
            of["open"][row_of_rule["rule"]] = row_of_rule["counted"]
    return policies


def _key(policy: UUID | None) -> str:
    return str(policy) if policy else ""


def breakdown(actor: Actor, now: datetime) -> dict[str, Any]:
    """All of it, as JSON can hold it."""
    return {
        "findings_by_age": findings_by_age(actor, now),
        "due_by_day": due_by_day(actor, now),
        "rotation_by_kind": rotation_by_kind(actor, now),
    }
