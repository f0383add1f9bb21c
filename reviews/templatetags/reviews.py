"""How access reviews are said on pages."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from reviews.recommendations import in_words
from reviews.states import ALLOWED, RUNNING, What
from web.wording import plural, span

register = template.Library()

MARK = "THE-ITEM"

KEYS = {What.KEEP: "1", What.ROTATE: "2 r", What.REVOKE: "3 v", What.REASSIGN: "4 o", What.REDUCE: "5"}
ICONS = {
    What.KEEP: "check",
    What.ROTATE: "operation",
    What.REVOKE: "ended",
    What.REASSIGN: "transfer",
    What.REDUCE: "review",
    What.SUSPEND: "pause",
}


@register.filter
def lasted(length: timedelta | None) -> str:
    """`4 d`; a length of time below a minute in words."""
    return "none" if length is None else span(length) or "under a minute"


@register.filter
def as_sentences(reasons: Iterable[str]) -> list[str]:
    return in_words(reasons)


@register.filter
def what_word(what: str) -> str:
    return What(what).label if what else "None"


@register.filter
def what_icon(what: str) -> str:
    return ICONS[What(what)] if what else "unknown"


@register.filter
def campaign_shape(state: str) -> str:
    """As which status its state is drawn: one under way is at work, and no trouble as an open finding is."""
    return "running" if state in RUNNING else state


@register.filter
def choices_for(kind: str) -> Iterator[tuple[What, str, str]]:
    """What can be decided about it, in the order of the keys: the decision, its keys and the first of them."""
    for what, keys in KEYS.items():
        if what in ALLOWED[kind]:
            yield what, keys, keys[0]


@register.simple_tag
def choices(row: Any) -> SafeString:
    """The buttons of a row's menu. But for the item they are alike for a kind, so they are rendered once for all."""
    return mark_safe(_choices(row.kind).replace(MARK, f"{row.pk}:{row.version}"))  # nosec B308 B703  # noqa: S308


@cache
def _choices(kind: str) -> str:
    return render_to_string("reviews/_choices.html", {"kind": kind, "mark": MARK}).strip()


@register.filter
def differences(changes: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each fact that differs: its name, before and after."""
    return [(name.replace("_", " "), _said(before), _said(after)) for name, (before, after) in sorted(changes.items())]


@register.filter
def fact(value: Any) -> str:
    return _said(value)


def _said(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(sorted(map(str, value)))
    if isinstance(value, list):
        some = ", ".join(str(each) for each in value[:5])
        return f"{some} and {plural(len(value) - 5, 'more,more')}" if len(value) > 5 else some
    return str(value)
