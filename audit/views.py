"""The audit chain for people: the list, and one entry with everything that seals it."""

import json
from operator import attrgetter
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from access.permissions import requires_reader
from audit.chain import GENESIS, Link, verify
from audit.filters import AuditEntryFilter
from audit.models import SEALED_COLUMNS, AuditEntry, ChainHead
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
    return AUDIT.respond(request, entries, context={"head": ChainHead.objects.first()})


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
    columns = {name: getattr(entry, name) for name in SEALED_COLUMNS}
    link = Link(entry.seq, entry.text, bytes(entry.hash), columns)
    before = GENESIS if entry.seq == 1 else previous or b""
    found = verify([link], previous=before, after=entry.seq - 1).broken
    return f"{found.reason[:1].upper()}{found.reason[1:]}." if found else ""
