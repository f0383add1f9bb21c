"""Registrations that look alike, group by group: which is kept and why, which nobody needs.

Groups are paged by their key, which is a range of an index; the numbers of a page's groups are one statement. So a
page costs the same whether there are a hundred groups or a hundred thousand.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import BooleanField, Case, Count, Exists, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from access.actors import Actor
from access.permissions import requires_reader
from access.rights import Right
from inventory.models import ClientRemoval, McpClient
from inventory.states import Admission, Hygiene
from web.paging import FAR_PAST, capped_counts
from web.pictures import Part
from web.wording import without_scheme

SIZE = 25
NEEDLESS = (Hygiene.DUPLICATE, Hygiene.DEAD)
TONES = {Hygiene.LIVE: "ok", Hygiene.DUPLICATE: "med", Hygiene.DEAD: "crit", Hygiene.UNKNOWN: "none"}


@dataclass(frozen=True)
class Group:
    """Registrations that look alike."""

    key: str
    kept: McpClient | None  # None when every one is dead
    name: str
    issuer: str
    hosts: Sequence[str]
    counts: dict[Hygiene, int]
    leaving: int

    @property
    def parts(self) -> list[Part]:
        return [Part(TONES[each], self.counts[each], str(each.label).lower()) for each in TONES if self.counts[each]]

    @property
    def in_words(self) -> str:
        return ", ".join(f"{part.value} {part.label}" for part in self.parts)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def live(self) -> int:
        return self.counts[Hygiene.LIVE]

    @property
    def duplicate(self) -> int:
        return self.counts[Hygiene.DUPLICATE]

    @property
    def dead(self) -> int:
        return self.counts[Hygiene.DEAD]

    def url(self, **query: Any) -> str:
        return f"{reverse('client_list')}?{urlencode({'hygiene_key': self.key, **query}, doseq=True)}"

    @property
    def list_url(self) -> str:
        return self.url()

    def removal(self, *hygiene: Hygiene) -> str:
        query = {"group": self.key, "hygiene": [each.value for each in hygiene]}
        return f"{reverse('client_remove')}?{urlencode(query, doseq=True)}"

    @property
    def removal_of_dead(self) -> str:
        return self.removal(Hygiene.DEAD)

    @property
    def removal_of_needless(self) -> str:
        return self.removal(*NEEDLESS)


@require_safe
@requires_reader
def client_hygiene(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    scored = McpClient.objects.visible_to(actor).present().exclude(admission=Admission.REMOVED)
    given = {name: request.GET.get(name, "").replace("\x00", "")[:400] for name in ("key", "after", "before", "show")}
    if given["key"]:
        keys, has_more = [given["key"]], False
        has_earlier = False
    else:
        listed = scored.exclude(hygiene_key="") if given["show"] == "all" else scored.filter(hygiene__in=NEEDLESS)
        keys, has_earlier, has_more = _page(listed, given["after"], given["before"])
    totals = capped_counts([scored.exclude(hygiene_key="").filter(hygiene=each) for each in TONES])
    context = {
        "groups": _groups(scored, keys),
        "totals": [(each, TONES[each], total) for each, total in zip(TONES, totals, strict=True)],
        "parts": [Part(TONES[each], total.value) for each, total in zip(TONES, totals, strict=True)],
        "in_words": ", ".join(f"{total} {each.label.lower()}" for each, total in zip(TONES, totals, strict=True)),
        "is_any": any(totals),
        "is_all": given["show"] == "all",
        "is_one": bool(given["key"]),
        "earlier": _query(before=keys[0], show=given["show"]) if keys and has_earlier else "",
        "later": _query(after=keys[-1], show=given["show"]) if keys and has_more else "",
        "may_remove": actor.may(Right.NARROW),
        "here": "client_hygiene",
    }
    return render(request, "inventory/client_hygiene.html", context)


def _query(**values: str) -> str:
    return "?" + urlencode({name: value for name, value in values.items() if value})


def _page(clients: QuerySet[McpClient], after: str, before: str) -> tuple[list[str], bool, bool]:
    """The keys of a page, and whether there are earlier and later ones."""
    order = "-hygiene_key" if before else "hygiene_key"
    beyond = {"hygiene_key__lt": before} if before else {"hygiene_key__gt": after}
    keys = list(clients.filter(**beyond).order_by(order).values_list("hygiene_key", flat=True).distinct()[: SIZE + 1])
    has_more = len(keys) > SIZE
    keys = keys[:SIZE]
    if before:
        return keys[::-1], has_more, True
    return keys, bool(after), has_more


def _groups(scored: QuerySet[McpClient], keys: Sequence[str]) -> list[Group]:
    members = scored.filter(hygiene_key__in=keys)
    leaving = Exists(ClientRemoval.objects.open().filter(client=OuterRef("pk")))
    rows: dict[str, dict[str, Any]] = {
        row["hygiene_key"]: dict(row)
        for row in members.annotate(is_leaving=leaving)
        .order_by()
        .values("hygiene_key")
        .annotate(
            leaving=Count("pk", filter=Q(is_leaving=True)),
            **{each.value: Count("pk", filter=Q(hygiene=each)) for each in TONES},
        )
    }
    kept = _kept(members)
    return [_group(key, rows[key], kept[key]) for key in keys if key in rows]


def _kept(members: QuerySet[McpClient]) -> dict[str, McpClient]:
    """The member of each group that the others are compared with: in use, else not dead, and seen last."""

    def first(condition: Q) -> Case:
        return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())

    ranked = members.annotate(
        is_live=first(Q(hygiene=Hygiene.LIVE)),
        is_not_dead=first(~Q(hygiene=Hygiene.DEAD)),
        latest=Coalesce(Greatest("last_used_at", "issued_at"), Value(FAR_PAST)),
    )
    rows = ranked.order_by("hygiene_key", "-is_live", "-is_not_dead", "-latest", "-pk").distinct("hygiene_key")
    return {client.hygiene_key: client for client in rows.select_related("authorization_server")}


def _group(key: str, row: dict[str, Any], kept: McpClient) -> Group:
    issuer = kept.authorization_server.issuer if kept.authorization_server else ""
    return Group(
        key=key,
        kept=None if kept.hygiene == Hygiene.DEAD else kept,
        name=kept.name,
        issuer=without_scheme(issuer),
        hosts=_hosts(key),
        counts={each: row[each.value] for each in TONES},
        leaving=row["leaving"],
    )


def _hosts(key: str) -> list[str]:
    """The hosts that a key names; none for one so long that it was cut."""
    try:
        _, _, hosts = json.loads(key)
    except ValueError:
        return []
    return [host_in_words(str(host)) for host in hosts]


def host_in_words(host: str) -> str:
    return "their own machine" if host == "loopback" else host
