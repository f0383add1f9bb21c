"""What the product needs from a place that issues credentials: a protocol and frozen values. No framework in sight.

An adapter speaks this language only: frozen values out, errors of `providers.errors` out, nothing of its SDK.
"""

from collections.abc import Iterator, Mapping, Sequence
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


# ── Rotation and revocation ────────────────────────────────────────────────────────────────────────
class Capability(StrEnum):
    """What a place can do with its credentials. What it does not declare is never asked of it."""

    ISSUE = "issue"  # a further version beside the one in use
    SUSPEND = "suspend"  # refuse a version, reversibly
    DESTROY = "destroy"  # refuse a version for good
    LISTS_VERSIONS = "lists_versions"  # its own record says which versions there are and how they stand
    PRESENTS = "presents"  # `verify` can show a secret and see whether it is taken
    LAST_USED = "last_used"  # `versions` says when each was last used
    CALLER_CHOOSES_SECRET = "caller_chooses_secret"  # issuing again with one request key gives one secret
    REPLACES = "replaces"  # issuing ends the version before: there is no overlap
    NEEDS_VALUE = "needs_value"  # a version is suspended and destroyed by showing its secret, as RFC 7009 has it


class Liveness(StrEnum):
    """Whether a version is taken by those it is meant for."""

    ALIVE = "alive"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Basis(StrEnum):
    """How a liveness is known."""

    PRESENTED = "presented"  # the secret was shown, and taken or refused
    RECORD = "record"  # the provider's own record says so
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of a version: whether it is alive, how that is known, and in a sentence what was seen."""

    liveness: Liveness
    basis: Basis
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRef:
    """A credential as its provider knows it. `details` is what a listing said of it; nothing here is a secret."""

    identity: str
    kind: str
    principal: str = ""
    external_id: str = ""
    issuer: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredVersion:
    """One version of a credential in its provider's own record."""

    external_id: str
    status: Status = Status.UNKNOWN
    issued_at: datetime | None = None
    last_used_at: datetime | None = None
    mark: str = ""  # the request key it was issued with, where the provider has a place for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A version that was just issued. Its secret is nowhere else, so it is delivered before anything else is done.

    `identity` is what the next listing will call the credential, where that changes with its version.
    """

    external_id: str
    secret: Secret
    identity: str = ""
    hint: str = ""
    issued_at: datetime | None = None
    expires_at: datetime | None = None


class Operable(Protocol):
    """A place whose credentials can be rotated and revoked. Every verb is safe to repeat.

    Verbs raise `Transient` where it may work later, with `retry_after` where the place said so; `Permanent` where it
    will not; and nothing where the wanted state is there already. `secret` is the version's own, where somebody can
    present it. No verb waits: eventual consistency is an answer of UNKNOWN, or of what is still so.
    """

    capabilities: frozenset[Capability]

    def versions(self, ref: CredentialRef) -> Sequence[DiscoveredVersion]:
        """Every version there is, with LISTS_VERSIONS; else none."""

    def issue(self, ref: CredentialRef, *, request_key: str) -> Issued:
        """A further version. Not to be repeated blindly: look at `versions` first, and destroy what is a stray.

        Raises `NoRoom` where the place holds as many as it may.
        """

    def verify(self, ref: CredentialRef, external_id: str, secret: Secret | None) -> Seen:
        """Whether a version is alive, by presenting its secret where there is one, else by the place's own record."""

    def suspend(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None: ...

    def resume(self, ref: CredentialRef, external_id: str) -> None:
        """End a suspension."""

    def destroy(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        """Already gone is success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What consumers read at a sink: the secret and, where they need it too, the public id that goes with it."""

    secret: Secret
    external_id: str = ""


class SecretSink(Protocol):
    """Where a rotation leaves a new secret for its consumers. Every verb is safe to repeat with its request key.

    `location` is a reference, of a form that each sink describes. A secret is stored pending first, where no consumer
    looks; promoted, consumers read it; what they read before is kept until it is settled, for the way back.
    """

    def check(self, location: str) -> str:
        """Say in a sentence where secrets would go, after the cheapest call that proves that they can."""

    def store(self, location: str, delivered: Delivered, *, request_key: str) -> None: ...

    def promote(self, location: str, *, request_key: str) -> None: ...

    def read(self, location: str, *, request_key: str = "") -> Delivered | None:
        """What is stored under a request key, pending or promoted; without one what consumers read. None: nothing."""

    def roll_back(self, location: str, *, request_key: str) -> None:
        """Consumers read again what they read before; what was stored under the key is dropped."""

    def settle(self, location: str, *, request_key: str) -> None:
        """There is no way back from now on: what is kept for it is dropped."""
