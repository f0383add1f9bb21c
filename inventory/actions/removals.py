"""Removing clients in stages, because a desktop program whose registration vanishes at once simply breaks.

The owner is told, the client is suspended, a quiet time passes, then its registration is deleted. Each step stands in
the row as a time that it is due. A worker claims the row by a conditional update, and every later write repeats its
token. `inventory.removing` calls the authorization server between two of these actions, never inside one.

Nothing is removed until its server was seen without it: it confirmed the deletion, or a sync no longer lists it. A
server refuses a wrong registration token in the same words as that of a client it no longer has, so a refusal after a
deletion of unknown outcome proves neither, and a sync is asked for to tell.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db.models import F, Q, QuerySet

from access.actors import Actor
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.actions.admission import locked, move
from inventory.errors import DeletionUnderWay, NeedsReviewer, NothingChosen
from inventory.models import ClientRemoval, Connection, McpClient
from inventory.states import Admission, RemovalStage

NOTICE = timedelta(days=7)  # between telling the owner and suspending
QUIET = timedelta(days=14)  # between suspending and deleting
LONGEST = timedelta(days=90)
MOST_AT_ONCE = 5_000
LEASE = timedelta(minutes=5)
MOST_ATTEMPTS = 10
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=6)

Removals = QuerySet[ClientRemoval]


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's time-limited claim on a removal."""

    removal: ClientRemoval
    token: UUID


# ── By people ──────────────────────────────────────────────────────────────────────────────────


@action
def announce_removals(
    clients: QuerySet[McpClient],
    *,
    notice: timedelta = NOTICE,
    quiet: timedelta = QUIET,
    is_despite_use: bool = False,
    actor: Actor,
    now: datetime,
    reason: str,
) -> int:
    """Begin the removal of clients that are not being removed yet, MOST_AT_ONCE at most; how many began.

    A client that is used again stops its removal, unless it goes `is_despite_use`, which a reviewer may say.
    """
    if is_despite_use and not actor.may_everywhere(Right.NARROW):
        raise NeedsReviewer
    allowed = clients.narrowable_by(actor)  # type: ignore[attr-defined]
    first = list(allowed.present().registered().order_by("pk").values_list("pk", flat=True)[:MOST_AT_ONCE])
    chosen = locked(McpClient.objects.filter(pk__in=first).select_related("owner"))
    leaving = set(ClientRemoval.objects.open().filter(client__in=first).values_list("client", flat=True))
    begun = [client for client in chosen if client.pk not in leaving and client.admission != Admission.REMOVED]
    ClientRemoval.objects.bulk_create(
        [
            ClientRemoval(
                client=client,
                reason=reason,
                requested_by=actor.label[:200],
                announced_at=now,
                stage_at=now,
                next_at=now + notice,
                quiet=quiet,
                known_use_at=client.last_used_at,
                is_despite_use=is_despite_use,
            )
            for client in begun
        ],
        batch_size=1_000,
    )
    for client in begun:
        detail = {
            "told": str(client.owner) if client.owner else "nobody, it has no owner",
            "suspended_on": (now + notice).isoformat(),
            "deleted_after": (now + notice + quiet).isoformat(),
            "reason": reason,
        }
        record(Event.CLIENT_REMOVAL_ANNOUNCED, actor=actor, subject=client, detail=detail)
    return len(begun)


@action
def withdraw_removals(removals: Removals, *, actor: Actor, now: datetime, reason: str) -> int:
    """Keep clients after all; how many. What a removal had suspended becomes what it was before.

    All of them, or none: raises DeletionUnderWay when a worker is deleting one this moment.
    """
    chosen = _locked(removals.withdrawable_by(actor))  # type: ignore[attr-defined]
    for removal in chosen:
        if removal.lease_until is not None and removal.lease_until > now:
            raise DeletionUnderWay(removal.client)
    for removal in chosen:
        _end(removal, RemovalStage.WITHDRAWN, reason, now=now)
        _restore(removal, now=now, reason=reason, actor=actor)
        detail = {"stage": removal.stage, "reason": reason}
        record(Event.CLIENT_REMOVAL_WITHDRAWN, actor=actor, subject=removal.client, detail=detail)
    return len(chosen)


@action
def resume_removals(removals: Removals, *, actor: Actor, now: datetime, reason: str) -> int:
    """Try again to delete what stalled or waits for somebody; how many."""
    if not actor.may(Right.ADMIT):
        raise NothingChosen
    held = _locked(removals.filter(stage__in=[RemovalStage.STALLED, RemovalStage.WAITING]))
    for removal in held:
        # One whose deletion was begun goes on as such: what came of that is still not known.
        stage = RemovalStage.DELETING if removal.attempts else RemovalStage.SUSPENDED
        _change(removal, now=now, stage=stage, next_at=now)
        record(Event.CLIENT_REMOVAL_RESUMED, actor=actor, subject=removal.client, detail={"reason": reason})
    return len(held)


# ── By workers ─────────────────────────────────────────────────────────────────────────────────


def claim(removal_id: UUID, *, now: datetime) -> Lease | None:
    """Claim a removal whose step is due. None when another worker has it, or when it is not due after all."""
    token = uuid4()
    due = ClientRemoval.objects.due(now).filter(pk=removal_id)
    if not due.update(lease_token=token, lease_until=now + LEASE):
        return None
    related = ("client__owner", "client__authorization_server", "client__connection")
    return Lease(ClientRemoval.objects.select_related(*related).get(pk=removal_id), token)


@action
def suspend_client(lease: Lease, *, actor: Actor, now: datetime) -> bool:
    """The second stage; whether the claim still stood."""
    removal = _held(lease)
    if removal is None:
        return False
    client = removal.client
    _change(
        removal,
        now=now,
        stage=RemovalStage.SUSPENDED,
        suspended_at=now,
        next_at=now + removal.quiet,
        admission_before=client.admission,
    )
    if client.admission != Admission.SUSPENDED:
        reason = f"Being removed: {removal.reason}"
        move([client], Admission.SUSPENDED, Event.CLIENT_SUSPENDED, actor=actor, now=now, reason=reason)
    return True


@action
def begin_deletion(lease: Lease, *, actor: Actor, now: datetime) -> bool:
    """Commit the intent to delete, before the server is asked; whether the claim still stood."""
    removal = _held(lease)
    if removal is None:
        return False
    ClientRemoval.objects.filter(pk=removal.pk).update(
        stage=RemovalStage.DELETING, attempts=F("attempts") + 1, next_at=now, lease_until=now + LEASE
    )
    if not removal.attempts:
        detail = {"at": removal.client.registration_uri, "reason": removal.reason}
        record(Event.CLIENT_DELETION_BEGUN, actor=actor, subject=removal.client, detail=detail)
    return True


@action
def finish(lease: Lease, *, proof: str, actor: Actor, now: datetime) -> bool:
    """The server was seen without the client; whether the claim still stood."""
    removal = _held(lease)
    if removal is None:
        return False
    _finish(removal, proof=proof, actor=actor, now=now)
    return True


@action
def stop(lease: Lease, *, why: str, actor: Actor, now: datetime) -> bool:
    """End a removal because of what was seen; whether the claim still stood."""
    removal = _held(lease)
    if removal is None:
        return False
    _stop(removal, why=why, actor=actor, now=now)
    return True


@action
def stall(lease: Lease, *, error: str, actor: Actor, now: datetime) -> bool:
    """Wait for a person; whether the claim still stood."""
    removal = _held(lease)
    if removal is None:
        return False
    _change(removal, now=now, stage=RemovalStage.STALLED, next_at=None, error=error)
    record(Event.CLIENT_REMOVAL_STALLED, actor=actor, subject=removal.client, detail={"reason": error})
    return True


@action
def await_sync(lease: Lease, *, error: str, actor: Actor, now: datetime, is_urgent: bool = False) -> bool:
    """Wait for a sync to see the client gone, soon where it `is_urgent`; whether the claim still stood."""
    removal = _held(lease)
    if removal is None:
        return False
    _change(removal, now=now, stage=RemovalStage.WAITING, next_at=None, error=error)
    record(Event.CLIENT_DELETION_HANDED_OVER, actor=actor, subject=removal.client, detail={"reason": error})
    if is_urgent:
        planned = Connection.objects.filter(pk=removal.client.connection_id, is_enabled=True)
        planned.filter(Q(due_at__gt=now) | Q(due_at=None)).update(due_at=now)
    return True


@action
def retry_later(lease: Lease, *, error: str, at: datetime, now: datetime) -> bool:
    """Try again at that time; whether the claim still stood. What came of this attempt is not known."""
    removal = _held(lease)
    if removal is None:
        return False
    _change(removal, now=now, next_at=at, error=error)
    return True


# ── By syncs ───────────────────────────────────────────────────────────────────────────────────


def settle_removals(issuer: str, *, looked_at: datetime, actor: Actor, now: datetime) -> dict[str, int]:
    """Part of the action that ends a look at an authorization server: what the listing says about removals.

    A client that is gone is removed. One that was used since its removal was announced is kept. One that is listed
    although a deletion was answered by a refusal was not deleted, and somebody must see to it. One that was removed
    and is listed again is nobody's: it waits to be looked at.
    """
    open_ones = ClientRemoval.objects.open().filter(client__authorization_server__issuer=issuer)
    used = Q(client__last_used_at__gt=F("known_use_at")) | Q(known_use_at=None, client__last_used_at__isnull=False)
    is_used = Q(is_despite_use=False) & used
    told = Q(client__gone_at__isnull=False) | is_used | Q(stage=RemovalStage.WAITING, attempts__gt=0)
    counts = {"removals_finished": 0, "removals_stopped": 0, "removals_stalled": 0, "clients_back": 0}
    for removal in _in_order(open_ones.filter(told)):
        client = removal.client
        if client.gone_at is not None:
            _finish(removal, proof="Its authorization server no longer lists it.", actor=actor, now=now)
            counts["removals_finished"] += 1
        elif is_used_again(removal):
            _stop(removal, why=used_again(removal), actor=actor, now=now)
            counts["removals_stopped"] += 1
        elif removal.stage_at < looked_at:  # else the listing may have been read before the last attempt
            error = "The authorization server refuses the registration token and still lists the client."
            _change(removal, now=now, stage=RemovalStage.STALLED, error=error)
            record(Event.CLIENT_REMOVAL_STALLED, actor=actor, subject=client, detail={"reason": error})
            counts["removals_stalled"] += 1
    back = McpClient.objects.present().filter(
        authorization_server__issuer=issuer, admission=Admission.REMOVED, admission_changed_at__lt=looked_at
    )
    returned = in_order(back)
    reason = "Listed again after it was removed."
    counts["clients_back"] = move(
        returned, Admission.QUARANTINED, Event.CLIENT_QUARANTINED, actor=actor, now=now, reason=reason
    )
    return counts


def is_used_again(removal: ClientRemoval) -> bool:
    """A use is known of which nobody knew when the removal was announced."""
    used_at = removal.client.last_used_at
    if removal.is_despite_use or used_at is None:
        return False
    return removal.known_use_at is None or used_at > removal.known_use_at


def used_again(removal: ClientRemoval) -> str:
    used_at = removal.client.last_used_at
    return f"It was used on {used_at:%Y-%m-%d} at {used_at:%H:%M} UTC, so somebody needs it." if used_at else ""


# ── Rows ───────────────────────────────────────────────────────────────────────────────────────


def _locked(removals: Removals) -> list[ClientRemoval]:
    """Open removals with their clients, locked in one order. Raises NothingChosen when there is none."""
    chosen = _in_order(removals.filter(ended_at=None))
    if not chosen:
        raise NothingChosen
    return chosen


def _in_order(removals: Removals) -> list[ClientRemoval]:
    """Clients before removals, each by key: the order in which a person's act takes them, too."""
    found = list(removals.values_list("pk", "client_id"))
    clients = McpClient.objects.filter(pk__in=[client for _, client in found])
    in_order(clients.only("pk"))
    rows = ClientRemoval.objects.filter(pk__in=[pk for pk, _ in found], ended_at=None)
    return in_order(rows.select_related("client__connection"))


def _held(lease: Lease) -> ClientRemoval | None:
    """The row of a claim that still stands; None when somebody withdrew it or another worker took it over."""
    rows = _in_order(ClientRemoval.objects.filter(pk=lease.removal.pk))
    return rows[0] if rows and rows[0].lease_token == lease.token else None


def _change(removal: ClientRemoval, *, now: datetime, **values: Any) -> None:
    """What is so from now on; the row is free to be claimed."""
    free: dict[str, Any] = {"error": "", "lease_token": None, "lease_until": None, "stage_at": now}
    ClientRemoval.objects.filter(pk=removal.pk).update(**{**free, **values})


def _end(removal: ClientRemoval, stage: RemovalStage, why: str, *, now: datetime) -> None:
    _change(removal, now=now, stage=stage, next_at=None, ended_at=now, ended_reason=why)


def _finish(removal: ClientRemoval, *, proof: str, actor: Actor, now: datetime) -> None:
    client = removal.client
    _end(removal, RemovalStage.REMOVED, proof, now=now)
    if client.gone_at is None:
        # It was last seen by the look before; the next one must not find it as if nobody had removed it.
        seen_at = max(client.first_seen_at, client.connection.last_complete_at or client.first_seen_at)
        McpClient.objects.filter(pk=client.pk).update(gone_at=now, last_seen_at=seen_at)
    move([client], Admission.REMOVED, Event.CLIENT_REMOVED, actor=actor, now=now, reason=proof)


def _stop(removal: ClientRemoval, *, why: str, actor: Actor, now: datetime) -> None:
    _end(removal, RemovalStage.STOPPED, why, now=now)
    _restore(removal, now=now, reason=why, actor=actor)
    detail = {"stage": removal.stage, "reason": why}
    record(Event.CLIENT_REMOVAL_STOPPED, actor=actor, subject=removal.client, detail=detail)


def _restore(removal: ClientRemoval, *, now: datetime, reason: str, actor: Actor) -> None:
    """Undo the suspension that the removal made, and none that somebody else did."""
    client, before = removal.client, removal.admission_before
    if client.admission != Admission.SUSPENDED or before in ("", Admission.SUSPENDED):
        return
    events = {Admission.ADMITTED: Event.CLIENT_REINSTATED, Admission.QUARANTINED: Event.CLIENT_QUARANTINED}
    event = events[Admission(before)]
    move([client], Admission(before), event, actor=actor, now=now, reason=reason)
