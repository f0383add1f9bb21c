"""The kill switch: choose what lies behind what, look before it is pulled, watch it, and keep what came of it."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from access.actors import Actor, ActorKind
from access.permissions import requires, requires_reader
from access.rights import Right
from inventory.errors import InventoryError
from inventory.forms import OwnerNamed, ReasonForm
from inventory.models import Credential
from inventory.views.questions import Question, ask, go, is_decided, way_back
from lifecycle.actions import batches, leavers
from lifecycle.batching import scope_of_value
from lifecycle.errors import LifecycleError, NothingBehind
from lifecycle.filters import BatchFilter
from lifecycle.models import Batch
from lifecycle.models.reports import (
    WORDS,
    items_of,
    lines,
    progress,
    rows_of,
    said_of,
    standing_out,
    still_in_files,
)
from lifecycle.models.scopes import ROWS, Scope, older_versions_of, preview
from lifecycle.states import BatchKind, BatchState, ItemState, ScopeKind, Suggestion
from lifecycle.tasks import ring_batch
from providers.base import Secret
from web.csvfiles import csv_response
from web.lists import Column, Empty, ListPage, View
from web.pages import render_page_or_fragment
from web.paging import BadCursor, Ordering, page
from web.pictures import Part
from web.wording import plural

METHODS = ["GET", "HEAD", "POST"]
FOUND = 6  # of each noun, when a scope is searched for
SHOWN = 50
BY_NAME = Ordering("name", ("name",))
BY_ARRIVAL = Ordering("item", ())
DRILL_AGES = 90  # days; an older drill of a scope says little about it
TONES = {
    "verified": "ok",
    "done": "ok",
    "transferred": "ok",
    "asked": "woad",
    "open": "woad",
    "unverifiable": "med",
    "stalled": "crit",
    "to_decide": "high",
    "waiting": "faint",
    "skipped": "none",
    "cancelled": "none",
    "ended_otherwise": "none",
}
REPORT_CSV = tuple(
    (name, lambda line, name=name: line[name])
    for name in (
        "id", "name", "what", "connection", "state", "proof", "how_it_is_known", "asked_at", "refused_at",
        "seconds_to_refused", "by_hand", "verify_by", "why_not", "appeared_later", "operation",
    )
)  # fmt: skip

BATCHES = ListPage(
    name="batches",
    title="Kill switch",
    noun="batch,batches",
    columns=(
        Column("scope", "Over", value=lambda row: row.scope.get("label", "")),
        Column("kind", "Kind", value=lambda row: "Drill" if row.is_drill else row.get_kind_display(), priority=2),
        Column("state", "State", value=lambda row: row.get_state_display()),
        Column("size", "Things", value=lambda row: row.size, is_numeric=True),
        Column("reason", "Why", value=lambda row: row.reason, priority=3, css="muted"),
        Column("by", "Asked by", value=lambda row: row.requested_by, priority=3),
        Column("at", "Asked", value=lambda row: row.requested_at, is_numeric=True, priority=2),
    ),
    orderings=(Ordering("asked", (), True, "first asked for first", "last asked for first"),),
    filterset=BatchFilter,
    row_template="lifecycle/_batch_cells.html",
    template="lifecycle/batch_list.html",
    views=(
        View("All"),
        View("Open", "is_open=true"),
        View("To approve", "state=requested"),
        View("Leavers", "kind=leaver"),
        View("Drills", "is_drill=true", is_counted=False),
    ),
    empty=Empty(
        "Nobody has pulled it",
        "A kill switch revokes everything behind a server, a client, an owner, a connection or a leaked value.",
        "/batches/new/",
        "Choose what lies behind what",
    ),
)


class RevocationForm(ReasonForm):
    is_urgent = forms.BooleanField(
        label="At once, without any wait",
        required=False,
        initial=True,
        help_text="Else the least critical environment goes first, and three that give up halt the rest.",
    )
    field_order = ("reason", "is_urgent")


class ItemsForm(ReasonForm):
    """What becomes of what a leaver answered for."""

    what = forms.ChoiceField(
        label="What",
        choices=[("", "As suggested"), *Suggestion.choices],
        required=False,
        widget=forms.RadioSelect,
    )
    to = OwnerNamed(label="To whom", required=False, help_text="Name or e-mail. Empty: to whom it is suggested.")
    field_order = ("what", "to", "reason")


# ── Looking ────────────────────────────────────────────────────────────────────────────────────


@require_GET
@requires_reader
def batch_list(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    context = {"may_pull": actor.may(Right.DECIDE_MANY)}
    return BATCHES.respond(request, Batch.objects.visible_to(actor), context=context)


@require_GET
@requires(Right.DECIDE_MANY)
def batch_new(request: HttpRequest) -> HttpResponse:
    """Choose a scope; with one in the query string, what a kill switch over it would reach. Changes nothing."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    scope = asked_scope(request, actor)
    text = request.GET.get("q", "").strip()[:200]
    context: dict[str, Any] = {"q": text, "found": _found(text, actor) if text else [], "scope": scope}
    if scope is not None:
        context |= _preview(request, scope, actor)
    return render(request, "lifecycle/batch_new.html", context)


def _preview(request: HttpRequest, scope: Scope, actor: Actor) -> dict[str, Any]:
    now = timezone.now()
    try:
        keys = batches.reachable(scope, actor)
    except LifecycleError as exc:
        return {"refusal": str(exc)}
    seen = preview(keys, now=now)
    drill = batches.last_drill(scope.key) if scope.key else None
    rows = Credential.objects.filter(pk__in=keys).select_related("owner", "environment", "connection")
    return {
        "seen": seen,
        "query": query_of(scope),
        "needs": batches.why_approval(seen, actor=actor, now=now),
        "page": _page(rows, BY_NAME, request.GET.get("cursor", "")),
        "drill": drill,
        "is_drill_old": drill is not None and drill.ended_at is not None and (now - drill.ended_at).days > DRILL_AGES,
        "drill_ages": DRILL_AGES,
        "older": older_versions_of(scope.id) if scope.kind is ScopeKind.FINGERPRINT else [],
    }


def _page(rows: Any, ordering: Ordering, cursor: str) -> Any:
    try:
        return page(rows, ordering, cursor or None, SHOWN)
    except BadCursor:
        return page(rows, ordering, None, SHOWN)


def _found(text: str, actor: Actor) -> list[tuple[str, str, list[Any]]]:
    """What a scope can be, by words: a label, the parameter that chooses it, and the first of them."""
    found = []
    for kind, model in ROWS.items():
        rows: Any = model._default_manager.all().visible_to(actor)  # type: ignore[attr-defined]
        rows = rows.filter(name__icontains=text) if kind is ScopeKind.CONNECTION else rows.matching(text)
        found.append((str(kind.label), kind.value, list(rows.order_by("name", "pk")[:FOUND])))
    named = Credential.objects.visible_to(actor).live().matching(text).order_by("name", "pk")
    found.append(("Credential", ScopeKind.CREDENTIALS.value, list(named[:FOUND])))
    return [each for each in found if each[-1]]


def asked_scope(request: HttpRequest, actor: Actor) -> Scope | None:
    """The scope that a request names: `kind` and `id`, or `id` of credentials alone. 404 for what is not there."""
    given = request.POST if request.method == "POST" else request.GET
    ids = list(dict.fromkeys(given.getlist("id")))
    kind = given.get("kind", ScopeKind.CREDENTIALS if ids else "")
    if not kind or not ids:
        return None
    if kind not in ScopeKind.values:
        raise Http404
    if kind == ScopeKind.FINGERPRINT:
        return Scope(ScopeKind.FINGERPRINT, ids[0][:80], "a leaked value")
    try:
        keys = [str(UUID(each)) for each in ids]
    except ValueError as exc:
        if kind == ScopeKind.PERSON and "\x00" not in ids[0]:
            return Scope.called(ids[0])
        raise Http404 from exc
    if kind == ScopeKind.CREDENTIALS:
        rows = list(Credential.objects.visible_to(actor).filter(pk__in=keys).order_by("name", "pk"))
        if len(rows) != len(keys):
            raise Http404
        label = rows[0].name[:200] if len(rows) == 1 else f"{plural(len(rows), 'chosen credential')}"
        return Scope(ScopeKind.CREDENTIALS, "", label, tuple(str(row.pk) for row in rows))
    model = ROWS[ScopeKind(kind)]
    visible: Any = model._default_manager.all().visible_to(actor)  # type: ignore[attr-defined]
    return Scope.around(ScopeKind(kind), get_object_or_404(visible, pk=keys[0]))


def query_of(scope: Scope) -> str:
    ids = scope.ids or (scope.id,)
    return urlencode([("kind", scope.kind.value), *(("id", each) for each in ids)])


@require_POST
@requires(Right.DECIDE_MANY)
@sensitive_post_parameters("value")
@sensitive_variables("value")
def batch_value(request: HttpRequest) -> HttpResponse:
    """A leaked value becomes its keyed fingerprint here, and goes no further: not to a row, a log or a page."""
    value = Secret(request.POST.get("value", ""))
    if len(value.reveal().strip()) < 8:
        messages.warning(request, "Paste the whole value, at least 8 characters.")
        return redirect("batch_new")
    try:
        scope = scope_of_value(value)
    except InventoryError as exc:
        messages.warning(request, str(exc))
        return redirect("batch_new")
    return redirect(f"{reverse('batch_new')}?{query_of(scope)}")


# ── Asking ─────────────────────────────────────────────────────────────────────────────────────


@require_http_methods(METHODS)
@requires(Right.REVOKE_MANY)
def batch_revoke(request: HttpRequest) -> HttpResponse:
    """The dialog that does it, with its number: "Revoke 37 credentials"."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    back = way_back(request, reverse("credential_list"))
    try:
        scope, keys = _chosen(request, actor)
    except LifecycleError as exc:
        messages.warning(request, str(exc))
        return go(request, back)
    form = RevocationForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        try:
            batch = batches.request_batch(
                scope,
                actor=actor,
                now=now,
                reason=form.cleaned_data["reason"],
                kind=BatchKind.BULK if scope.kind is ScopeKind.CREDENTIALS else BatchKind.KILL_SWITCH,
                is_urgent=form.cleaned_data["is_urgent"],
            )
        except LifecycleError as exc:
            form.add_error(None, str(exc))
        else:
            ring_batch(batch)
            return go(request, reverse("batch_detail", args=[batch.pk]))
    seen = preview(keys, now=now)
    why = batches.why_approval(seen, actor=actor, now=now)
    number = plural(len(keys), "credential")
    question = Question(
        title=f"Revoke {number}",
        text=f"Everything behind {scope.label} is suspended and destroyed at its provider. This cannot be undone. "
        + (f"A second person approves it first: {why}" if why else "It begins at once."),
        facts=_facts(seen),
        form=form,
        submit=f"Ask to revoke {number}" if why else f"Revoke {number}",
        back=back,
        tone="primary" if why else "danger solid",
        ids=scope.ids or (scope.id,),
        hidden=[("kind", scope.kind.value)],
    )
    return ask(request, question)


def _chosen(request: HttpRequest, actor: Actor) -> tuple[Scope, list[UUID]]:
    scope = asked_scope(request, actor)
    keys = batches.reachable(scope, actor) if scope is not None else []
    if scope is None or not keys:
        raise NothingBehind
    return scope, keys


def _facts(seen: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        (
            "Stop working",
            f"{plural(seen['clients']['number'], 'client')} at {plural(seen['servers']['number'], 'server')}",
        ),
        ("Serve production", str(seen["in_production"])),
    ]
    if seen["by_hand"]:
        facts.append(("By hand", f"{seen['by_hand']}: no provider can be asked"))
    if seen["open_operations"]:
        facts.append(("Open operations", str(sum(each["number"] for each in seen["open_operations"]))))
    return facts


@require_http_methods(METHODS)
@requires(Right.DECIDE_MANY)
def batch_rehearse(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("batch_new"))
    try:
        scope, keys = _chosen(request, actor)
    except LifecycleError as exc:
        messages.warning(request, str(exc))
        return go(request, back)
    form = ReasonForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        batch = batches.request_drill(scope, actor=actor, now=timezone.now(), reason=form.cleaned_data["reason"])
        ring_batch(batch)
        return go(request, reverse("batch_detail", args=[batch.pk]))
    question = Question(
        title=f"Rehearse revoking {plural(len(keys), 'credential')}",
        text="Nothing is revoked. Each place is asked who Keyreeve is there, and what would be in the way is kept.",
        form=form,
        submit="Begin the drill",
        back=back,
        ids=scope.ids or (scope.id,),
        hidden=[("kind", scope.kind.value)],
    )
    return ask(request, question)


# ── One of them ────────────────────────────────────────────────────────────────────────────────


@require_GET
@requires_reader
def batch_detail(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """One batch; as a fragment its progress, which the page asks for while it runs; `?format=csv` its report."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    batch = get_object_or_404(Batch.objects.visible_to(actor).select_related("parent"), pk=pk)
    if request.GET.get("format") == "csv":
        return csv_response(lines(batch), REPORT_CSV, f"keyreeve-batch-{batch.pk}.csv")
    now = timezone.now()
    counts = progress(batch)
    slow, troubled = standing_out(batch)
    context: dict[str, Any] = {
        "batch": batch,
        "now": now,
        "counts": counts,
        "parts": [Part(TONES[name], number, WORDS[name].capitalize()) for name, number in counts.items()],
        "done": batch.size - sum(counts.get(name, 0) for name in ("to_decide", "waiting", "open", "stalled")),
        "slowest": [said_of(row) for row in slow],
        "troubled": [said_of(row) for row in troubled],
        "is_live": batch.ended_at is None and batch.state in {BatchState.RUNNING, BatchState.DECIDING},
        "may_steer": batch.ended_at is None and _may_steer(batch, actor) and not batch.is_drill,
        "may_decide": actor.may(Right.DECIDE_MANY) and actor.kind is ActorKind.USER,
        "is_mine": batch.requested_by_key == actor.key,
    }
    if not request.htmx:  # type: ignore[attr-defined]
        context |= _standing(request, batch, actor)
    return render_page_or_fragment(request, "lifecycle/batch_detail.html", "lifecycle/_batch_progress.html", context)


def _standing(request: HttpRequest, batch: Batch, actor: Actor) -> dict[str, Any]:
    """What of the page does not move by itself."""
    rows = rows_of(batch).select_related("suggested_owner")
    shown = _page(rows, BY_ARRIVAL, request.GET.get("cursor", ""))
    open_places = still_in_files(batch)
    late = batches.late(batch, actor) if not batch.is_drill and actor.sees_everything else []
    return {
        "page": shown,
        "items": [(row, said_of(row)) for row in shown.rows],
        "late": Credential.objects.filter(pk__in=late)[:FOUND] if late else (),
        "late_count": len(late),
        "places": list(open_places[:FOUND]),
        "approvers": batches.approvers(batch) if batch.state == BatchState.REQUESTED else 0,
        "longest": _longest(batch.preview),
    }


def _longest(seen: Mapping[str, Any]) -> int | None:
    times = [hop["last_refused_in"] for hop in seen.get("hops", []) if hop["last_refused_in"] is not None]
    return max(times) if times else None


def _may_steer(batch: Batch, actor: Actor) -> bool:
    return actor.may(Right.DECIDE_MANY) or batch.requested_by_key == actor.key


def _asking(
    right: Right, *, title: str, text: str, submit: str, do: Callable[..., Any], said: str
) -> Callable[..., HttpResponseBase]:
    """The page of what is done with one batch: a reason, the action, and back to its page."""

    @require_http_methods(METHODS)
    @requires(right)
    def view(request: HttpRequest, pk: UUID) -> HttpResponse:
        actor: Actor = request.actor  # type: ignore[attr-defined]
        batch = get_object_or_404(Batch.objects.visible_to(actor), pk=pk)
        back = reverse("batch_detail", args=[pk])
        form = ReasonForm(request.POST if is_decided(request) else None)
        if is_decided(request) and form.is_valid():
            try:
                do(batch, actor=actor, now=timezone.now(), reason=form.cleaned_data["reason"])
            except LifecycleError as exc:
                form.add_error(None, str(exc))
            else:
                ring_batch(batch)
                messages.success(request, said)
                return go(request, back)
        question = Question(
            title=title.format(size=plural(batch.size, "credential")), text=text, form=form, submit=submit, back=back
        )
        return ask(request, question)

    return view


batch_approve = _asking(
    Right.DECIDE_MANY,
    title="Approve revoking {size}",
    text="It begins at once and cannot be undone. Look at the preview first.",
    submit="Approve",
    do=batches.approve_batch,
    said="Approved. It has begun.",
)
batch_decline = _asking(
    Right.DECIDE_MANY,
    title="Decline revoking {size}",
    text="Nothing is revoked.",
    submit="Decline",
    do=batches.decline_batch,
    said="Declined. Nothing was revoked.",
)
batch_halt = _asking(
    Right.REVOKE_MANY,
    title="Halt it",
    text="Nothing more of it begins. What has begun goes on.",
    submit="Halt",
    do=batches.halt_batch,
    said="Halted. What had begun goes on.",
)
batch_resume = _asking(
    Right.REVOKE_MANY,
    title="Resume it",
    text="It goes on, and what has stalled is tried again.",
    submit="Resume",
    do=batches.resume_batch,
    said="It goes on.",
)
batch_cancel = _asking(
    Right.REVOKE_MANY,
    title="Cancel what has not begun",
    text="What a provider was asked for already goes on to its end.",
    submit="Cancel the rest",
    do=batches.cancel_rest,
    said="What had not begun is cancelled.",
)


@require_POST
@requires(Right.DECIDE_MANY)
def batch_extend(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Take in what appeared behind the scope meanwhile."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    batch = get_object_or_404(Batch.objects.visible_to(actor), pk=pk)
    try:
        added = batches.include_late(batch, actor=actor, now=timezone.now())
    except LifecycleError as exc:
        messages.warning(request, str(exc))
    else:
        ring_batch(batch)
        messages.success(request, f"{plural(added, 'credential')} more.")
    return redirect("batch_detail", pk)


@require_http_methods(METHODS)
@requires(Right.DECIDE_MANY)
def batch_decide(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Hand over or revoke some, or all, of what a leaver answered for."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    batch = get_object_or_404(Batch.objects.visible_to(actor), pk=pk)
    back = reverse("batch_detail", args=[pk])
    ids = _picked(request, batch)
    if not ids:
        messages.warning(request, "Nothing that is to be decided was picked.")
        return go(request, back)
    form = ItemsForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        what = Suggestion(given["what"]) if given["what"] else None
        try:
            done = leavers.decide_items(
                batch, ids, what=what, to=given["to"], actor=actor, now=timezone.now(), reason=given["reason"]
            )
        except (LifecycleError, InventoryError) as exc:
            form.add_error(None, str(exc))
        else:
            for child in Batch.objects.open().filter(parent=batch):
                ring_batch(child)
            ring_batch(batch)
            messages.success(request, f"Decided about {plural(done, 'thing')}.")
            return go(request, back)
    question = Question(
        title=f"Decide about {plural(len(ids), 'thing')}",
        text=f"What {batch.scope.get('label')} answered for is handed over or revoked; nothing stays as it is.",
        form=form,
        submit="Decide",
        back=back,
        ids=[str(each) for each in ids],
    )
    return ask(request, question)


def _picked(request: HttpRequest, batch: Batch) -> list[UUID]:
    open_items = items_of(batch).filter(state=ItemState.TO_DECIDE)
    given = request.POST if request.method == "POST" else request.GET
    if given.get("all"):
        return list(open_items.values_list("pk", flat=True))
    try:
        ids = [UUID(each) for each in given.getlist("id")]
    except ValueError as exc:
        raise Http404 from exc
    return list(open_items.filter(pk__in=ids).values_list("pk", flat=True))
