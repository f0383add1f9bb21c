"""Audit entries on pages: their words, and a link to what they are about."""

from datetime import datetime
from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from audit import sentences
from audit.models import AuditEntry
from web.templatetags.keyreeve import ago as in_a_sentence
from web.templatetags.keyreeve import since

register = template.Library()
LONGEST_NAME = 40


@register.filter
def event_title(event: str) -> str:
    return sentences.title(event)


@register.filter
def detail_line(detail: Any, event: str = "") -> str:
    return sentences.detail_line(detail, event) if isinstance(detail, dict) else ""


@register.filter
def subject_noun(kind: str) -> str:
    return sentences.noun(kind)


@register.simple_tag
def subject_link(entry: AuditEntry) -> SafeString | str:
    """What the entry is about, as a link where a page shows such things."""
    label = entry.subject_label
    shown = label if len(label) <= LONGEST_NAME else f"{label[: LONGEST_NAME - 1]}…"
    name = sentences.PAGES.get(entry.subject_kind)
    if not name or not entry.subject_id:
        return shown
    try:
        url = reverse(name, args=[entry.subject_id])
    except NoReverseMatch:
        return shown
    return format_html('<a href="{}"{}>{}</a>', url, format_html(' title="{}"', label) if shown != label else "", shown)


@register.simple_tag(takes_context=True)
def ago(context: template.Context, at: datetime | None) -> SafeString:
    """A time within a sentence, of what may never have been: `4 min ago`, `just now`, `never`."""
    return since(context, at) if at is None else in_a_sentence(context, at)
