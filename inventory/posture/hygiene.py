"""Which registered clients are live, duplicates or dead. Pure, and linear in the number of rows.

Desktop programs register anew on every machine and after every reset, so an authorization server collects clients that
look alike. Several of one group may be live at once, one a machine: being alike makes nothing a duplicate. Only what
lies unused beside a newer or livelier one is.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from inventory.posture.issuer_cases import split
from inventory.states import Hygiene
from providers.addresses import is_loopback_host

LONGEST_KEY = 400
_LONGEST_NAME = 200
_MOST_HOSTS = 50


class Reason(StrEnum):
    """Why a client has its score."""

    USED_LATELY = "used_lately"
    NEW = "new"  # registered lately, so not having been used says nothing
    SUPERSEDED = "superseded"  # unused, beside one of its group that is live or newer
    SECRET_EXPIRED = "secret_expired"
    UNUSED = "unused"
    NEVER_USED = "never_used"
    USE_NOT_KNOWN = "use_not_known"
    LOOKS_ALIKE = "looks_alike"  # its use is not known, and a later registration looks the same
    USED_SOME_TIME_AGO = "used_some_time_ago"  # between the two thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredClient:
    """A registered client as hygiene looks at it. `key` is its row; absent times are unknown.

    With `is_use_known`, its use can be seen at all, so that no last use means never.
    """

    key: str
    registered_at: datetime | None = None
    last_used_at: datetime | None = None
    is_use_known: bool = False
    secret_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of one client, its reason as data, and what a sentence about it needs."""

    key: str
    hygiene: Hygiene
    reason: Reason
    detail: Mapping[str, Any] = field(default_factory=dict)


def hygiene_key(name: str, redirect_uris: Iterable[str], issuer: str) -> str:
    """What clients that look alike have in common: the folded name, the redirect hosts and the issuer.

    Every loopback address counts as one, whatever its port: those are drawn by lot at each start.
    """
    folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())[:_LONGEST_NAME]
    hosts = sorted({_host(address) for address in redirect_uris})[:_MOST_HOSTS]
    key = json.dumps([issuer, folded, hosts], separators=(",", ":"))
    return key if len(key) <= LONGEST_KEY else f"{key[: LONGEST_KEY - 64]}{sha256(key.encode()).hexdigest()}"


def redirect_hosts(addresses: Iterable[str]) -> list[str]:
    """The hosts that a client has codes sent to, each once, in order; loopback is one of them."""
    return sorted({_host(address) for address in addresses})[:_MOST_HOSTS]


def _host(address: str) -> str:
    parts = split(address)
    if parts is None or not parts.scheme:
        return "?"
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme[:60]}:"
    if is_loopback_host(parts.hostname):
        return "loopback"
    return (parts.hostname or "?").rstrip(".")[:253]


def hygiene(
    group: Sequence[RegisteredClient],
    *,
    now: datetime,
    live_within: timedelta = timedelta(days=30),
    dead_after: timedelta = timedelta(days=90),
) -> tuple[Score, ...]:
    """Score clients that share a key, in their order.

    Used within `live_within` is live; unused for longer than `dead_after`, or with an expired secret, is dead; what
    lies unused in between is a duplicate where another of the group is live or was registered later, and unknown
    otherwise. Dead wins over duplicate: it can be removed whatever becomes of the others.
    """
    keeper = _keeper(group, now=now, live_within=live_within)
    return tuple(
        _score(client, keeper=keeper, now=now, live_within=live_within, dead_after=dead_after) for client in group
    )


def _keeper(group: Sequence[RegisteredClient], *, now: datetime, live_within: timedelta) -> RegisteredClient | None:
    """The one that the others are compared with: used last, else registered last. None when no time is known."""
    known = [client for client in group if _latest(client) is not None and not _is_expired(client, now)]
    if not known:
        return None
    oldest = datetime.min.replace(tzinfo=now.tzinfo)

    def rank(client: RegisteredClient) -> tuple[bool, datetime, str]:
        return _was_used(client, now, live_within), _latest(client) or oldest, client.key

    return max(known, key=rank)


def _score(
    client: RegisteredClient,
    *,
    keeper: RegisteredClient | None,
    now: datetime,
    live_within: timedelta,
    dead_after: timedelta,
) -> Score:
    def say(scored: Hygiene, reason: Reason, **detail: Any) -> Score:
        return Score(key=client.key, hygiene=scored, reason=reason, detail=detail)

    if _is_expired(client, now):
        return say(Hygiene.DEAD, Reason.SECRET_EXPIRED, expired_at=client.secret_expires_at)
    used_at, registered_at = client.last_used_at, client.registered_at
    if _was_used(client, now, live_within):
        return say(Hygiene.LIVE, Reason.USED_LATELY, last_used_at=used_at)
    if used_at is not None and now - used_at > dead_after:
        return say(Hygiene.DEAD, Reason.UNUSED, last_used_at=used_at)
    never = used_at is None and client.is_use_known
    if never and registered_at is not None and now - registered_at > dead_after:
        return say(Hygiene.DEAD, Reason.NEVER_USED, registered_at=registered_at)
    if used_at is None and registered_at is not None and now - registered_at <= live_within:
        return say(Hygiene.UNKNOWN, Reason.NEW, registered_at=registered_at)
    if keeper is not None and keeper.key != client.key and _is_behind(client, keeper, now, live_within):
        return say(Hygiene.DUPLICATE, Reason.SUPERSEDED, by=keeper.key, last_used_at=used_at)
    if used_at is not None:
        return say(Hygiene.UNKNOWN, Reason.USED_SOME_TIME_AGO, last_used_at=used_at)
    if keeper is not None and keeper.key != client.key:
        return say(Hygiene.UNKNOWN, Reason.LOOKS_ALIKE, by=keeper.key, registered_at=registered_at)
    return say(Hygiene.UNKNOWN, Reason.USE_NOT_KNOWN, registered_at=registered_at)


def _is_behind(client: RegisteredClient, keeper: RegisteredClient, now: datetime, live_within: timedelta) -> bool:
    """Nobody uses it, and another of its group took its place.

    Where use cannot be seen at all, a later registration alone says nothing: it may be a second machine.
    """
    if client.last_used_at is None and not client.is_use_known:
        return False
    mine, theirs = _latest(client), _latest(keeper)
    return _was_used(keeper, now, live_within) or (mine is not None and theirs is not None and theirs > mine)


def _latest(client: RegisteredClient) -> datetime | None:
    return max((time for time in (client.last_used_at, client.registered_at) if time is not None), default=None)


def _was_used(client: RegisteredClient, now: datetime, live_within: timedelta) -> bool:
    return client.last_used_at is not None and now - client.last_used_at <= live_within


def _is_expired(client: RegisteredClient, now: datetime) -> bool:
    """Its secret ran out, and it was not seen since: one that was has a newer secret than we know of."""
    expires_at, used_at = client.secret_expires_at, client.last_used_at
    return expires_at is not None and expires_at <= now and (used_at is None or used_at <= expires_at)
