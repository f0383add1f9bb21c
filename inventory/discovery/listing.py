"""From what a file says to the rows a sync reconciles: one row for each place where a server or credential is named."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from urllib.parse import urlsplit

from inventory.discovery.clients import CLIENTS
from inventory.discovery.model import Class, FoundCredential, FoundFile, FoundServer, Kind

TOKEN_STORE = "token-store"
LABELS = {client.slug: client.label for client in CLIENTS}
TRANSPORTS = {"stdio", "http", "sse", "websocket"}
# References that mean the same thing only on the machine, or in the file, that holds them.
LOCAL_REFERENCES = ("env:", "file:", "command:", "config:")
FILE_REFERENCES = ("input:",)


@dataclass(frozen=True, slots=True)
class Discovered:
    """One place as a connection listed it. Keys are the identities that make two rows the same thing."""

    file: str = ""
    pointer: str = ""
    host: str = ""
    client_key: str | None = None
    client_name: str = ""
    client_product: str = ""
    server_key: str | None = None
    server_name: str = ""
    transport: str = "unknown"
    url: str = ""
    launcher: str = ""
    package: str = ""
    package_version: str = ""
    is_pinned: bool | None = None
    command: str = ""
    is_disabled: bool = False
    credential_key: str | None = None
    credential_name: str = ""
    kind: str = "other"
    issuer: str = ""
    trust_model: str = "unknown"
    storage: str = "literal"
    reference: str = ""
    status: str = "unknown"
    external_id: str = ""
    fingerprint: str = ""
    hint: str = ""
    issued_at: datetime | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    is_exposed: bool = False
    is_readable_by_others: bool | None = None


COLUMNS = tuple(field.name for field in fields(Discovered))


def credential_key(found: FoundCredential, *, scope: str, file: str) -> str | None:
    """What makes two sightings one credential: the secret itself, the provider's id, or the place it is kept at."""
    if found.kind is Kind.AWS_ACCESS_KEY and found.external_id:
        return f"aws:{found.external_id}"
    if found.fingerprint:
        return f"fp:{found.fingerprint}"
    if not found.reference:
        return None
    if found.reference.startswith(FILE_REFERENCES):
        return f"ref:{scope}:{file}:{found.reference}"
    if found.reference.startswith(LOCAL_REFERENCES) or "://" not in found.reference:
        return f"ref:{scope}:{found.reference}"
    return f"ref:{found.reference}"


def server_key(found: FoundServer, *, scope: str) -> str:
    """A remote server is its address wherever it is configured; a launched one is what one place calls it and starts."""
    if found.url and urlsplit(found.url).scheme in {"http", "https", "ws", "wss"}:
        return f"url:{found.url}"
    return f"local:{scope}:{found.name}:{found.identity_key}"


def _trust(found: FoundCredential, stored: bool) -> str:
    if stored:
        return "user_consented"
    if found.kind in {Kind.OAUTH_ACCESS_TOKEN, Kind.OAUTH_REFRESH_TOKEN}:
        return "unknown"
    return "static_service"


def rows(file: FoundFile, *, scope: str, host: str) -> Iterator[Discovered]:
    """The places in `file`. `scope` names the connection, so that equal local names elsewhere stay apart."""
    readable = None if file.mode is None else bool(file.mode & 0o044)
    stored = file.format == TOKEN_STORE

    def credential(found: FoundCredential, owner_name: str) -> dict[str, object]:
        return {
            "credential_key": credential_key(found, scope=scope, file=file.path),
            "credential_name": f"{owner_name} / {found.name}"[:300],
            "kind": found.kind.value,
            "issuer": found.issuer or "",
            "trust_model": _trust(found, stored),
            "storage": "token_store" if stored else found.class_.value,
            "reference": found.reference or "",
            "external_id": found.external_id or "",
            "fingerprint": found.fingerprint or "",
            "hint": found.hint or "",
            "issued_at": found.issued_at,
            "expires_at": found.expires_at,
            "is_exposed": found.class_ is Class.LITERAL and not stored,
            "is_readable_by_others": readable,
        }

    place = {"file": file.path, "host": host}
    for loose in file.credentials:
        if loose.class_ is not Class.PLACEHOLDER:
            name = file.path.rsplit("/", 1)[-1]
            yield Discovered(**place, pointer=loose.pointer, **credential(loose, name))  # type: ignore[arg-type]
    if file.is_template:
        for server in file.servers:
            for found in server.credentials:
                if found.class_ is Class.LITERAL:
                    pointer = server.pointer + found.pointer
                    yield Discovered(**place, pointer=pointer, **credential(found, server.name))  # type: ignore[arg-type]
        return
    product = file.client or "unrecognised"
    client = {
        "client_key": f"config:{scope}:{product}",
        "client_name": LABELS.get(product, "Unrecognised client"),
        "client_product": product,
    }
    for server in file.servers:
        described = {
            "server_key": server_key(server, scope=scope),
            "server_name": server.name[:300],
            "transport": server.transport if server.transport in TRANSPORTS else "unknown",
            "url": server.url or "",
            "launcher": server.launcher or "",
            "package": server.package or "",
            "package_version": (server.version or "")[:200],
            "is_pinned": server.pinned,
            "command": server.command or "",
            "is_disabled": server.disabled,
        }
        held = [found for found in server.credentials if found.class_ is not Class.PLACEHOLDER]
        if not held:
            yield Discovered(**place, **client, **described, pointer=server.pointer)  # type: ignore[arg-type]
        for found in held:
            yield Discovered(
                **place,
                **client,
                **described,
                pointer=server.pointer + found.pointer,
                **credential(found, server.name),  # type: ignore[arg-type]
            )
