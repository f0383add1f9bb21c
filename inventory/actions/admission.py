"""Who may be a client: admitted, suspended, reinstated, or put back to be looked at again.

All of it is Keyreeve's own record. An authorization server goes on accepting a client whatever is decided here, until
its registration is deleted there or its tokens are revoked; removal (`removals`) does the first.

To take away is for reviewers, and for an owner where the client is theirs. To let in is for reviewers alone: who
registered a client dynamically is not known, so an owner might be letting in what they registered themselves. A
reviewer who also answers for the client leaves it to another one for the same reason.
"""

from collections.abc import Collection
from datetime import datetime

from django.db.models import QuerySet

from access.actors import Actor
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.errors import NothingChosen, OwnClient, ReferenceMisplaced, RemovalUnderWay
from inventory.models import ClientRemoval, McpClient, Owner
from inventory.outside import references
from inventory.signals import clients_admitted
from inventory.states import Admission
from providers.addresses import origin

Clients = QuerySet[McpClient]


@action
def admit(clients: Clients, *, actor: Actor, now: datetime, reason: str) -> int:
    """Let quarantined clients in; how many were waiting."""
    return _let_in(clients, Admission.QUARANTINED, Event.CLIENT_ADMITTED, actor=actor, now=now, reason=reason)


@action
def reinstate(clients: Clients, *, actor: Actor, now: datetime, reason: str) -> int:
    """Let suspended clients in again; how many were suspended."""
    return _let_in(clients, Admission.SUSPENDED, Event.CLIENT_REINSTATED, actor=actor, now=now, reason=reason)


@action
def suspend(clients: Clients, *, actor: Actor, now: datetime, reason: str) -> int:
    """Record that clients are not to be used; how many changed. Nothing changes at their authorization servers."""
    chosen = locked(clients.narrowable_by(actor))  # type: ignore[attr-defined]
    moved = _in(chosen, {Admission.ADMITTED, Admission.QUARANTINED})
    return move(moved, Admission.SUSPENDED, Event.CLIENT_SUSPENDED, actor=actor, now=now, reason=reason)


@action
def quarantine(clients: Clients, *, actor: Actor, now: datetime, reason: str) -> int:
    """Have clients looked at again before anybody relies on them; how many changed."""
    chosen = locked(clients.narrowable_by(actor))  # type: ignore[attr-defined]
    moved = _in(chosen, {Admission.ADMITTED})
    return move(moved, Admission.QUARANTINED, Event.CLIENT_QUARANTINED, actor=actor, now=now, reason=reason)


def _let_in(clients: Clients, was: Admission, event: Event, *, actor: Actor, now: datetime, reason: str) -> int:
    if not actor.may(Right.ADMIT):
        raise NothingChosen
    moved = _in(locked(clients), {was})
    own = set(Owner.objects.being(actor).values_list("pk", flat=True))
    for client in moved:
        if client.owner_id in own:
            raise OwnClient(client)
    leaving = ClientRemoval.objects.open().filter(client__in=[client.pk for client in moved]).select_related("client")
    if (removal := leaving.first()) is not None:
        raise RemovalUnderWay(removal.client)
    clients_admitted.send(McpClient, clients=moved, actor=actor, now=now)
    return move(moved, Admission.ADMITTED, event, actor=actor, now=now, reason=reason)


@action
def refer_to_registration(client: McpClient, reference: str, *, uri: str = "", actor: Actor, reason: str) -> bool:
    """Say where the registration access token of a client is kept, or that nobody keeps it; whether it changed.

    `uri` says where the registration is managed, where no listing does. It must be at the issuer: the token is sent
    to that host and to no other. The token itself is not read now. Raises `Refused`, `Permanent` or
    ReferenceMisplaced.
    """
    chosen = locked(McpClient.objects.filter(pk=client.pk).select_related("authorization_server"))[0]
    uri = uri or chosen.registration_uri
    if reference:
        reference = str(references().check(reference))
        issuer = chosen.authorization_server
        if issuer is None or not uri:
            raise ReferenceMisplaced("Where its registration is managed is not known. Say it, too.")
        if not origin(uri) or origin(uri) != origin(issuer.issuer):
            raise ReferenceMisplaced("Its registration is managed at another host than its issuer's.")
    if (chosen.registration_reference, chosen.registration_uri) == (reference, uri):
        return False
    before, chosen.registration_reference, chosen.registration_uri = chosen.registration_reference, reference, uri
    chosen.save(update_fields=["registration_reference", "registration_uri"])
    record(
        Event.CLIENT_REGISTRATION_REFERENCED,
        actor=actor,
        subject=chosen,
        detail={"from": before or None, "to": reference or None, "at": uri, "reason": reason},
    )
    return True


def locked(clients: Clients) -> list[McpClient]:
    """Present clients that a server registered, locked in one order. Raises NothingChosen when there is none."""
    registered = clients.present().registered()  # type: ignore[attr-defined]
    chosen = in_order(registered)
    if not chosen:
        raise NothingChosen
    return chosen


def _in(chosen: list[McpClient], admissions: Collection[Admission]) -> list[McpClient]:
    return [client for client in chosen if client.admission in admissions]


def move(moved: Collection[McpClient], to: Admission, event: Event, *, actor: Actor, now: datetime, reason: str) -> int:
    """Part of an action that holds these rows: one statement for all of them, one audit entry for each."""
    McpClient.objects.filter(pk__in=[client.pk for client in moved]).update(
        admission=to, admission_changed_at=now, admission_reason=reason
    )
    for client in moved:
        detail = {"from": client.admission, "to": to.value, "reason": reason}
        record(event, actor=actor, subject=client, detail=detail)
    return len(moved)
