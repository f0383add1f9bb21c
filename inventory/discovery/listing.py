"""From what a file says to the rows a sync reconciles: one row for each place where a server or credential is named."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

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
    client_id: str = ""
    authorization_server: str = ""
    registration: str = "config_file"
    redirect_uris: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = ()
    software_id: str = ""
    application_type: str = ""
    client_scopes: tuple[str, ...] = ()
    client_issued_at: datetime | None = None
    client_last_used_at: datetime | None = None
    secret_expires_at: datetime | None = None
    registration_uri: str = ""
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
    principal: str = ""
    trust_model: str = "unknown"
    subject: str = ""
    scopes: tuple[str, ...] = ()
    storage: str = "literal"
    reference: str = ""
    status: str = "unknown"
    external_id: str = ""
    fingerprint: str = ""
    hint: str = ""
    details: str = "{}"  # JSON
    tags: tuple[str, ...] | None = None  # to be added to what it is tagged as
    issued_at: datetime | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    is_exposed: bool = False
    is_readable_by_others: bool | None = None


COLUMNS = tuple(field.name for field in fields(Discovered))


# What the columns and their indexes take. A file can hold a name of a megabyte; a row cannot.
FILE, POINTER, IDENTITY, NAME, SHORT = 400, 200, 400, 300, 100


# What acts instead of being seen: NUL, which no column takes, other controls but for tabs and ends of lines, orders
# that turn the direction of writing, and halves of characters.
UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def seen(text: str) -> str:
    """`text` as people may read it and a column takes it: what would act instead of being seen is marked."""
    return text if text.isprintable() else UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def fit(text: str | None, length: int) -> str:
    """`text` as a column of `length` characters takes it: what is cut off lives on in a digest, so it stays apart."""
    clean = seen(text or "")
    if len(clean) <= length:
        return clean
    return f"{clean[: length - 17]}…{sha256(clean.encode()).hexdigest()[:16]}"


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
    """A remote server is its address wherever it is configured; a launched one is what a place calls and starts."""
    if found.url and found.url.partition("://")[0] in {"http", "https", "ws", "wss"}:  # whatever comes after it
        return f"url:{found.url}"
    return f"local:{scope}:{found.name}:{found.identity_key}"


def _trust(found: FoundCredential, stored: bool) -> str:
    if stored:
        return "user_consented"
    if found.kind in {Kind.OAUTH_ACCESS_TOKEN, Kind.OAUTH_REFRESH_TOKEN}:
        return "unknown"
    return "static_service"


def _described(found: FoundCredential, owner_name: str, *, scope: str, file: FoundFile) -> dict[str, Any]:
    """The columns of a credential as one place shows it."""
    stored = file.format == TOKEN_STORE
    key = credential_key(found, scope=scope, file=file.path)
    return {
        "credential_key": fit(key, IDENTITY) if key else None,
        "credential_name": fit(f"{owner_name} / {found.name}", NAME),
        "kind": found.kind.value,
        "issuer": fit(found.issuer, SHORT),
        "trust_model": _trust(found, stored),
        "storage": "token_store" if stored else found.class_.value,
        "reference": fit(found.reference, IDENTITY),
        "external_id": fit(found.external_id, SHORT),
        "fingerprint": found.fingerprint or "",
        "hint": found.hint or "",
        "issued_at": found.issued_at,
        "expires_at": found.expires_at,
        "is_exposed": found.class_ is Class.LITERAL and not stored,
        "is_readable_by_others": None if file.mode is None else bool(file.mode & 0o044),
    }


def rows(file: FoundFile, *, scope: str, host: str) -> Iterator[Discovered]:
    """The places in `file`. `scope` names the connection, so that equal local names elsewhere stay apart."""
    place = Discovered(file=fit(file.path, FILE), host=fit(host, SHORT))

    def at(row: Discovered, found: FoundCredential, name: str, pointer: str) -> Discovered:
        described = _described(found, name, scope=scope, file=file)
        return replace(row, pointer=fit(pointer, POINTER), **described)

    for loose in file.credentials:
        if loose.class_ is not Class.PLACEHOLDER:
            yield at(place, loose, file.path.rsplit("/", 1)[-1], loose.pointer)
    # Neither starts anything, but a secret in it is as open as anywhere.
    if file.is_template or file.manifest is not None:
        for server in file.servers:
            for found in server.credentials:
                if found.class_ is Class.LITERAL:
                    yield at(place, found, server.name, server.pointer + found.pointer)
        return
    product = file.client or "unrecognised"
    client = replace(
        place,
        client_key=f"config:{scope}:{product}",
        client_name=LABELS.get(product, "Unrecognised client"),
        client_product=product,
    )
    for server in file.servers:
        row = replace(
            client,
            server_key=fit(server_key(server, scope=scope), IDENTITY),
            server_name=fit(server.name, NAME),
            transport=server.transport if server.transport in TRANSPORTS else "unknown",
            url=fit(server.url, 2_000),
            launcher=fit(server.launcher, 40),
            package=fit(server.package, 2_000),
            package_version=fit(server.version, SHORT),
            is_pinned=server.pinned,
            command=fit(server.command, NAME),
            is_disabled=server.disabled,
        )
        held = [found for found in server.credentials if found.class_ is not Class.PLACEHOLDER]
        if not held:
            yield replace(row, pointer=fit(server.pointer, POINTER))
        for found in held:
            yield at(row, found, server.name, server.pointer + found.pointer)
