"""Owners: who they are, what they answer for, and whether they still do."""

from operator import attrgetter
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Exists, F, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from access.permissions import requires, requires_reader
from access.rights import Right
from access.roles import Role
from history.past import instant
from inventory.actions.ownership import change_owner, create_owner
from inventory.filters import OwnerFilter
from inventory.forms import OwnerChangeForm, OwnerForm
from inventory.models import ClientRemoval, Credential, McpClient, McpServer, Owner, OwnershipQuestion
from inventory.states import OwnerKind, QuestionState
from inventory.views.counts import CappedCount
from inventory.views.histories import history_of
from inventory.views.presence import suited
from inventory.views.questions import Question, ask, go, is_decided, refuse, way_back
from web.lists import Column, Empty, ListPage, View
from web.paging import COUNT_LIMIT, Capped, Ordering
from web.past import answers_past

SHOWN = 10  # of each noun on an owner's own page; the lists show the rest
HISTORY = 20


OWNERS = ListPage(
    name="owners",
    title="Owners",
    noun="owner",
    columns=(
        Column("name", "Owner", value=attrgetter("name"), sort="name"),
        Column("email", "E-mail", value=attrgetter("email"), priority=3),
        Column("kind", "Kind", value=lambda owner: owner.get_kind_display(), priority=3),
        Column("credentials", "Credentials", value=attrgetter("credential_count"), is_numeric=True),
        Column("servers", "Servers", value=attrgetter("server_count"), priority=2, is_numeric=True),
        Column("active", "Active", value=attrgetter("is_active"), priority=2),
    ),
    orderings=(Ordering("name", ("name",), ascending_words="by name", descending_words="by name, backwards"),),
    filterset=OwnerFilter,
    row_template="inventory/_owner_row.html",
    template="inventory/owner_list.html",
    views=(
        View("All"),
        View("People", "kind=person"),
        View("Teams", "kind=team"),
        View("Inactive", "is_active=false"),
    ),
    empty=Empty(
        "No owners yet",
        "An owner is the person or team who answers for credentials and servers. Without one, nobody is asked.",
        "/owners/new/",
        "Create an owner",
    ),
    csv=(
        ("id", attrgetter("pk")),
        ("kind", attrgetter("kind")),
        ("name", attrgetter("name")),
        ("email", attrgetter("email")),
        ("external_id", attrgetter("external_id")),
        ("is_active", attrgetter("is_active")),
        ("credentials", attrgetter("credential_count")),
        ("servers", attrgetter("server_count")),
    ),
)


def answered_for_by(owner: Any) -> Q:
    return Q(iam_owner=owner) | Q(platform_owner=owner) | Q(application_owner=owner)


def listed(owners: QuerySet[Owner]) -> QuerySet[Any]:
    servers = McpServer.objects.present().filter(answered_for_by(OuterRef("pk")))
    return owners.annotate(
        credential_count=CappedCount(Credential.objects.live().filter(owner=OuterRef("pk"))),
        server_count=CappedCount(servers),
    )


@require_safe
@requires_reader
@answers_past
def owner_list(request: HttpRequest) -> HttpResponseBase:
    actor = request.actor  # type: ignore[attr-defined]
    return suited(OWNERS, actor, Role.REVIEWER).respond(
        request, listed(Owner.objects.visible_to(actor)), context={"may_create": actor.may(Right.RECORD_OWNER)}
    )


@require_safe
@requires_reader
@answers_past
def owner_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    rows = Owner.objects.visible_to(actor).select_related("manager", "deputy", "user")
    waits, leaving = Exists(_asked(OuterRef("pk"), actor)), Exists(_removals(OuterRef("pk"), actor))
    held = _held(OuterRef("pk"), actor)
    numbers = {name: CappedCount(each, limit=COUNT_LIMIT) for name, each in held.items()}
    owner: Any = get_object_or_404(rows.annotate(is_waited_for=waits, has_removals=leaving, **numbers), pk=pk)
    credentials, servers, clients, _ = _held(owner, actor).values()
    context = {
        "owner": owner,
        "credentials": list(credentials.select_related("environment").order_by("-risk", "-score", "-id")[:SHOWN]),
        "servers": [(server, _parts(server, owner)) for server in servers.order_by("-risk", "-id")[:SHOWN]],
        "clients": list(clients.order_by("name", "id")[:SHOWN]),
        "removals": list(_removals(owner, actor).order_by(F("next_at").asc(nulls_last=True), "pk")[:SHOWN])
        if owner.has_removals
        else [],
        "asked": list(_asked(owner, actor).order_by("answer_by", "pk")[:SHOWN]) if owner.is_waited_for else [],
        "counts": {name: Capped.of(getattr(owner, name)) for name in numbers},
        "history": history_of(owner, actor)[:HISTORY],
        "may_change": actor.may(Right.RECORD_OWNER),
    }
    return render(request, "inventory/owner_detail.html", context)


def _held(owner: Any, actor: Any) -> dict[str, QuerySet[Any]]:
    """What an owner answers for, by noun, and what of it is at risk."""
    credentials = Credential.objects.visible_to(actor).live().filter(owner=owner)
    return {
        "credentials": credentials,
        "servers": McpServer.objects.visible_to(actor).present().filter(answered_for_by(owner)),
        "clients": McpClient.objects.visible_to(actor).present().filter(owner=owner),
        "at_risk": credentials.filter(open_findings__gt=0),
    }


def _removals(owner: Any, actor: Any) -> QuerySet[ClientRemoval]:
    return ClientRemoval.objects.visible_to(actor).open().filter(client__owner=owner).select_related("client")


def _asked(owner: Any, actor: Any) -> QuerySet[OwnershipQuestion]:
    """What they are asked, and what of theirs others are asked or nobody accepted."""
    if instant():
        return OwnershipQuestion.objects.none()  # of the past nobody is asked anything
    rows = OwnershipQuestion.objects.visible_to(actor).select_related("owner", "asked")
    waiting = Q(state__in=[QuestionState.OPEN, QuestionState.QUARANTINED])
    return rows.filter(waiting, Q(asked=owner) | Q(owner=owner))


def _parts(server: McpServer, owner: Model) -> str:
    named = (("IAM", server.iam_owner_id), ("platform", server.platform_owner_id))
    held = [words for words, pk in (*named, ("application", server.application_owner_id)) if pk == owner.pk]
    words = ", ".join(held)
    return words[:1].upper() + words[1:]


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.RECORD_OWNER)
def owner_create(request: HttpRequest) -> HttpResponse:
    form = OwnerForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        given = {**form.cleaned_data, "kind": OwnerKind(form.cleaned_data["kind"])}
        try:
            owner = create_owner(**given, actor=request.actor)  # type: ignore[attr-defined]
        except ValidationError as exc:
            refuse(form, exc, OwnerForm.refused)
        else:
            messages.success(request, f"{owner} can answer for things now.")
            return go(request, reverse("owner_detail", args=[owner.pk]))
    question = Question(
        title="Create an owner",
        text="The person or team who answers for credentials and servers, and whom reviews ask.",
        form=form,
        submit="Create owner",
        back=way_back(request, reverse("owner_list")),
    )
    return ask(request, question)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.RECORD_OWNER)
def owner_change(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What is known of an owner, and who is in line for them."""
    actor = request.actor  # type: ignore[attr-defined]
    rows = Owner.objects.visible_to(actor).select_related("manager", "deputy")
    owner = get_object_or_404(rows, pk=pk)
    form = OwnerChangeForm(request.POST if is_decided(request) else None, owner=owner)
    back = reverse("owner_detail", args=[pk])
    if is_decided(request) and form.is_valid():
        try:
            change_owner(owner, actor=actor, now=timezone.now(), **form.cleaned_data)
        except ValidationError as exc:
            refuse(form, exc, OwnerChangeForm.refused)
        else:
            messages.success(request, f"{owner} is recorded so.")
            return go(request, back)
    question = Question(
        title=f"Change {owner.name}",
        text="Where they do not accept what is in their name, their deputy is asked, then their manager.",
        form=form,
        submit="Save",
        back=back,
    )
    return ask(request, question)


@require_POST
@requires(Right.RECORD_OWNER)
def owner_activate(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Say that an owner has left, or is back. What they answered for stays in their name until it is handed over."""
    actor = request.actor  # type: ignore[attr-defined]
    owner = get_object_or_404(Owner.objects.visible_to(actor), pk=pk)
    is_active = request.POST.get("is_active") == "true"
    change_owner(owner, actor=actor, now=timezone.now(), is_active=is_active)
    if is_active:
        messages.success(request, f"{owner} is active again.")
    else:
        messages.success(request, f"{owner} is inactive. What they answered for needs new owners.")
    return redirect("owner_detail", pk)
