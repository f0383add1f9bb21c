"""The queue of clients that nobody decided about, the decisions, and the removals under way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from access.roles import Role
from inventory.actions import admission, removals
from inventory.errors import InventoryError, NothingChosen
from inventory.filters import ClientRemovalFilter, QueueFilter
from inventory.forms import ReasonForm, RegistrationReferenceForm, RemovalForm
from inventory.models import ClientRemoval, McpClient, Owner, PostureCheck, Use
from inventory.posture.hygiene import redirect_hosts
from inventory.states import Admission, Hygiene, Registration, Verdict
from inventory.views.counts import CappedCount
from inventory.views.presence import suited
from inventory.views.questions import Question, ask, chosen, go, is_decided, nothing_picked, way_back
from providers.errors import ProviderError
from web.lists import Bulk, Column, Empty, ListPage, View
from web.paging import Ordering
from web.wording import plural, some

METHODS = ["GET", "HEAD", "POST"]
NAMED = 3
STILL_ACCEPTED = (
    "This is Keyreeve's record. The authorization server goes on accepting a client until its registration is deleted "
    "there or its tokens are revoked."
)


def registered_at(client: McpClient) -> Any:
    return client.issued_at or client.first_seen_at


QUEUE = ListPage(
    name="admission",
    title="Admission",
    noun="client",
    columns=(
        Column("name", "Client", value=attrgetter("name"), sort="name"),
        Column("registered", "Registered", value=registered_at, sort="registered", is_numeric=True),
        Column("redirects", "Redirects to", value=lambda it: " ".join(redirect_hosts(it.redirect_uris)), priority=2),
        Column("scopes", "Scopes asked", value=lambda it: " ".join(it.scopes), priority=3),
        Column("alike", "Look-alikes", value=attrgetter("alike_count"), priority=3, is_numeric=True),
        Column("violated", "Violated", value=attrgetter("violated_count"), priority=2, is_numeric=True),
        Column("reached", "Reached", value=attrgetter("server_count"), priority=2),
        Column("owner", "Owner", value=attrgetter("owner"), priority=4),
        Column("hygiene", "Hygiene", value=lambda it: it.get_hygiene_display(), priority=4, is_shown=False),
    ),
    orderings=(
        Ordering("registered", (Coalesce("issued_at", "first_seen_at"),), True, "oldest first", "newest first"),
        Ordering("name", ("name",), False, "by name", "by name, backwards"),
    ),
    filterset=QueueFilter,
    row_template="inventory/_queue_row.html",
    template="inventory/client_pages.html",
    views=(
        View("All"),
        View("Duplicate or dead", "hygiene=dead&hygiene=duplicate"),
        View("Without an owner", "has_owner=false"),
    ),
    empty=Empty(
        "Nobody waits",
        "A client that registers itself at an authorization server appears here with the next look at that server.",
        "/clients/",
        "All clients",
    ),
    csv=(
        ("id", attrgetter("pk")),
        ("name", attrgetter("name")),
        ("client_id", attrgetter("client_id")),
        ("registered_at", registered_at),
        ("redirect_uris", lambda it: " ".join(it.redirect_uris)),
        ("scopes", lambda it: " ".join(it.scopes)),
        ("look_alikes", attrgetter("alike_count")),
        ("violated_checks", attrgetter("violated_count")),
        ("servers", attrgetter("server_count")),
        ("last_used_at", attrgetter("last_used_at")),
        ("hygiene", attrgetter("hygiene")),
        ("owner", attrgetter("owner")),
    ),
)

REMOVALS = ListPage(
    name="client-removals",
    title="Removals",
    noun="removal",
    columns=(
        Column("client", "Client", value=attrgetter("client")),
        Column("stage", "Stage", value=lambda it: it.get_stage_display()),
        Column("next", "Next step", value=attrgetter("next_at"), priority=2, is_numeric=True),
        Column("said", "What is known", value=lambda it: it.error or it.ended_reason, priority=2),
        Column("owner", "Owner", value=attrgetter("client.owner"), priority=3),
        Column("by", "Asked for by", value=attrgetter("requested_by"), priority=3),
        Column("announced", "Announced", value=attrgetter("announced_at"), sort="announced", is_numeric=True),
    ),
    orderings=(Ordering("announced", (), True, "first announced first", "newest first"),),
    filterset=ClientRemovalFilter,
    row_template="inventory/_removal_row.html",
    template="inventory/client_pages.html",
    row_label=lambda removal: removal.client.name,
    row_css=lambda removal: "ended" if removal.ended_at else "",
    views=(
        View("Under way", "ended=false"),
        View("Stalled", "stage=stalled"),
        View("Waits for a sync", "stage=waiting"),
        View("Ended", "ended=true", is_counted=False),
    ),
    empty=Empty(
        "Nothing is being removed",
        "A removal begins on a client's page, from the admission queue, or for the dead of a group at once.",
        "/clients/hygiene/",
        "Look for duplicates",
    ),
)


def queued(clients: QuerySet[McpClient], actor: Actor) -> QuerySet[Any]:
    this = OuterRef("pk")
    alike = McpClient.objects.visible_to(actor).present().exclude(hygiene_key="")
    return clients.select_related("connection", "owner", "authorization_server").annotate(
        server_count=CappedCount(Use.objects.present().filter(client=this), "server"),
        violated_count=CappedCount(PostureCheck.objects.filter(client=this, verdict=Verdict.VIOLATED)),
        alike_count=CappedCount(alike.filter(hygiene_key=OuterRef("hygiene_key")).exclude(pk=this)),
    )


@require_safe
@requires_reader
def client_admission(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    waiting = McpClient.objects.visible_to(actor).present().filter(admission=Admission.QUARANTINED)
    context = {"here": "client_admission", "lede": STILL_ACCEPTED}
    page = suited(QUEUE, actor, Role.REVIEWER)
    return page.respond(request, queued(waiting, actor), bulk=deciding(actor, is_queue=True), context=context)


def deciding(actor: Actor, *, is_queue: bool = False) -> list[Bulk]:
    """What may be decided about the picked clients."""
    if not actor.may(Right.NARROW):
        return []
    admit = [Bulk("Admit…", reverse("client_admit"), icon="met", key="a", tone="primary")]
    return [
        *(admit if is_queue and actor.may(Right.ADMIT) else []),
        Bulk("Suspend…", reverse("client_suspend"), icon="pause", key="s"),
        Bulk("Remove…", reverse("client_remove"), icon="ended", key="d", tone="danger"),
    ]


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Verb:
    """One decision about many clients, as a question and as an action."""

    title: str
    submit: str
    text: str
    done: str  # what is said of how many
    act: Callable[..., int]


ADMIT = Verb(
    "Admit",
    "Admit",
    "Whoever relies on Keyreeve takes them for known from now on. Grants say what each may use.",
    "admitted",
    admission.admit,
)
SUSPEND = Verb("Suspend", "Suspend", STILL_ACCEPTED, "suspended here", admission.suspend)
REINSTATE = Verb("Reinstate", "Reinstate", "They count as admitted again.", "reinstated", admission.reinstate)
QUARANTINE = Verb(
    "Look again at",
    "Put into quarantine",
    "They wait in the admission queue until somebody decides about them.",
    "put into quarantine",
    admission.quarantine,
)


def _decide(request: HttpRequest, verb: Verb, rows: QuerySet[McpClient]) -> HttpResponse:
    back = way_back(request, reverse("client_admission"))
    ids, picked = chosen(request, rows)
    if not ids:
        return nothing_picked(request, back, "clients")
    return _asked(request, verb, picked, back=back, facts=lambda: _facts(picked, len(ids)), count=len(ids), ids=ids)


def _asked(
    request: HttpRequest,
    verb: Verb,
    picked: QuerySet[Any],
    *,
    back: str,
    facts: Callable[[], Sequence[tuple[str, str]]],
    count: int,
    ids: Sequence[str] = (),
    hidden: Sequence[tuple[str, str]] = (),
) -> HttpResponse:
    """The question of a decision, and the decision once a reason is given."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = ReasonForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        try:
            done = verb.act(picked, actor=actor, now=timezone.now(), reason=form.cleaned_data["reason"])
        except InventoryError as exc:
            form.add_error(None, str(exc))
        else:
            _say(request, done, verb.done)
            return go(request, back)
    question = Question(
        title=f"{verb.title} {plural(count, 'client')}",
        text=verb.text,
        facts=facts(),
        form=form,
        submit=verb.submit,
        back=back,
        ids=ids,
        hidden=hidden,
    )
    return ask(request, question)


def _say(request: HttpRequest, count: int, done: str) -> None:
    if count:
        messages.success(request, f"{plural(count, 'client')} {done}.")
    else:
        messages.info(request, "Nothing changed: none of them was in a state for that.")


def _facts(picked: QuerySet[McpClient], count: int) -> list[tuple[str, str]]:
    looked_at = list(picked.select_related("authorization_server", "owner").order_by("name", "pk")[:500])
    issuers = sorted({client.authorization_server.issuer for client in looked_at if client.authorization_server})
    used = sum(client.hygiene == Hygiene.LIVE for client in looked_at)
    return [
        ("Client" if count == 1 else "Clients", some([client.name for client in looked_at[:NAMED]], NAMED, count)),
        ("Accepted at", ", ".join(issuers[:NAMED]) or "not known where"),
        *([("In use", f"{plural(used, 'of them,of them')} within the last 30 days")] if used else []),
    ]


def _seen(request: HttpRequest) -> QuerySet[McpClient]:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return McpClient.objects.visible_to(actor).present().registered()


def _narrowable(request: HttpRequest) -> QuerySet[McpClient]:
    return _seen(request).narrowable_by(request.actor)  # type: ignore[attr-defined, no-any-return]


@require_http_methods(METHODS)
@requires(Right.ADMIT)
def client_admit(request: HttpRequest) -> HttpResponse:
    return _decide(request, ADMIT, _seen(request))


@require_http_methods(METHODS)
@requires(Right.ADMIT)
def client_reinstate(request: HttpRequest) -> HttpResponse:
    return _decide(request, REINSTATE, _seen(request))


@require_http_methods(METHODS)
@requires(Right.NARROW)
def client_suspend(request: HttpRequest) -> HttpResponse:
    """The picked clients, or with `owner` all that are in somebody's name."""
    owner = (request.POST if request.method == "POST" else request.GET).get("owner", "")
    return _suspend_all_of(request, owner) if owner else _decide(request, SUSPEND, _narrowable(request))


def _suspend_all_of(request: HttpRequest, key: str) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("client_list"))
    try:
        owner = get_object_or_404(Owner.objects.visible_to(actor), pk=UUID(key))
    except ValueError as exc:
        raise Http404 from exc
    theirs = McpClient.objects.visible_to(actor).present().filter(owner=owner)
    picked = _narrowable(request).filter(owner=owner).exclude(admission__in=[Admission.SUSPENDED, Admission.REMOVED])
    count, in_files = theirs.aggregate(
        all=Count("pk", filter=Q(pk__in=picked.order_by().values("pk"))),
        in_files=Count("pk", filter=Q(registration=Registration.CONFIG_FILE)),
    ).values()
    if not count:
        messages.info(request, f"No client in the name of {owner} can be suspended: none is registered, or all are.")
        return go(request, back)

    def facts() -> list[tuple[str, str]]:
        found = [("In the name of", owner.name), *_facts(picked, count)]
        return [*found, ("Stay", f"{plural(in_files, 'client')} that only a file names")] if in_files else found

    return _asked(request, SUSPEND, picked, back=back, facts=facts, count=count, hidden=[("owner", key)])


@require_http_methods(METHODS)
@requires(Right.NARROW)
def client_quarantine(request: HttpRequest) -> HttpResponse:
    return _decide(request, QUARANTINE, _narrowable(request))


# ── Removal ────────────────────────────────────────────────────────────────────────────────────


@require_http_methods(METHODS)
@requires(Right.NARROW)
def client_remove(request: HttpRequest) -> HttpResponse:
    """Of the picked clients, or of a whole group of look-alikes those that nobody needs."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("client_removals"))
    given = request.POST if request.method == "POST" else request.GET
    group, needless = given.get("group", ""), given.getlist("hygiene")
    if group:
        wanted = [each for each in needless if each in (Hygiene.DEAD, Hygiene.DUPLICATE)] or [Hygiene.DEAD.value]
        picked = _narrowable(request).filter(hygiene_key=group.replace("\x00", ""), hygiene__in=wanted)
        picked = picked.exclude(pk__in=ClientRemoval.objects.open().values("client"))
        ids: list[str] = []
        count = picked.count()
        hidden = [("group", group), *(("hygiene", each) for each in wanted)]
    else:
        ids, picked = chosen(request, _narrowable(request))
        count, hidden = len(ids), []
    if not count:
        return nothing_picked(request, back, "clients")
    form = RemovalForm(
        request.POST if is_decided(request) else None,
        may_ignore_use=actor.may_everywhere(Right.NARROW),
        initial={"notice_days": removals.NOTICE.days, "quiet_days": removals.QUIET.days},
    )
    if is_decided(request) and form.is_valid():
        try:
            begun = removals.announce_removals(
                picked,
                notice=timedelta(days=form.cleaned_data["notice_days"]),
                quiet=timedelta(days=form.cleaned_data["quiet_days"]),
                is_despite_use=form.cleaned_data.get("is_despite_use", False),
                actor=actor,
                now=timezone.now(),
                reason=form.cleaned_data["reason"],
            )
        except InventoryError as exc:
            form.add_error(None, str(exc))
        else:
            _say(request, begun, "on the way out: their owners are told")
            return go(request, back)
    question = Question(
        title=f"Remove {plural(count, 'client')}",
        text="In steps, because a program whose registration vanishes at once simply breaks: owners are told, the "
        "clients are suspended here, then their registrations are deleted. Until that is done it can be withdrawn.",
        facts=[*_facts(picked, count), ("Deleted by", _deleted_by(picked, count))],
        form=form,
        submit="Begin the removal",
        back=back,
        ids=ids,
        hidden=hidden,
    )
    return ask(request, question)


def _deleted_by(picked: QuerySet[McpClient], count: int) -> str:
    held = picked.exclude(registration_reference="").count()
    by_hand = f"an operator at the authorization server, for {count - held} without a registration token"
    return "Keyreeve" if held == count else by_hand if not held else f"Keyreeve for {held}, {by_hand}"


@require_safe
@requires_reader
def client_removals(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rows = ClientRemoval.objects.visible_to(actor).select_related("client__owner", "client__authorization_server")
    bulk = []
    if actor.may(Right.NARROW):
        bulk.append(Bulk("Withdraw…", reverse("removal_withdraw"), icon="undo", key="w", tone="primary"))
    if actor.may(Right.ADMIT):
        bulk.append(Bulk("Try again…", reverse("removal_resume"), icon="busy"))
    context = {
        "here": "client_removals",
        "lede": "A registration that nobody needs is deleted in steps. What is used again is kept.",
    }
    return suited(REMOVALS, actor, Role.AUDITOR).respond(request, rows, bulk=bulk, context=context)


WITHDRAW = Verb(
    "Keep",
    "Withdraw the removal",
    "What a removal suspended becomes what it was before.",
    "kept",
    removals.withdraw_removals,
)
RESUME = Verb(
    "Try again to delete",
    "Try again",
    "The deletion is due at once, with the token that is referred to now.",
    "to be deleted now",
    removals.resume_removals,
)


@require_http_methods(METHODS)
@requires(Right.NARROW)
def removal_withdraw(request: HttpRequest) -> HttpResponse:
    return _about_removals(request, WITHDRAW)


@require_http_methods(METHODS)
@requires(Right.ADMIT)
def removal_resume(request: HttpRequest) -> HttpResponse:
    return _about_removals(request, RESUME)


def _about_removals(request: HttpRequest, verb: Verb) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("client_removals"))
    ids, picked = chosen(request, ClientRemoval.objects.visible_to(actor).open())
    if not ids:
        return nothing_picked(request, back, "removals")

    def facts() -> list[tuple[str, str]]:
        names = list(picked.order_by("pk").values_list(F("client__name"), flat=True)[:NAMED])
        return [("Client" if len(ids) == 1 else "Clients", some(names, NAMED, len(ids)))]

    return _asked(request, verb, picked, back=back, facts=facts, count=len(ids), ids=ids)


@require_http_methods(METHODS)
@requires(Right.DELIVER)
def client_registration_reference(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Say where the registration token of a client is kept, so that Keyreeve can delete its registration."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    client = get_object_or_404(_seen(request), pk=pk)
    back = reverse("client_detail", args=[client.pk])
    known = {"uri": client.registration_uri, "reference": client.registration_reference}
    form = RegistrationReferenceForm(request.POST if is_decided(request) else None, initial=known)
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        try:
            admission.refer_to_registration(
                client, given["reference"], uri=given["uri"], actor=actor, reason=given["reason"]
            )
        except NothingChosen as exc:
            form.add_error(None, str(exc))
        except (InventoryError, ProviderError) as exc:
            form.add_error("reference", str(exc))
        else:
            messages.success(request, "Recorded. The token is read only when the registration is deleted.")
            return go(request, back)
    question = Question(
        title="Where is its registration token kept?",
        text="With it, Keyreeve can delete the registration at the end of a removal. It is sent to the issuer alone.",
        form=form,
        submit="Record the reference",
        back=back,
    )
    return ask(request, question)
