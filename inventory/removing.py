"""Takes one step of a client's removal: claim, look at what is due, ask its server, write what came of it.

The server is asked with no transaction open. A worker that dies after the server deleted and before that was written
leaves a row that says "deletion under way". The next one deletes again, which does no harm to what is gone.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, TypeVar
from uuid import UUID

from access.actors import Actor
from inventory.actions import removals
from inventory.actions.removals import FIRST_PAUSE, LONGEST_PAUSE, MOST_ATTEMPTS, Lease
from inventory.listings.base import Clock
from inventory.listings.oauth import Setup
from inventory.models import ClientRemoval
from inventory.outside import USER_AGENT, guard, references
from inventory.states import ConnectionKind, RemovalStage
from providers.base import Secret
from providers.errors import Denied, Permanent, ProviderError, Transient
from providers.fetch import Fetcher
from providers.oauth import AuthorizationServer, authority

T = TypeVar("T")
REFUSES_REPEATED = (
    "Its authorization server no longer takes the registration token, as it does once a registration is gone. "
    "The next sync tells."
)


class Deleted(Enum):
    YES = auto()
    UNHEARD = auto()  # the server knows no registration at that address
    PERHAPS = auto()  # the server refuses the token, which it also does for a client that it no longer has


def advance(removal_id: UUID, *, clock: Clock, actor: Actor) -> bool:
    """Take the step that is due; whether there was one to take."""
    lease = removals.claim(removal_id, now=clock())
    if lease is None:
        return False
    removal = lease.removal
    if removal.client.gone_at is not None:
        proof = "Its authorization server no longer lists it."
        return removals.finish(lease, proof=proof, actor=actor, now=clock())
    # Once a deletion was begun, only what the server says counts.
    if not removal.attempts and removals.is_used_again(removal):
        return removals.stop(lease, why=removals.used_again(removal), actor=actor, now=clock())
    if removal.stage == RemovalStage.ANNOUNCED:
        return removals.suspend_client(lease, actor=actor, now=clock())
    if not removal.client.registration_reference:
        return removals.await_sync(lease, error=by_hand(removal), actor=actor, now=clock())
    if removal.attempts >= MOST_ATTEMPTS:
        error = f"Tried {removal.attempts} times. {removal.error}".strip()
        return removals.stall(lease, error=error, actor=actor, now=clock())
    if not removals.begin_deletion(lease, actor=actor, now=clock()):
        return False
    return _delete(lease, clock=clock, actor=actor)


def by_hand(removal: ClientRemoval) -> str:
    """What an operator must do where Keyreeve holds no registration token."""
    client = removal.client
    place = client.authorization_server.issuer if client.authorization_server else "its authorization server"
    return (
        f"No reference to its registration token is held. Delete the client {client.client_id} at {place}; "
        "the next sync sees that it is gone."
    )


def _delete(lease: Lease, *, clock: Clock, actor: Actor) -> bool:
    removal = lease.removal
    try:
        deleted = _asked(removal, lambda server, token: _gone(server, removal, token))
    except Transient as exc:
        pause = exc.retry_after or _pause(removal.attempts)
        return removals.retry_later(lease, error=str(exc), at=clock() + pause, now=clock())
    except ProviderError as exc:
        return removals.stall(lease, error=str(exc), actor=actor, now=clock())
    if deleted is Deleted.PERHAPS:
        return removals.await_sync(lease, error=REFUSES_REPEATED, actor=actor, now=clock(), is_urgent=True)
    proof = "Its authorization server deleted the registration."
    if deleted is Deleted.UNHEARD:
        proof = "Its authorization server knows no registration at its address."
    return removals.finish(lease, proof=proof, actor=actor, now=clock())


async def _gone(server: AuthorizationServer, removal: ClientRemoval, token: Callable[[str], Secret]) -> Deleted:
    """Delete the registration. A refusal is no answer where an earlier attempt may have deleted it.

    No attempt looks first: a server may answer a look with a new token that ends the one we know of.
    """
    try:
        is_deleted = await server.delete_registration(removal.client.registration_uri, token)
    except Denied:
        if removal.attempts:
            return Deleted.PERHAPS
        raise
    return Deleted.YES if is_deleted else Deleted.UNHEARD


def _asked(
    removal: ClientRemoval,
    ask: Callable[[AuthorizationServer, Callable[[str], Secret]], Coroutine[Any, Any, T]],
) -> T:
    connection = removal.client.connection
    if connection.kind != ConnectionKind.OAUTH:
        raise Permanent("It is not known from a connection to an authorization server, so nobody can be asked.")
    setup = Setup.of(connection.settings)
    reference = removal.client.registration_reference
    bound_to = str(connection.settings.get("bound_to") or authority(setup.issuer))

    def token(host: str) -> Secret:
        return references().resolve(reference, bound_to=bound_to, host=host)

    async def asked() -> T:
        async with Fetcher(guard(), user_agent=USER_AGENT) as fetcher:
            return await ask(setup.server(fetcher), token)

    return asyncio.run(asked())


def _pause(attempts: int) -> timedelta:
    """Longer each time, and never the same for two that failed together."""
    longest: timedelta = min(FIRST_PAUSE * 2 ** min(attempts, 16), LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # nosec B311  # noqa: S311 - spreads load, keeps no secret


def due(now: datetime, most: int) -> list[UUID]:
    """Removals whose step is due, the longest waiting first."""
    return list(ClientRemoval.objects.due(now).order_by("next_at", "pk").values_list("pk", flat=True)[:most])
