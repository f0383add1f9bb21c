"""Connections in words: what the kinds are called, which of their settings may be shown, what a run changed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inventory.states import ConnectionKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of connection in words. `noun` is what a run counts; `settings` are the keys a reader may see."""

    value: ConnectionKind
    icon: str
    sentence: str
    noun: str
    settings: Mapping[str, str]

    @property
    def title(self) -> str:
        return str(self.value.label)


KINDS: dict[str, Kind] = {
    kind.value: kind
    for kind in (
        Kind(
            value=ConnectionKind.MCP_CONFIG,
            icon="client",
            sentence="Reads the configuration files of MCP clients on this machine, in a folder or in a repository: "
            "which servers they name and which credentials stand in clear.",
            noun="file",
            settings={"this_machine": "This machine's clients", "paths": "Paths", "host": "Host label"},
        ),
        Kind(
            value=ConnectionKind.MCP_SERVER,
            icon="server",
            sentence="Asks MCP servers at their addresses how they authenticate and which tools they offer. No tool is "
            "ever called.",
            noun="server",
            settings={
                "urls": "Addresses",
                "known": "Known servers",
                "tokens": "Tokens",
                "minimum_version": "Oldest specification",
            },
        ),
        Kind(
            value=ConnectionKind.OAUTH,
            icon="policy",
            sentence="Reads what an authorization server publishes, its registered clients and its tokens, and looks "
            "up the tokens you hold.",
            noun="entry,entries",
            settings={
                "issuer": "Issuer",
                "role": "Role",
                "clients_url": "Listing of clients",
                "tokens_url": "Listing of tokens",
                "management_token": "Listings' token",
                "client_id": "Client id",
                "client_secret": "Client secret",
                "client_auth": "How it is presented",
                "introspection_endpoint": "Introspection",
                "tokens": "Access tokens",
                "refresh_tokens": "Refresh tokens",
                "revoke_as": "Revokes tokens as",
                "manage_tokens": "Deletes tokens",
                "manage_clients": "Deletes clients",
                "registrations": "Registrations",
                "registration_token": "Initial access token",
                "revocation_endpoint": "Revocation",
                "token_endpoint": "Token endpoint",
                "registration_endpoint": "Registration",
                "bound_to": "Sent only to",
            },
        ),
        Kind(
            value=ConnectionKind.AWS,
            icon="key",
            sentence="Lists the access keys of IAM users and the entries of Secrets Manager, with their real age and "
            "last use, in one account or many.",
            noun="credential",
            settings={
                "access_key_id": "Access key id",
                "secret_access_key": "Secret access key",
                "session_token": "Session token",
                "use_machine_identity": "Machine's identity",
                "bound_to": "Sent only to",
                "roles": "Roles",
                "own_account": "Own account",
                "secrets": "Secrets Manager",
                "regions": "Regions",
                "endpoint": "Endpoint",
            },
        ),
        Kind(
            value=ConnectionKind.POSTGRES,
            icon="audit",
            sentence="Lists the login roles of a PostgreSQL cluster: whether they expire, when they were last seen "
            "and, where you record it, when their password was set.",
            noun="role",
            settings={
                "host": "Host",
                "port": "Port",
                "database": "Database",
                "user": "User",
                "password": "Password",
                "bound_to": "Sent only to",
                "sslmode": "Encryption",
                "sslrootcert": "Authority",
                "operator": "Operator",
                "operator_password": "Operator's password",
                "pair": "Alternating logins",
                "password_date": "Word before a date",
            },
        ),
        Kind(
            value=ConnectionKind.FEED,
            icon="transfer",
            sentence="Takes what another system sends, as NDJSON or CSV through the API or a file, for whatever "
            "Keyreeve cannot list itself.",
            noun="row",
            settings={"identity": "Same by", "complete": "Names everything"},
        ),
        Kind(
            value=ConnectionKind.PLUG_IN,
            icon="plug",
            sentence="Speaks to a place that Keyreeve does not know, through a plug-in that is installed beside it.",
            noun="credential",
            settings={"provider": "Plug-in", "bound_to": "Sent only to", "options": "Settings"},
        ),
    )
}

# Values that a form offers by other words.
SAID = {"identity_provider": "identity provider", "delegated_layer": "delegated layer"}
PLURAL = re.compile(r"(?<=[a-z])s(?= )")

# Whatever else a connection's settings hold is named to nobody but those who may change it.
SHOWN = frozenset(key for kind in KINDS.values() for key in kind.settings)


def described(kind: str, settings: Mapping[str, Any]) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Settings as label and values, and the names of those whose values are not shown."""
    labels = KINDS[kind].settings
    held = {key: value for key, value in settings.items() if value not in (None, "", [], {})}
    known = [(label, _in_words(held[key])) for key, label in labels.items() if key in held]
    return known, [key.replace("_", " ") for key in held if key not in labels]


def _in_words(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, Mapping):
        return [" ".join(str(part) for part in value.values() if part)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [text for each in value for text in _in_words(each)]
    return [SAID.get(value, str(value))]


def changes(counts: dict[str, int] | None) -> str:
    """`3 credentials added, 1 server gone`; nothing where nothing changed."""
    parts = []
    for name, count in sorted((counts or {}).items()):
        words = name.replace("_", " ")
        # The first plural is the noun: `authorization servers changed`, `servers published anew`.
        parts.append(f"{count} {PLURAL.sub('', words, count=1) if count == 1 else words}")
    return ", ".join(parts)
