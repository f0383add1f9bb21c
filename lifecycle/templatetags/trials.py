"""How a rule is answered, and what a trial showed, live or kept with a version as JSON."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django import template
from django.urls import reverse

from lifecycle.views import rules
from web.pictures import Slot, stacks
from web.wording import plural, thousands

register = template.Library()


@register.filter
def percent(share: float | None) -> str:
    return rules.percent(share)


def _instant(text: object) -> datetime | None:
    """An instant of a trial that was kept as JSON, maybe by another release."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


@register.filter
def iso_day(text: object) -> str:
    """`23 Nov 2026`."""
    at = _instant(text)
    return f"{at.day} {at:%b %Y}" if at else ""


@register.filter
def weeks_of(test: Mapping[str, Any]) -> dict[str, Any]:
    """What a back-test opened week by week, as a picture and in words."""
    weeks = [(date.fromisoformat(week["begins_on"]), int(week["opened"])) for week in test.get("weeks", ())]
    every = max(len(weeks) // 5, 1)
    last = len(weeks) - every // 2  # a word further on would not fit
    slots = [
        Slot(f"{on.day} {on:%b}" if i % every == 0 and i < last else "", [("crit", opened)])
        for i, (on, opened) in enumerate(weeks)
    ]
    picture = stacks(slots, width=420, height=110) if slots else None
    if picture is None:
        return {"picture": None, "label": ""}
    busiest = max(weeks, key=lambda week: week[1])
    label = (
        f"{plural(sum(opened for _, opened in weeks), 'finding')} opened in {plural(len(weeks), 'week')}, "
        f"most of them ({busiest[1]}) in the week from {busiest[0].day} {busiest[0]:%b}."
    )
    return {"picture": picture, "label": label}


@register.filter
def iso_moment(text: object) -> str:
    """`23 Nov 2026 09:14`."""
    at = _instant(text)
    return f"{at.day} {at:%b %Y %H:%M}" if at else ""


@register.filter
def regraded(counts: Mapping[str, Any]) -> int:
    return int(counts.get("raised", 0)) + int(counts.get("lowered", 0))


# What a dry run gives examples of: their heading, the count they are of, and a shape beside each.
EXAMPLES = (
    ("opened", "Would open", "violated"),
    ("closed", "Would close", "met"),
    ("changed", "Would be graded otherwise", "transfer"),
    ("bound", "Would be bound newly", "plus"),
    ("released", "Would be released", "undo"),
)


@register.filter
def example_groups(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The examples of a dry run by what would happen to them, the first group unfolded."""
    numbers = {
        "opened": run.get("opened", 0),
        "closed": run.get("closed", 0),
        "changed": regraded(run),
        "bound": sum(each["credentials"] for each in run.get("newly_bound", ())),
        "released": sum(each["credentials"] for each in run.get("released", ())),
    }
    groups: list[dict[str, Any]] = []
    for name, title, icon in EXAMPLES:
        examples = run.get(f"{name}_examples") or []
        if examples:
            more = max(numbers[name] - len(examples), 0)
            groups.append(
                {
                    "title": f"{title}: {thousands(numbers[name])}",
                    "icon": icon,
                    "examples": examples,
                    "more": more,
                }
            )
    return groups


@register.filter
def example_url(example: Mapping[str, Any]) -> str:
    """Where the subject of an example stands; a kept one may be gone by now, and its page says so."""
    return reverse(f"{example['subject']}_detail", args=[example["id"]])
