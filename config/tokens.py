"""API tokens: issued for a role that one holds, shown once, revoked, and listed in the inventory as others are.

The inventory learns of them as of every system that it cannot ask: by a delivery to a feed. So their ages, uses and
ends are judged by the same rules and policies as those of everybody else's tokens.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from access.actors import Actor, ActorKind
from access.models import ApiToken, User
from access.roles import Role, held
from audit.actions import action, record
from audit.events import Event
from inventory.actions.connections import create_connection
from inventory.errors import Disabled, UnderWay
from inventory.feeds.rows import NDJSON
from inventory.intake import take
from inventory.models import Connection, Owner
from inventory.states import ConnectionKind, CredentialKind, CredentialStatus, TrustModel

LONGEST_NAME = 60
MOST_DAYS = 3650
ITSELF = "Keyreeve itself"
SYSTEM = Actor.system("API tokens")


class TokenRefused(Exception):
    """No token was issued."""

    def __str__(self) -> str:
        return str(self.__doc__)


class RoleAboveOnes(TokenRefused):
    """A token holds no role that its issuer does not hold. Choose another role."""


class OutlivesItsIssuer(TokenRefused):
    """A token issues no token that lives longer than itself. Choose fewer days."""


def grantable(actor: Actor) -> list[Role]:
    """The roles that `actor` may give to a token, in the order of the roles. Owning things is a person's."""
    theirs = set(Role) if actor.kind is ActorKind.SYSTEM else set(held(actor.roles))
    return [role for role in Role if role in theirs]


@action
def issue(
    name: str, role: Role, *, life: timedelta | None, actor: Actor, now: datetime, issuer: User | None = None
) -> tuple[ApiToken, str]:
    """A new API token of one role, and its value: only a digest is kept, so this is the one time that it is seen.

    Its bearer is a user of the token's own, who has no password and no role and so cannot sign in to pages. Raises
    RoleAboveOnes, and OutlivesItsIssuer where a token asks for another one.
    """
    if role not in grantable(actor):
        raise RoleAboveOnes
    if actor.kind is ActorKind.TOKEN:
        mine = ApiToken.objects.live(now).get(token_key=actor.id)
        if mine.expiry is not None and (life is None or now + life > mine.expiry):
            raise OutlivesItsIssuer
        issuer = mine.issued_by
    bearer, _ = User.objects.get_or_create(
        username=f"token:{name}", defaults={"email": f"token-{name}@keyreeve.invalid", "password": "!"}
    )
    token, value = ApiToken.objects.create(user=bearer, expiry=life, name=name, role=role.value, issued_by=issuer)
    record(
        Event.TOKEN_ISSUED,
        actor=actor,
        subject=token,
        detail={
            "name": name,
            "role": role.value,
            "prefix": token.token_key,
            "expires_at": token.expiry.isoformat() if token.expiry else None,
        },
    )
    return token, str(value)


@action
def revoke(token: ApiToken, *, actor: Actor, now: datetime) -> bool:
    """Refuse it from now on; whether it was alive until now."""
    ended = ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now, revoked_by=actor.label[:200])
    if ended:
        record(Event.TOKEN_REVOKED, actor=actor, subject=token, detail={"role": token.role, "prefix": token.token_key})
    return bool(ended)


# ── In the inventory ───────────────────────────────────────────────────────────────────────────


def tell_inventory(*, clock: Callable[[], datetime]) -> Connection:
    """Deliver all of them as they stand. What is told already changes nothing; the beat tells what is under way."""
    feed = itself(now=clock())
    try:
        take(feed, _lines(clock()), format_=NDJSON, clock=clock, actor=SYSTEM)
    except (UnderWay, Disabled):
        return feed
    return feed


def itself(*, now: datetime) -> Connection:
    found = Connection.objects.filter(kind=ConnectionKind.FEED, settings__itself=True).first()
    return found or create_connection(
        kind=ConnectionKind.FEED, name=ITSELF, settings={"identity": ["issuer", "external_id"], "itself": True},
        actor=SYSTEM, now=now,
    )  # fmt: skip


def _lines(now: datetime) -> Iterator[bytes]:
    owners = dict(Owner.objects.filter(user__isnull=False).exclude(email="").values_list("user_id", "email"))
    for token in ApiToken.objects.order_by("pk").iterator():
        yield json.dumps(_row(token, owners.get(token.issued_by_id), now)).encode() + b"\n"


def _row(token: ApiToken, owner: str | None, now: datetime) -> dict[str, Any]:
    states = {"active": CredentialStatus.ACTIVE, "expired": CredentialStatus.EXPIRED}
    row = {
        "name": f"Keyreeve / {token.name}",
        "issuer": "Keyreeve",
        "external_id": str(token.pk),
        "kind": CredentialKind.API_KEY.value,
        "principal": f"token {token.name}",
        "trust_model": TrustModel.STATIC_SERVICE.value,
        "scopes": [token.role],
        "status": states.get(token.state_at(now), CredentialStatus.DESTROYED).value,
        "issued_at": token.created.isoformat(),
        "last_used_at": token.last_used_at.isoformat() if token.last_used_at else None,
        "expires_at": token.expiry.isoformat() if token.expiry else None,
        "owner": owner,
    }
    return {name: value for name, value in row.items() if value is not None}
