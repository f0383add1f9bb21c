"""Judges an authorization server: from an observation to a verdict for every check of the list, and what it can do."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

# Each of these modules declares its checks by being imported.
from inventory.posture import delegated_layers, issuer_endpoints, issuer_metadata, issuer_tokens
from inventory.posture.delegated_layers import upstream
from inventory.posture.issuer_cases import JUDGES, Answer, Case, effective, split, texts
from inventory.posture.issuer_endpoints import LEFT_BEHIND
from inventory.posture.issuer_metadata import (
    ID_JAG_PROFILE,
    JWT_BEARER_GRANT,
    KEY_METHODS,
    REGISTRATION_DEPRECATED_IN,
    REGISTRATION_ENDS_ON,
)
from inventory.posture.model import Check, CheckResult
from providers.addresses import is_loopback_host
from providers.observations import IssuerObservation

__all__ = [
    "CHECKS",
    "LEFT_BEHIND",
    "REGISTRATION_DEPRECATED_IN",
    "REGISTRATION_ENDS_ON",
    "Answer",
    "capabilities",
    "is_external",
    "judge_issuer",
    "upstream",
]

CHECKS: tuple[Check, ...] = tuple(sorted(JUDGES, key=lambda check: (not check.id.startswith("MCP"), check.id)))
DECLARED_IN = (issuer_metadata, issuer_endpoints, issuer_tokens, delegated_layers)

_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"


def judge_issuer(
    observation: IssuerObservation,
    *,
    expected_issuer: str,
    newest_version: str,
    servers: Iterable[str] = (),
    is_external: bool | None = None,
    is_one_of_several: bool = False,
    longest_token: timedelta = timedelta(hours=1),
    answers: Mapping[str, Answer] | None = None,
) -> list[CheckResult]:
    """Say for every check what the observation says of it.

    `expected_issuer` is the string that a server advertised, to the last slash. `newest_version` is the newest
    protocol version that the servers relying on it were seen to speak, empty when nothing could tell. `servers` are
    their addresses; where `is_external` is not said, it follows from them. `is_one_of_several`: one of these servers
    names other authorization servers, too. `answers` are what persons recorded, by check id.
    """
    relying = tuple(servers)
    case = Case(
        observation=observation,
        expected_issuer=expected_issuer,
        newest_version=effective(newest_version),
        servers=relying,
        is_external=is_external if is_external is not None else _is_external_to_all(expected_issuer, relying),
        is_one_of_several=is_one_of_several,
        longest_token=longest_token,
        answers=answers or {},
    )
    return [JUDGES[check](case) for check in CHECKS]


def is_external(issuer: str, server_url: str) -> bool | None:
    """Whether a server's tokens come from elsewhere, rather than from the server's own host. None: nobody can tell.

    On this machine every port is a host of its own, as it is in development.
    """
    one, other = split(issuer), split(server_url)
    if one is None or other is None or not one.hostname or not other.hostname:
        return None
    if is_loopback_host(one.hostname) and is_loopback_host(other.hostname):
        return _port(one) != _port(other)
    return one.hostname.rstrip(".") != other.hostname.rstrip(".")


def _port(parts: Any) -> int | None:
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _is_external_to_all(issuer: str, servers: tuple[str, ...]) -> bool | None:
    found = {is_external(issuer, server) for server in servers}
    if False in found:
        return False
    return True if found == {True} else None


def capabilities(metadata: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What an authorization server says it can do, in our words, sorted."""
    said = metadata or {}
    grants = set(texts(said.get("grant_types_supported")) or ())
    methods = set(texts(said.get("token_endpoint_auth_methods_supported")) or ())
    can = {
        "cimd": said.get("client_id_metadata_document_supported") is True,
        "client_credentials": "client_credentials" in grants,
        "dcr": _is_address(said.get("registration_endpoint")),
        "device_flow": _is_address(said.get("device_authorization_endpoint")) or _DEVICE_GRANT in grants,
        "dpop": bool(texts(said.get("dpop_signing_alg_values_supported"))),
        "id_jag": ID_JAG_PROFILE in (texts(said.get("authorization_grant_profiles_supported")) or ()),
        "introspection": _is_address(said.get("introspection_endpoint")),
        "iss_parameter": said.get("authorization_response_iss_parameter_supported") is True,
        "jwt_bearer": JWT_BEARER_GRANT in grants,
        "mtls": said.get("tls_client_certificate_bound_access_tokens") is True
        or bool(methods & (KEY_METHODS - {"private_key_jwt"})),
        "par": _is_address(said.get("pushed_authorization_request_endpoint")),
        "pkce": "S256" in (texts(said.get("code_challenge_methods_supported")) or ()),
        "private_key_jwt": "private_key_jwt" in methods,
        "refresh_token": "refresh_token" in grants,
        "revocation": _is_address(said.get("revocation_endpoint")),
        "token_exchange": _EXCHANGE_GRANT in grants,
    }
    return tuple(name for name, is_so in can.items() if is_so)


def _is_address(value: Any) -> bool:
    parts = split(value)
    return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
