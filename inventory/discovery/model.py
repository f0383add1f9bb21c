"""What discovery found, as values. No field here ever holds a secret: a secret becomes a fingerprint at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Class(StrEnum):
    """What a value in a credential's place turned out to be."""

    LITERAL = "literal"
    REFERENCE = "reference"
    PLACEHOLDER = "placeholder"


class Kind(StrEnum):
    """The kinds of credential the inventory knows."""

    API_KEY = "api_key"
    OAUTH_ACCESS_TOKEN = "oauth_access_token"
    OAUTH_REFRESH_TOKEN = "oauth_refresh_token"
    OAUTH_CLIENT_SECRET = "oauth_client_secret"
    REGISTRATION_TOKEN = "registration_token"
    AWS_ACCESS_KEY = "aws_access_key"
    DATABASE_PASSWORD = "database_password"
    PERSONAL_ACCESS_TOKEN = "personal_access_token"
    OTHER = "other"


class Confidence(StrEnum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Sent:
    """Crosses between processes by its fields in order, several times faster than what dataclasses do by themselves."""

    __slots__: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), tuple([getattr(self, name) for name in self.__slots__])


@dataclass(frozen=True, slots=True)
class FoundCredential(Sent):
    """One place that holds a secret, refers to one or waits for one."""

    pointer: str
    """RFC 6901 pointer from the server's own object; `line:N` when it belongs to the file alone."""
    class_: Class
    kind: Kind
    name: str
    """The field, header, flag or parameter it was found under."""
    issuer: str | None = None
    fingerprint: str | None = None
    """Of a literal only."""
    hint: str | None = None
    external_id: str | None = None
    """The public half, where the configuration has it: `AKIA…`, an OAuth client id, a database user."""
    account: str | None = None
    reference: str | None = None
    """Where the secret is kept instead: `env:NAME`, `input:id`, `op://vault/item/field`, `file:/path`."""
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    confidence: Confidence = Confidence.HIGH


@dataclass(frozen=True, slots=True)
class FoundServer(Sent):
    """One server definition in one file."""

    name: str
    transport: str | None
    """`stdio`, `http`, `sse`, `websocket`, or `remote` where the file leaves it open; None when not understood."""
    file: str
    pointer: str
    client: str | None
    launcher: str | None = None
    package: str | None = None
    version: str | None = None
    pinned: bool | None = None
    """True for an exact version or digest, False for anything that floats, None where neither applies."""
    command: str | None = None
    """The program's base name."""
    url: str | None = None
    """Without user-info and without secret query parameters."""
    disabled: bool = False
    credentials: tuple[FoundCredential, ...] = ()
    trust: tuple[tuple[str, str], ...] = ()
    """What the client lets this server do unasked: (setting, extent)."""
    identity_key: str = ""
    """Equal for two definitions of the same server: `npm:…`, `pypi:…`, `oci:…`, a bare URL, or a local program."""


@dataclass(frozen=True, slots=True)
class EntryError(Sent):
    """A server entry that could not be understood; its siblings were read."""

    pointer: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeclaredInput(Sent):
    """One value that the server wants to be given."""

    name: str
    place: str
    is_required: bool
    is_secret: bool


@dataclass(frozen=True, slots=True)
class FoundManifest(Sent):
    """One published manifest."""

    name: str
    version: str
    packages: tuple[str, ...]
    """As `package_key` writes them."""
    urls: tuple[str, ...]
    """As `address_key` writes them."""
    inputs: tuple[DeclaredInput, ...]


@dataclass(frozen=True, slots=True)
class FoundFile(Sent):
    """One file that was looked at."""

    path: str
    client: str | None
    format: str | None
    error: str | None = None
    error_line: int | None = None
    servers: tuple[FoundServer, ...] = ()
    credentials: tuple[FoundCredential, ...] = ()
    """Secrets that belong to no server: in comments, in other settings, in a file that does not parse."""
    entry_errors: tuple[EntryError, ...] = ()
    mode: int | None = None
    modified_at: datetime | None = None
    is_template: bool = False
    manifest: FoundManifest | None = None
    """When the file declares what a server needs, instead of configuring one."""
    projects: tuple[str, ...] = field(default=(), repr=False)
    """Folders that this client remembers as projects; where to look next."""
