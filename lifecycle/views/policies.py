"""What is asked of credentials, and how the estate answers each rule."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from access.actors import Actor
from access.permissions import requires_reader
from lifecycle.models import Policy, RuleState
from lifecycle.rules import RULES
from lifecycle.views.findings import parts_of


@require_GET
@requires_reader
def policy_list(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    states = {state.rule: state for state in RuleState.objects.all()} if actor.sees_everything else {}
    rules = sorted(RULES.values(), key=lambda rule: (rule.subject, -rule.severity, rule.name))
    return render(
        request,
        "lifecycle/policy_list.html",
        {
            "policies": Policy.objects.in_order().with_names(),
            "rules": [(rule, states.get(rule.slug), parts_of(states.get(rule.slug))) for rule in rules],
            "evaluated_at": max((state.evaluated_at for state in states.values()), default=None),
            "now": timezone.now(),
        },
    )
