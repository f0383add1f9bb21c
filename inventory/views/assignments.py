"""Who answers for things, where they run, what they are for: one question a page, for one row or for many."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from access.actors import Actor
from access.permissions import requires
from access.rights import Right
from inventory.actions import ownership
from inventory.errors import InventoryError
from inventory.forms import (
    SERVER_OWNERS,
    AssignOwnerForm,
    AssignServerOwnerForm,
    EnvironmentForm,
    ServerRoleForm,
)
from inventory.models import Credential, McpClient, McpServer, Owner
from inventory.states import OwnerKind
from inventory.views.questions import Question, ask, chosen, go, is_decided, nothing_picked, refuse, way_back
from web.wording import plural, some

METHODS = ["GET", "HEAD", "POST"]
NAMED = 3  # rows named in a question; the rest are counted
LOOKED_AT = 500


def mine(actor: Actor, rows: QuerySet[Any], *owner_fields: str) -> QuerySet[Any]:
    """What the actor may hand over: everything for reviewers; an owner only what they themselves answer for."""
    if actor.may_everywhere(Right.ASSIGN_OWNER):
        return rows
    own = Owner.objects.being(actor).values("pk")
    found = rows.none()
    for name in owner_fields:
        found |= rows.filter(**{f"{name}__in": own})
    return found


def which(rows: Sequence[Model], count: int) -> str:
    return some([str(row) for row in rows[:NAMED]], NAMED, count)


def _holders(owners: Sequence[Owner | None]) -> str:
    """Who answers so far, most first."""
    counts = Counter(str(owner) if owner else "nobody" for owner in owners)
    if len(counts) == 1:
        return next(iter(counts))
    return some([f"{name} ({count})" for name, count in counts.most_common(NAMED)], NAMED, len(counts))


def _new_owner(form: AssignOwnerForm, actor: Actor) -> Owner | None:
    """The owner chosen, or the one made on the way. None when making one was refused; the form says why."""
    given = form.cleaned_data
    if given["owner"]:
        owner: Owner = given["owner"]
        return owner
    kind = OwnerKind(given["new_kind"] or OwnerKind.PERSON)
    try:
        return ownership.create_owner(kind=kind, name=given["new_name"], email=given["new_email"], actor=actor)
    except ValidationError as exc:
        refuse(form, exc, AssignOwnerForm.refused)
        return None


def _assign(
    request: HttpRequest,
    form: AssignOwnerForm,
    *,
    question: Callable[[], Question],
    assign: Callable[[Owner], int],
    noun: str,
    back: str,
) -> HttpResponse:
    """The common end of the three owner questions: refuse with 422, or do it, say so, and go back."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not is_decided(request) or not form.is_valid():
        return ask(request, question())
    owner = _new_owner(form, actor)
    if owner is None:
        return ask(request, question())
    try:
        count = assign(owner)
    except InventoryError as exc:
        form.add_error("owner", str(exc))
        return ask(request, question())
    if count:
        messages.success(request, f"{owner} now answers for {plural(count, noun)}.")
    else:
        messages.info(request, f"Nothing changed: {owner} answers for it already.")
    return go(request, back)


@require_http_methods(METHODS)
@requires(Right.ASSIGN_OWNER)
def credential_assign_owner(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("credential_list"))
    ids, rows = chosen(request, mine(actor, Credential.objects.visible_to(actor), "owner"))
    if not ids:
        return nothing_picked(request, back, "credentials")
    form = AssignOwnerForm(request.POST if is_decided(request) else None, may_create=actor.may(Right.RECORD_OWNER))

    def question() -> Question:
        looked_at = list(rows.select_related("owner").order_by("name", "pk")[:LOOKED_AT])
        return Question(
            title=f"Assign an owner to {plural(len(ids), 'credential')}",
            text=f"{plural(len(ids), 'credential')} {'changes' if len(ids) == 1 else 'change'} hands. "
            "The new owner is asked about age, use and reviews from now on.",
            facts=[
                ("Credential" if len(ids) == 1 else "Credentials", which(looked_at, len(ids))),
                ("So far", _holders([row.owner for row in looked_at])),
            ],
            form=form,
            submit="Assign owner",
            back=back,
            ids=ids,
            template="inventory/_owner_fields.html",
        )

    def assign(owner: Owner) -> int:
        return ownership.assign_owner(rows, owner, actor=actor, reason=form.cleaned_data["reason"])

    return _assign(request, form, question=question, assign=assign, noun="credential", back=back)


@require_http_methods(METHODS)
@requires(Right.ASSIGN_OWNER)
def client_assign_owner(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("client_list"))
    ids, rows = chosen(request, mine(actor, McpClient.objects.visible_to(actor), "owner"))
    if not ids:
        return nothing_picked(request, back, "clients")
    form = AssignOwnerForm(request.POST if is_decided(request) else None, may_create=actor.may(Right.RECORD_OWNER))

    def question() -> Question:
        looked_at = list(rows.select_related("owner").order_by("name", "pk")[:LOOKED_AT])
        return Question(
            title=f"Assign an owner to {plural(len(ids), 'client')}",
            text="Owners answer for what a client may reach, and are asked when it changes.",
            facts=[
                ("Client" if len(ids) == 1 else "Clients", which(looked_at, len(ids))),
                ("So far", _holders([row.owner for row in looked_at])),
            ],
            form=form,
            submit="Assign owner",
            back=back,
            ids=ids,
            template="inventory/_owner_fields.html",
        )

    def assign(owner: Owner) -> int:
        return ownership.assign_client_owner(rows, owner, actor=actor, reason=form.cleaned_data["reason"])

    return _assign(request, form, question=question, assign=assign, noun="client", back=back)


@require_http_methods(METHODS)
@requires(Right.ASSIGN_OWNER)
def server_assign_owner(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("server_list"))
    fields = dict(SERVER_OWNERS)
    role = request.POST.get("role") or request.GET.get("role", "")
    handed_over = [role] if role in fields else list(fields)
    ids, rows = chosen(request, mine(actor, McpServer.objects.visible_to(actor), *handed_over))
    if not ids:
        return nothing_picked(request, back, "servers")
    form = AssignServerOwnerForm(
        request.POST if is_decided(request) else None,
        may_create=actor.may(Right.RECORD_OWNER),
        initial={"role": role if role in fields else ""},
    )

    def question() -> Question:
        looked_at = list(rows.select_related(*handed_over).order_by("name", "pk")[:LOOKED_AT])
        holders = [
            (f"{fields[each]} so far", _holders([getattr(row, each) for row in looked_at])) for each in handed_over
        ]
        return Question(
            title=f"Assign an owner to {plural(len(ids), 'server')}",
            text="A server has three: for identities and access, for the platform it runs on, for the application.",
            facts=[("Server" if len(ids) == 1 else "Servers", which(looked_at, len(ids))), *holders],
            form=form,
            submit="Assign owner",
            back=back,
            ids=ids,
            template="inventory/_owner_fields.html",
        )

    def assign(owner: Owner) -> int:
        given = form.cleaned_data
        return ownership.assign_server_owner(rows, given["role"], owner, actor=actor, reason=given["reason"])

    return _assign(request, form, question=question, assign=assign, noun="server", back=back)


def _assign_environment(
    request: HttpRequest, rows: QuerySet[Any], ids: list[str], noun: str, back: str
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not ids:
        return nothing_picked(request, back, f"{noun}s")
    form = EnvironmentForm(request.POST if is_decided(request) else None, initial=_only_environment(rows))
    if is_decided(request) and form.is_valid():
        environment = form.cleaned_data["environment"]
        count = ownership.assign_environment(rows, environment, actor=actor)
        where = f"in {environment}" if environment else "in no known environment"
        if count:
            messages.success(request, f"{plural(count, noun)} {'is' if count == 1 else 'are'} now {where}.")
        else:
            messages.info(request, f"Nothing changed: {'it is' if len(ids) == 1 else 'they are'} {where} already.")
        return go(request, back)
    looked_at = list(rows.order_by("name", "pk")[:NAMED])
    facts = [(noun.capitalize() if len(ids) == 1 else f"{noun.capitalize()}s", which(looked_at, len(ids)))]
    question = Question(
        title=f"Say where {plural(len(ids), noun)} {'runs' if len(ids) == 1 else 'run'}",
        text="Policies and severities follow the environment: what runs in production is judged hardest.",
        facts=facts,
        form=form,
        submit="Set environment",
        back=back,
        ids=ids,
    )
    return ask(request, question)


def _only_environment(rows: QuerySet[Any]) -> dict[str, Any]:
    """The environment that all rows share, so that the form begins with what is so."""
    found = list(rows.order_by().values_list("environment", flat=True).distinct()[:2])
    return {"environment": found[0]} if len(found) == 1 else {}


@require_http_methods(METHODS)
@requires(Right.CLASSIFY)
def credential_assign_environment(request: HttpRequest) -> HttpResponse:
    ids, rows = chosen(request, Credential.objects.visible_to(request.actor))  # type: ignore[attr-defined]
    back = way_back(request, reverse("credential_list"))
    return _assign_environment(request, rows, ids, "credential", back)


@require_http_methods(METHODS)
@requires(Right.CLASSIFY)
def server_assign_environment(request: HttpRequest) -> HttpResponse:
    ids, rows = chosen(request, McpServer.objects.visible_to(request.actor))  # type: ignore[attr-defined]
    return _assign_environment(request, rows, ids, "server", way_back(request, reverse("server_list")))


@require_http_methods(METHODS)
@requires(Right.CLASSIFY)
def server_classify(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("server_list"))
    ids, rows = chosen(request, McpServer.objects.visible_to(actor))
    if not ids:
        return nothing_picked(request, back, "servers")
    known = list(rows.order_by().values("role", "vendor").distinct()[:2])
    is_one_vendor = len({row["vendor"] for row in known}) == 1
    form = ServerRoleForm(
        request.POST if is_decided(request) else None, initial=known[0] if len(known) == 1 else {"role": ""}
    )
    if is_decided(request) and form.is_valid():
        # Left empty for servers of several vendors, the field says nothing of any of them.
        vendor = form.cleaned_data["vendor"] or ("" if is_one_vendor else None)
        count = ownership.classify_servers(rows, form.cleaned_data["role"], vendor=vendor, actor=actor)
        words = str(dict(form.fields["role"].choices)[form.cleaned_data["role"]]).partition(":")[0].lower()  # type: ignore[attr-defined]
        if count:
            messages.success(request, f"{plural(count, 'server')} now counted as {words}.")
        else:
            messages.info(request, f"Nothing changed: already counted as {words}.")
        return go(request, back)
    looked_at = list(rows.order_by("name", "pk")[:NAMED])
    question = Question(
        title=f"Classify {plural(len(ids), 'server')}",
        text="What a server is for decides which rules it must meet and whose consent its calls need.",
        facts=[("Server" if len(ids) == 1 else "Servers", which(looked_at, len(ids)))],
        form=form,
        submit="Classify",
        back=back,
        ids=ids,
    )
    return ask(request, question)
