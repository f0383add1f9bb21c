"""What the product needs from a place that issues credentials: a protocol and frozen values. No framework in sight.

An adapter speaks this language only: frozen values out, errors of `providers.errors` out, nothing of its SDK.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class Secret:
    """A confidential value in passing. `reveal()` is the one word to search for; nothing else shows it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> Any:
        raise TypeError("A secret is not pickled")


class Status(StrEnum):
    """What its provider says of a credential; the words of the inventory."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    DESTROYED = "destroyed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredCredential:
    """One credential as its provider lists it. Absent dates are unknown, never "never" and never "now".

    `principal` is the provider's own name for the identity (an ARN, a role, a `client_id`); `identity` is what makes
    two listings of it the same credential, unique within the product (`aws:AKIA…`). `labels` are names
    and values that people gave it there. `details` is JSON for people: region, service, rotation state. Neither holds
    a secret.
    """

    identity: str
    name: str
    kind: str
    principal: str = ""
    external_id: str = ""
    issuer: str = ""
    trust_model: str = "static_service"
    subject: str = ""
    status: Status = Status.UNKNOWN
    scopes: tuple[str, ...] = ()
    fingerprint: str = ""
    hint: str = ""
    reference: str = ""
    issued_at: datetime | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    labels: tuple[tuple[str, str], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that could not be listed: where, and why in a sentence. Its presence makes a listing partial."""

    place: str
    reason: str


class Provider(Protocol):
    """A place that issues credentials. Every verb is safe to repeat."""

    def discover(self) -> Iterator[DiscoveredCredential | Problem]:
        """List what exists, page by page, in bounded memory.

        What can be named but not read is a `Problem` among the rest. Raises `ProviderError` when nothing can be
        listed or when the listing was cut short.
        """

    def check(self) -> str:
        """Say in a sentence who we are there, after the cheapest call that proves it. Raises `ProviderError`."""
