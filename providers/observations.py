"""What a probe saw, as plain values: requests and what came of them. `inventory.posture` judges them offline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class SafetyClass(StrEnum):
    """What a request may do to its target."""

    PASSIVE = "P"  # an unauthenticated read
    SAFE = "S"  # active, without lasting effect
    CREDENTIALED = "C"  # needs a test credential of the owner
    MODIFYING = "M"  # makes state at the target, and removes it again


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came of it. Without a `status` there was no answer, and `error` says why in a sentence.

    Header names are in lower case, in the order they came, repeated ones kept. `body` is bounded by the fetcher and
    never shown as it is; `document` is the body parsed, when it was JSON (or the one JSON message of an event stream).
    """

    method: str
    url: str
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    is_truncated: bool = False
    document: Any = None
    error: str = ""
    tls_version: str = ""
    seconds: float = 0.0

    @property
    def is_answered(self) -> bool:
        return self.status is not None

    @property
    def announces_endpoint(self) -> bool:
        """Whether a GET opened the stream of HTTP+SSE: it begins by saying where messages are to be sent."""
        is_stream = self.header("content-type").lower().startswith("text/event-stream")
        lines = self.body[:4096].replace(b"\r", b"\n").split(b"\n")
        return (
            is_stream and self.status == 200 and any(line in (b"event: endpoint", b"event:endpoint") for line in lines)
        )

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for header, value in self.headers if header == name.lower()]

    def header(self, name: str) -> str:
        """The first value of a header; empty when there is none."""
        return next(iter(self.all(name)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedTool:
    """A tool as the server lists it. The digest is over name, description, input and output schema and annotations."""

    name: str
    description: str = ""
    is_read_only: bool | None = None
    is_destructive: bool | None = None
    is_open_world: bool | None = None
    scopes: tuple[str, ...] = ()
    schema_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerObservation:
    """Everything seen at one MCP server. `exchanges` are named by `providers.questions`, one a question.

    `tools` is None when they could not be listed. With `tools_error` beside tools, the listing is not whole.
    `stopped` says why the probe ended before its last question, and `skipped` why it left single questions out.
    """

    url: str
    observed_at: datetime
    transport: str = "http"  # http, sse or stdio
    era: str = ""  # the newest protocol version it was seen to speak; empty when nothing could tell
    protocol_versions: tuple[str, ...] = ()
    server_name: str = ""
    server_version: str = ""
    exchanges: Mapping[str, Exchange] = field(default_factory=dict)
    tools: tuple[ObservedTool, ...] | None = None
    tools_error: str = ""
    is_listed_anonymously: bool = False
    issuers: tuple[str, ...] = ()
    stopped: str = ""
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A client that a check registered and could not remove again, for a person to remove."""

    client_id: str
    registration_uri: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerObservation:
    """Everything seen at one authorization server."""

    issuer: str
    observed_at: datetime
    metadata: Mapping[str, Any] | None = None  # as found and parsed, whether or not its issuer matches
    metadata_url: str = ""
    exchanges: Mapping[str, Exchange] = field(default_factory=dict)
    leftovers: tuple[Leftover, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientObservation:
    """A client's metadata document (CIMD), fetched from the URL that is its id."""

    client_id: str
    observed_at: datetime
    exchange: Exchange | None = None
    is_too_large: bool = False  # for an authorization server, which reads 5 KB at most
