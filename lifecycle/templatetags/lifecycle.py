"""How a finding stands in a row."""

from typing import Any

from django import template
from django.utils import timezone

from lifecycle.models import Finding
from lifecycle.views import findings

register = template.Library()


@register.simple_tag(takes_context=True)
def title_of(context: template.Context, finding: Finding) -> str:
    """The finding's sentence at the page's instant."""
    return finding.title_now(context.get("now") or timezone.now())


@register.filter
def owner(finding: Finding) -> Any:
    return findings.owner_of(finding)


@register.filter
def subject_url(finding: Finding) -> str:
    return findings.subject_url(finding.subject)


@register.simple_tag(takes_context=True)
def next_step(context: template.Context, finding: Finding) -> dict[str, str]:
    """Where a finding is worked off, and the verb for it; who may not do it is led to the subject."""
    return findings.next_step(finding, context["request"].actor)
