"""What rows of the inventory say about themselves on a page."""

from datetime import timedelta
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from history.past import instant
from inventory.connection_kinds import changes as changes_in_words
from inventory.forms import SERVER_OWNERS
from inventory.models import AuthorizationServer, ClientRemoval, McpServer, Owner, SyncRun, Tenure
from inventory.posture.hygiene import redirect_hosts
from inventory.states import OwnerKind, RemovalStage
from inventory.views.authorization_servers import glance as at_a_glance
from inventory.views.counts import LIMIT
from inventory.views.hygiene import host_in_words
from inventory.views.presence import seen_at
from inventory.views.servers import posture_in_words
from web.templatetags.keyreeve import since, state
from web.wording import initials, plural, thousands, without_scheme

register = template.Library()
POSTURE_TONES = {"violated": "crit", "unknown": "none", "met": "ok"}


@register.simple_tag
def three_owners(server: McpServer) -> SafeString:
    """The three who answer for a server as initials; the names are in the titles and for screen readers."""
    marks = format_html_join(
        "",
        '<span class="avatar{0}" title="{1}: {2}"><span aria-hidden="true">{3}</span>'
        '<span class="vh">{1} {2}</span></span>',
        (_mark(words, getattr(server, name)) for name, words in SERVER_OWNERS),
    )
    return format_html('<span class="who">{}</span>', marks)


def _mark(words: str, owner: Owner | None) -> tuple[str, str, str, str]:
    if owner is None:
        return " none", words, "nobody", "?"
    return (" team" if owner.kind == OwnerKind.TEAM else ""), words, owner.name, initials(owner.name)


@register.inclusion_tag("inventory/_posture.html")
def posture(server: Any) -> dict[str, Any]:
    """A server's verdicts at a glance: a bar, and in words how many are violated. The row carries their counts."""
    counts = server.posture or {}
    parts = [(tone, counts[name], name) for name, tone in POSTURE_TONES.items() if counts.get(name)]
    return {"server": server, "counts": counts, "parts": parts, "in_words": posture_in_words(server)}


@register.filter
def at_most(count: int | None) -> str:
    """A count that stopped at its limit: `1 000+`. Nought is left out, as empty cells are."""
    return "" if not count else f"{thousands(LIMIT)}+" if count > LIMIT else thousands(count)


@register.simple_tag(takes_context=True)
def seen(context: template.Context, row: Any) -> SafeString:
    """When a row was last seen; of what is gone, when it went."""
    if row.gone_at:
        return format_html('<span class="faint">gone {}</span>', since(context, row.gone_at))
    return since(context, seen_at(row))


@register.filter
def glance(server: AuthorizationServer) -> str:
    """What an authorization server can do, in a few words."""
    return at_a_glance(server)


@register.filter
def coded(text: str) -> SafeString:
    """A sentence in which what stands between backticks is code."""
    # An even number of backticks parts the text so that every second part lies between two of them.
    parts = text.split("`") if text.count("`") % 2 == 0 else [text]
    marked = [format_html("<code>{}</code>", part) if i % 2 else part for i, part in enumerate(parts)]
    return format_html_join("", "{}", ((part,) for part in marked))


@register.filter
def changes(counts: dict[str, int] | None) -> str:
    return changes_in_words(counts)


@register.filter
def how_often(interval: timedelta | None) -> str:
    """An interval as people say it: `every 15 minutes`, `every hour`, `every 2 days`."""
    if not interval:
        return "only when asked"
    minutes = max(int(interval.total_seconds() // 60), 1)
    size, word = next(
        (size, word) for size, word in ((1_440, "day"), (60, "hour"), (1, "minute")) if minutes % size == 0
    )
    return f"every {word}" if minutes == size else f"every {plural(minutes // size, word)}"


@register.simple_tag
def took(run: SyncRun) -> str:
    """How long a run took, below a minute to the second."""
    if run.finished_at is None:
        return ""
    seconds = max(int((run.finished_at - run.started_at).total_seconds()), 0)
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"


@register.filter
def redirects(addresses: list[str]) -> list[str]:
    """Where a client has codes sent to; the person's own machine in words."""
    return [host_in_words(host) for host in redirect_hosts(addresses)]


@register.filter
def host(issuer: str) -> str:
    """An issuer without its scheme."""
    return without_scheme(issuer)


REMOVAL_STATES = {  # stage → the state whose shape it has
    RemovalStage.ANNOUNCED: "waiting",
    RemovalStage.SUSPENDED: "suspended",
    RemovalStage.DELETING: "running",
    RemovalStage.WAITING: "waiting",
    RemovalStage.STALLED: "stalled",
    RemovalStage.REMOVED: "removed",
    RemovalStage.WITHDRAWN: "cancelled",
    RemovalStage.STOPPED: "superseded",
}


@register.simple_tag
def removal_stage(removal: ClientRemoval) -> SafeString:
    return state(REMOVAL_STATES[RemovalStage(removal.stage)], removal.get_stage_display())


@register.inclusion_tag("inventory/_tenures.html")
def tenures(subject: Any) -> dict[str, Any]:
    """Whether whoever stands for a thing accepted it, or is asked, or nobody did. Of the past nothing is said here."""
    rows = Tenure.objects.none() if instant() else Tenure.objects.open().filter(subject_id=subject.pk).order_by("part")
    return {"tenures": list(rows.select_related("question__owner", "question__asked"))}
