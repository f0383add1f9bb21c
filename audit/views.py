"""The audit chain for people: the list, and one entry with everything that seals it."""

import json
from operator import attrgetter
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from access.permissions import requires, requires_reader
from access.rights import Right
from audit.chain import GENESIS, verify
from audit.events import Event
from audit.filters import AuditEntryFilter, ChainHeadFilter
from audit.models import AuditEntry, ChainHead, ChainKey, Export, ExportPlace
from audit.sentences import title
from web.lists import Column, Empty, ListPage, View
from web.paging import Ordering

LARGEST_SEQ = 2**63 - 1


def _as_json(entry: AuditEntry) -> str:
    return json.dumps(entry.detail, ensure_ascii=False, sort_keys=True)


AUDIT = ListPage(
    name="audit",
    title="Audit",
    noun="entry,entries",
    columns=(
        Column("event", "What happened", value=lambda entry: title(entry.event)),
        Column("actor", "By", value=attrgetter("actor_label"), priority=2),
        Column("subject", "Subject", value=attrgetter("subject_label"), priority=2),
        Column("seq", "Entry", value=attrgetter("seq"), priority=3, is_numeric=True),
        Column("at", "When", value=attrgetter("at"), sort="seq", is_numeric=True),
    ),
    orderings=(Ordering("seq", (), descending=True, ascending_words="oldest first", descending_words="newest first"),),
    filterset=AuditEntryFilter,
    row_template="audit/_entry_row.html",
    template="audit/entry_list.html",
    views=(View("All"), View("By people", "actor_kind=user"), View("Syncs", "event=connection.synced")),
    empty=Empty(
        "Nothing was written yet", "Every change and every sign-in is recorded here, sealed to the one before."
    ),
    csv=(
        ("seq", attrgetter("seq")),
        ("at", attrgetter("at")),
        ("event", attrgetter("event")),
        ("actor_kind", attrgetter("actor_kind")),
        ("actor", attrgetter("actor_label")),
        ("subject_kind", attrgetter("subject_kind")),
        ("subject_id", attrgetter("subject_id")),
        ("subject", attrgetter("subject_label")),
        ("detail", _as_json),
        ("hash", lambda entry: bytes(entry.hash).hex()),
    ),
)


@require_safe
@requires_reader
def audit_list(request: HttpRequest) -> HttpResponseBase:
    entries = AuditEntry.objects.visible_to(request.actor)  # type: ignore[attr-defined]
    return AUDIT.respond(request, entries, context=_trust(request))


def _trust(request: HttpRequest) -> dict[str, Any]:
    """What holds the chain from outside, for those who read all of it: its heads, where they are, who looked."""
    if not request.actor.sees_everything:  # type: ignore[attr-defined]
        return {"head": ChainHead.objects.first()}
    looked = AuditEntry.objects.filter(event__in=[Event.CHAIN_VERIFIED.value, Event.CHAIN_FOUND_BROKEN.value])
    verification = looked.order_by("-seq").first()
    return {
        "head": ChainHead.objects.first(),
        "places": list(ExportPlace.objects.filter(retired_at=None)),
        "verification": verification,
        "is_broken": verification is not None and verification.event == Event.CHAIN_FOUND_BROKEN.value,
    }


HEADS = ListPage(
    name="chain-heads",
    title="Chain heads",
    noun="head",
    columns=(
        Column("seq", "Entry", value=attrgetter("seq")),
        Column("hash", "Hash", value=lambda head: bytes(head.hash).hex(), priority=2),
        Column("exported_to", "Exported to", value=lambda head: ", ".join(head.exported_to), priority=2),
        Column("signed_at", "Signed", value=attrgetter("signed_at"), sort="seq", is_numeric=True),
    ),
    orderings=(Ordering("seq", (), descending=True, ascending_words="oldest first", descending_words="newest first"),),
    filterset=ChainHeadFilter,
    row_template="audit/_head_row.html",
    template="audit/head_list.html",
    empty=Empty("No head was signed yet", "A worker signs one an hour, as soon as something has happened."),
    csv=(
        ("seq", attrgetter("seq")),
        ("hash", lambda head: bytes(head.hash).hex()),
        ("signed_at", attrgetter("signed_at")),
        ("signature", lambda head: bytes(head.signature).hex()),
        ("public_key", lambda head: bytes(head.public_key).hex()),
        ("exported_to", lambda head: " ".join(head.exported_to)),
    ),
)


@require_safe
@requires_reader
def head_list(request: HttpRequest) -> HttpResponseBase:
    at = Export.objects.filter(head=OuterRef("pk")).order_by("place_id").values("place__address")
    heads = ChainHead.objects.visible_to(request.actor).annotate(exported_to=ArraySubquery(at))  # type: ignore[attr-defined]
    return HEADS.respond(
        request, heads, context={**_trust(request), "keys": ChainKey.objects.published()["keys"][::-1]}
    )


@require_safe
@requires(Right.ANYBODY)
@cache_control(public=True, max_age=300)
def chain_keys(request: HttpRequest) -> HttpResponse:
    """The public keys that sign chain heads. They are for everybody; whom to believe them, docs/audit.md says."""
    return JsonResponse(ChainKey.objects.published(), json_dumps_params={"indent": 1})


@require_safe
@requires_reader
def audit_entry(request: HttpRequest, seq: int) -> HttpResponse:
    if seq > LARGEST_SEQ:
        raise Http404
    visible = AuditEntry.objects.visible_to(request.actor)  # type: ignore[attr-defined]
    entry = get_object_or_404(visible, pk=seq)
    before = AuditEntry.objects.filter(seq=seq - 1).values_list("hash", flat=True).first()
    previous = None if before is None else bytes(before)
    context: dict[str, Any] = {
        "entry": entry,
        "detail": json.dumps(entry.detail, ensure_ascii=False, indent=2, sort_keys=True) if entry.detail else "",
        "hash": bytes(entry.hash).hex(),
        "previous_hash": (GENESIS if seq == 1 else previous or b"").hex(),
        "broken": _broken(entry, previous),
        "head": ChainHead.objects.filter(seq__gte=seq).order_by("seq").first(),
        "earlier": visible.filter(seq__lt=seq).order_by("-seq").values_list("seq", flat=True).first(),
        "later": visible.filter(seq__gt=seq).order_by("seq").values_list("seq", flat=True).first(),
    }
    return render(request, "audit/entry_detail.html", context)


def _broken(entry: AuditEntry, previous: bytes | None) -> str:
    """Why the entry does not hold against the one before it, or nothing."""
    if entry.seq > 1 and previous is None:
        return f"Entry {entry.seq - 1} is missing, so nothing shows what this one follows from."
    before = GENESIS if entry.seq == 1 else previous or b""
    found = verify(AuditEntry.objects.filter(pk=entry.pk).links(), previous=before, after=entry.seq - 1).broken
    return f"{found.reason[:1].upper()}{found.reason[1:]}." if found else ""
