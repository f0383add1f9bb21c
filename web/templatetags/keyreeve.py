"""What every page is made of. Shapes and words first: no tag says anything by colour alone.

Tags that stand in every row of a list build their few elements with `markup`; pictures and larger parts
have templates under `components/`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.safestring import SafeString, mark_safe

from history.past import PARAMETER
from history.past import now as clock
from web import pictures, wording
from web.markup import escaped, joined, markup

register = template.Library()

NOTHING = mark_safe("")


def _now(context: template.Context) -> datetime:
    """The page's instant, so that everything on it agrees; an `as of` page sets it to a past one."""
    now = context.get("now")
    return now if isinstance(now, datetime) else clock()


# ── Icons ──────────────────────────────────────────────────────────────────────────────────────


@register.simple_tag
@lru_cache  # the address of the sprite is fixed for the life of a process
def icon(name: str) -> SafeString:
    """A drawing of `static/icons.svg`; it is decoration, the word stands beside it."""
    return markup(
        '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><use href="{}#i-{}"/></svg>',
        static("icons.svg"),
        name,
    )


# ── Severity, state, verdict ───────────────────────────────────────────────────────────────────

SEVERITIES: dict[object, tuple[str, str, int]] = {  # class, word, notches
    4: ("crit", "Critical", 4),
    3: ("high", "High", 3),
    2: ("med", "Medium", 2),
    1: ("low", "Low", 1),
    0: ("info", "None", 0),
    "info": ("info", "Info", 0),
}


def _notches(count: int) -> SafeString:
    bars = "".join(
        f'<rect class="{"on" if i < count else "off"}" x="{1 + 3.6 * i:.1f}" y="2" width="2" height="12" rx="1"/>'
        for i in range(4)
    )
    stroke = '<path d="M0 12.5 15.5 3.5" stroke="currentColor" stroke-width="1.8" stroke-linecap="round"/>'
    gate = stroke if count == 4 else ""
    return mark_safe(  # nosec B703  # noqa: S308 - drawn above from numbers of ours
        f'<svg viewBox="0 0 16 16" fill="currentColor" aria-hidden="true">{bars}{gate}</svg>'
    )


TALLIES = {count: _notches(count) for count in range(5)}


def _severity(level: Any) -> tuple[str, str, int]:
    if level in SEVERITIES:
        return SEVERITIES[level]
    for known in SEVERITIES.values():
        if str(level).lower() in {known[0], known[1].lower()}:
            return known
    raise ValueError(f"{level!r} is no severity")


@register.simple_tag
def severity(level: Any, form: str = "") -> SafeString:
    """The tally and the word. `form`: `badge`, or `tally` where the word is for screen readers only."""
    css, word, notches = _severity(level)
    shown = markup('<span class="vh">{}</span>', word) if form == "tally" else word
    return markup(
        '<span class="{}sev {}">{}{}</span>', "badge " if form == "badge" else "", css, TALLIES[notches], shown
    )


@register.simple_tag
def severities(counts: Mapping[Any, int] | None) -> SafeString:
    """How many of each, worst first: `{4: 1, 3: 2}`."""
    found = sorted(((_severity(level), count) for level, count in (counts or {}).items()), key=lambda it: -it[0][2])
    parts = [(css, TALLIES[notches], count, word.lower()) for (css, word, notches), count in found if count]
    if not parts:
        return mark_safe('<span class="vh">none</span>')
    return markup(
        '<span class="sev-counts">{}</span>',
        joined('<span class="sev {}">{}{}<span class="vh"> {}</span></span>', parts),
    )


STATES: dict[str, tuple[str, str]] = {  # tone, icon; the word is the value itself, in sentence case
    # credentials and versions
    "active": ("good", "active"),
    "rotating": ("busy", "busy"),
    "overlap": ("busy", "overlap"),
    "suspended": ("off", "pause"),
    "destroyed": ("off", "ended"),
    "expired": ("off", "clock"),
    "unknown": ("off", "unknown"),
    # operations and syncs
    "proposed": ("off", "todo"),
    "pending": ("off", "todo"),
    "running": ("busy", "busy"),
    "waiting": ("busy", "clock"),
    "stalled": ("bad", "stop"),
    "completed": ("good", "met"),
    "complete": ("good", "met"),
    "partial": ("bad", "warn"),
    "failed": ("bad", "stop"),
    "cancelled": ("off", "ended"),
    "superseded": ("off", "transfer"),
    # batches
    "requested": ("busy", "review"),
    "deciding": ("busy", "review"),
    "halted": ("bad", "pause"),
    "declined": ("off", "x"),
    # findings, waivers and exposures
    "open": ("bad", "flag"),
    "waived": ("off", "pause"),
    "resolved": ("good", "met"),
    "present": ("bad", "stop"),
    "gone": ("off", "met"),
    # notices
    "delivered": ("good", "met"),
    "given_up": ("bad", "stop"),
    "dropped": ("off", "ended"),
    # campaigns and evidence packs
    "signed": ("good", "met"),
    "building": ("busy", "busy"),
    "ready": ("good", "met"),
    # clients
    "quarantined": ("bad", "lock"),
    "admitted": ("good", "met"),
    "removed": ("off", "ended"),
}


@register.simple_tag
def state(status: Any, word: str = "") -> SafeString:
    """A status as shape and word; `word` says more than the status does, such as `Rotating 3/8`."""
    value = str(getattr(status, "value", status) or "unknown")
    tone, drawing = STATES.get(value, ("off", "todo"))
    said = word or value.replace("_", " ").capitalize()
    return markup('<span class="state {}">{}{}</span>', tone, icon(drawing), said)


VERDICTS = {
    "met": ("met", "met", "Met"),
    "violated": ("violated", "violated", "Violated"),
    "unknown": ("unknown", "unknown", "Unknown"),
    "not_applicable": ("na", "na", "Not applicable"),
}


@register.simple_tag
def verdict(value: Any) -> SafeString:
    """What a rule or check says. Anything but a known verdict is unknown, never met."""
    css, drawing, word = VERDICTS.get(str(getattr(value, "value", value)), VERDICTS["unknown"])
    return markup('<span class="state verdict {}">{}{}</span>', css, icon(drawing), word)


# ── People and hints ───────────────────────────────────────────────────────────────────────────


@register.filter
def initials(name: Any) -> str:
    return wording.initials(str(name))


@register.simple_tag
def who(owner: Any, nobody: str = "No owner") -> SafeString:
    """A person (round), a team (square), or nobody (dashed). Takes anything with `.name` and `.kind`."""
    if not owner:
        return markup(
            '<span class="who"><span class="avatar none" aria-hidden="true">?</span>'
            '<span class="t-crit">{}</span></span>',
            nobody,
        )
    shape = "avatar team" if str(getattr(owner, "kind", "")) == "team" else "avatar"
    gone = NOTHING if getattr(owner, "is_active", True) else mark_safe('<span class="t-crit">inactive</span>')
    return markup(
        '<span class="who"><span class="{}" aria-hidden="true">{}</span>{}{}{}</span>',
        shape,
        wording.initials(owner.name),
        owner.name,
        " " if gone else "",
        gone,
    )


@register.simple_tag
def hint(text: str | None) -> SafeString:
    """The public part of a secret: prefix and last four. Nothing when there is none."""
    return markup('<code class="hint">{}</code>', text) if text else NOTHING


# ── Time ───────────────────────────────────────────────────────────────────────────────────────


def _time(at: date, words: str, css: str = "") -> SafeString:
    title = wording.instant(at.astimezone(UTC)) if isinstance(at, datetime) else at.isoformat()
    machine = at.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(at, datetime) else at.isoformat()
    extra = markup(' class="{}"', css) if css else NOTHING
    return markup('<time datetime="{}" title="{}"{}>{}</time>', machine, title, extra, words)


def _word(text: str) -> SafeString:
    return markup('<span class="faint">{}</span>', text)


@register.simple_tag(takes_context=True)
def since(context: template.Context, at: datetime | None, otherwise: str = "never") -> SafeString:
    """How long ago, with the full instant behind it: `3 h`. `otherwise` is the word when there is no time."""
    return _time(at, wording.since(at, _now(context))) if at else _word(otherwise)


@register.simple_tag(takes_context=True)
def ago(context: template.Context, at: datetime) -> SafeString:
    """The same in a sentence: `3 h ago`, `just now`."""
    words = wording.since(at, _now(context))
    return _time(at, "just now" if words == "now" else f"{words} ago")


@register.simple_tag(takes_context=True)
def due(context: template.Context, at: datetime | None, otherwise: str = "") -> SafeString:
    """`in 4 d`, `41 d late`: orange when soon, red when late."""
    if not at:
        return _word(otherwise) if otherwise else NOTHING
    words, tone = wording.due(at, _now(context))
    return _time(at, words, tone_class(tone))


@register.simple_tag(takes_context=True)
def day(context: template.Context, at: date | None, otherwise: str = "never") -> SafeString:
    """An absolute day, as records say it: `23 Nov`, `4 May 2027`."""
    return _time(at, wording.day(at, _now(context))) if at else _word(otherwise)


@register.simple_tag(takes_context=True)
def moment(context: template.Context, at: datetime | None, otherwise: str = "never") -> SafeString:
    """An absolute instant to the minute: `23 Nov 09:14`."""
    if not at:
        return _word(otherwise)
    utc = at.astimezone(UTC)
    return _time(at, f"{wording.day(utc, _now(context))} {utc:%H:%M}")


UNKNOWN_AGE = mark_safe(
    '<span class="age"><span class="n faint">unknown</span><svg viewBox="0 0 64 12" aria-hidden="true">'
    '<rect class="c-none" x="0.5" y="4" width="63" height="4" rx="1"/></svg></span>'
)


def _days(length: timedelta | int | None) -> int | None:
    return length.days if isinstance(length, timedelta) else length


@register.simple_tag(takes_context=True)
def age(
    context: template.Context,
    issued: datetime | None,
    limit: timedelta | int | None = None,
    first_seen: datetime | None = None,
) -> SafeString:
    """Days since `issued`, and a bar against the limit when there is one.

    When only `first_seen` is known it is at least that old; when nothing is, the bar is drawn open.
    """
    start = issued or first_seen
    most = _days(limit or None)  # a template gives nothing as an empty text
    if start is None:
        return UNKNOWN_AGE
    days = max((_now(context) - start).days, 0)
    number = f"{wording.thousands(days)} d"
    if issued is None:
        number = markup('<span aria-hidden="true">≥ </span><span class="vh">at least </span>{}', number)
    if most is None:
        return markup('<span class="age"><span class="n">{}</span></span>', number)
    bar = pictures.age_bar(days, most)
    beyond = (
        markup('<rect class="c-crit" x="42.7" y="2" width="{}" height="8" rx="1"/>', bar.beyond)
        if bar.beyond
        else NOTHING
    )
    return markup(
        '<span class="age"><span class="n{}">{}</span><svg viewBox="0 0 64 12" aria-hidden="true">'
        '<rect class="{}" x="0.5" y="4" width="63" height="4" rx="1"/>'
        '<rect class="{}" y="4" width="{}" height="4" rx="1"/>{}'
        '<path class="s-limit" d="M42.7 1v10"/></svg><span class="vh">of {} allowed</span></span>',
        f" {tone_class(bar.tone)}" if bar.tone else "",
        number,
        "c-track" if issued else "c-none",
        "c-high" if bar.tone == "high" else "c-ink",
        bar.within,
        beyond,
        wording.plural(most, "day"),
    )


# ── Pictures ───────────────────────────────────────────────────────────────────────────────────


@register.inclusion_tag("components/spark.html")
def spark(points: Iterable[float | None], label: str) -> dict[str, Any]:
    """A direction, beside the number that it belongs to. None is a day of which nothing was recorded: a gap."""
    lines = pictures.spark(list(points)) or pictures.spark([0])
    # A day alone between two gaps is a line of no length, which round ends make a dot.
    drawn = ["M" + "L".join(f"{x} {y}" for x, y in (line if len(line) > 1 else line * 2)) for line in lines]
    areas = [f"{path}L{line[-1][0]} 28L{line[0][0]} 28z" for path, line in zip(drawn, lines, strict=True)]
    return {"line": "".join(drawn), "area": "".join(areas), "end": lines[-1][-1], "label": label}


@register.inclusion_tag("components/meterbar.html")
def meterbar(share: float, target: float = 1.0) -> dict[str, Any]:
    """A share between 0 and 1 with a tick at its target. It stands beside the number that says the same."""
    return {"width": round(120 * min(max(share, 0), 1), 1), "tick": round(120 * target, 1), "is_met": share >= target}


def _parts(parts: Iterable[pictures.Part | Sequence[Any]]) -> list[pictures.Part]:
    return [part if isinstance(part, pictures.Part) else pictures.Part(*part) for part in parts]


@register.inclusion_tag("components/parts_bar.html")
def parts_bar(parts: Iterable[pictures.Part | Sequence[Any]], label: str) -> dict[str, Any]:
    """Parts of a whole, each `(tone, value, word)`; `{% legend parts %}` gives the same in numbers."""
    return {"segments": pictures.segments(_parts(parts)), "label": label}


@register.inclusion_tag("components/legend.html")
def legend(parts: Iterable[pictures.Part | Sequence[Any]]) -> dict[str, Any]:
    return {"parts": _parts(parts)}


@register.inclusion_tag("components/heat.html")
def heat(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], caption: str) -> dict[str, Any]:
    """Counts by severity and age: rows are `{"severity": 4, "cells": [{"count", "url", "is_late"}, …]}`."""
    most = max((cell["count"] for row in rows for cell in row["cells"]), default=0) or 1
    drawn = [
        {
            "severity": row["severity"],
            "css": _severity(row["severity"])[0],
            "cells": [{**cell, "step": min(int(cell["count"] / most * 3) + 1, 3)} for cell in row["cells"]],
            "total": sum(cell["count"] for cell in row["cells"]),
        }
        for row in rows
    ]
    return {"rows": drawn, "columns": columns, "caption": caption}


@register.inclusion_tag("components/duelist.html")
def duelist(days: Sequence[Mapping[str, Any]], today: date) -> dict[str, Any]:
    """The coming days as tallies: `{"on": date, "url": str, "counts": {"rotation": 3, "expiry": 1, …}}` each."""
    drawn = []
    for each in days:
        counts, on = each["counts"], each["on"]
        words = [wording.plural(counts[kind], said) for kind, said in pictures.TALLY_KINDS.items() if counts.get(kind)]
        drawn.append(
            {
                "url": each["url"],
                "name": "Today" if on == today else f"{on:%a}",
                "number": f"{on.day} {on:%b}" if on.day == 1 else str(on.day),
                "is_today": on == today,
                "is_rest": on.weekday() >= 5,
                "marks": list(pictures.tally(counts)),
                "words": ", ".join(words),
            }
        )
    return {"days": drawn, "is_low": all(len(day["marks"]) <= pictures.TALLY_ROW for day in drawn)}


@register.inclusion_tag("components/lives.html")
def version_lives(versions: Sequence[pictures.Life], limit: timedelta | None, now: datetime) -> dict[str, Any]:
    """Each version as a bar in time, against the limit of the current one. Draws nothing where there is no history."""
    drawn = pictures.lives(versions, limit or None, now)  # empty text where no obligation is known yet
    if drawn is None:
        return {"lives": None}
    current = next((bar for bar in drawn.bars if bar.life.is_current), None)
    said = [wording.plural(len(drawn.bars), "version")]
    if current:
        known = "issued" if current.life.is_start_known else "seen since"
        said.append(f"the current one {known} {wording.day(current.life.start, now)}")
        if current.days_over and limit:
            said.append(f"{current.days_over} days over its limit of {limit.days}")
    limit_on = wording.day(current.life.start + limit, now) if current and limit else ""
    return {"lives": drawn, "label": ", ".join(said) + ".", "limit": limit, "limit_on": limit_on}


@register.inclusion_tag("components/stacks.html")
def stacked(picture: pictures.Stacks, label: str, region: str, is_snug: bool = False) -> dict[str, Any]:
    """Columns in time. `label` says what they show; snug where the room is small, else it may scroll."""
    return {"picture": picture, "label": label, "region": region, "is_snug": is_snug}


# ── Words ──────────────────────────────────────────────────────────────────────────────────────


@register.filter
def thousands(number: int | float | None) -> str:
    return "" if number is None else wording.thousands(number)


@register.filter
def capped(count: Any) -> str:
    """`10 000+` for a count that stopped there; plain numbers pass."""
    return wording.thousands(count) if isinstance(count, int) else str(count)


@register.filter
def plural(count: Any, words: str) -> str:
    return wording.plural(count, words)


@register.filter
def placed(name: str) -> str:
    """`place / own name` in two parts, so that a narrow cell cuts the place and keeps what tells rows apart."""
    place, slash, own = name.rpartition(" / ")
    if not place:
        return name
    return markup('<span class="placed"><span>{}</span><span>{}</span></span>', place, f"{slash}{own}")


@register.filter
def short_path(path: str, parts: int = 3) -> str:
    """The last parts of a path; say the whole of it in a title."""
    return wording.short_path(path, parts)


@register.filter
def breakable(name: str) -> SafeString:
    """A name of ours that may break after its dots and underscores: `credential.dates_recorded`."""
    return joined("{}<wbr>", ((part,) for part in re.split(r"(?<=[._])", name)))


@register.filter
def tone_class(tone: str) -> str:
    """The class that colours text: only trouble has one."""
    return f"t-{tone}" if tone in {"crit", "high", "med"} else ""


# ── Forms ──────────────────────────────────────────────────────────────────────────────────────


@register.inclusion_tag("components/form_faults.html")
def form_faults(form: Any) -> dict[str, Any]:
    """Above a form that was refused: how many fields need somebody, with links to them. Nothing otherwise."""
    return {"general": list(form.non_field_errors()), "fields": [bound for bound in form if bound.errors]}


@register.inclusion_tag("components/field.html")
def field(bound: Any, label: str = "") -> dict[str, Any]:
    """Label above, error below, help last. A placeholder that only repeats the label is dropped."""
    if bound.field.widget.attrs.get("placeholder") == bound.label:
        del bound.field.widget.attrs["placeholder"]
    return {"field": bound, "label": label or bound.label}


# ── Lists ──────────────────────────────────────────────────────────────────────────────────────

CELLS = "_cells"


class CellNode(template.Node):
    def __init__(self, key: str, nodelist: template.NodeList) -> None:
        self.key = key
        self.nodelist = nodelist

    def render(self, context: template.Context) -> SafeString:
        cells = context[CELLS]
        if self.key in cells:
            cells[self.key] = self.nodelist.render(context)
        return NOTHING


@register.tag("cell")
def cell(parser: template.base.Parser, token: template.base.Token) -> CellNode:
    """`{% cell "owner" %}…{% endcell %}` in a row template: what stands in that column, if it is shown."""
    bits = token.split_contents()
    if len(bits) != 2 or bits[1][0] not in "\"'":
        raise template.TemplateSyntaxError('cell takes the key of a column: {% cell "owner" %}')
    nodelist = parser.parse(("endcell",))
    parser.delete_first_token()
    return CellNode(bits[1].strip("\"'"), nodelist)


@register.simple_tag(takes_context=True)
def row_cells(context: template.Context, row: Any) -> SafeString:
    """The cells of one row, in the order of the list's columns; none is ever missing from one row alone."""
    listing = context["list"]
    cells: dict[str, Any] = dict.fromkeys((column.key for column in listing.columns), None)
    if listing.page.row_template and context.template is not None:
        with context.push(row=row, **{CELLS: cells}):
            context.template.engine.get_template(listing.page.row_template).render(context)
    parts: list[str] = []
    for column, opening, closing in listing.cells:
        content = cells[column.key]
        if content is None and column is listing.columns[0]:
            content = _name(_text(column.value(row)) if column.value else row, row)
        elif content is None:
            content = _text(column.value(row)) if column.value else ""
        parts += (opening, escaped(content), closing)
    return SafeString("".join(parts))  # nosec B703  # escaped above


def _text(value: Any) -> Any:
    return "" if value is None else value


def _name(name: Any, row: Any) -> SafeString:
    if not hasattr(row, "get_absolute_url"):
        return markup('<span class="name cut">{}</span>', name)
    return markup('<a class="name cut" href="{}">{}</a>', row.get_absolute_url(), name)


@register.simple_tag(takes_context=True)
def row_attributes(context: template.Context, row: Any) -> SafeString:
    css = context["list"].page.row_css
    name = css(row) if css else ""
    return markup(' class="{}"', name) if name else NOTHING


@register.simple_tag(takes_context=True)
def row_label(context: template.Context, row: Any) -> str:
    return str(context["list"].page.row_label(row))


@register.simple_tag(takes_context=True)
def present_url(context: template.Context) -> str:
    """This page as it stands now."""
    request = context["request"]
    asked = request.GET.copy()
    for name in (PARAMETER, "cursor", "format"):  # a cursor is of the rows of its own instant
        asked.pop(name, None)
    return f"{request.path}?{asked.urlencode()}" if asked else str(request.path)


@register.simple_tag(takes_context=True)
def swaps(context: template.Context, url: str, how: str = "outerHTML") -> SafeString:
    """The attributes of a link within a list: a plain link, and a swap of the list where script runs."""
    return markup(
        'href="{0}" hx-get="{0}" hx-target="#{1}" hx-swap="{2}" hx-push-url="true"', url, context["list"].root, how
    )
