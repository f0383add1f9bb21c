"""Checks of an authorization server that its published documents answer: the metadata and the key set."""

import base64
import binascii
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

from inventory.posture.issuer_cases import (
    METADATA,
    Case,
    answer_to,
    document,
    is_private,
    issuer_check,
    judges,
    listed,
    may_answer_later,
    seen,
    sentence,
    shown,
    split,
    text,
    texts,
)
from inventory.posture.model import Check, CheckResult, since
from inventory.posture.wording import counted
from inventory.states import Severity
from providers.addresses import is_internal_host, is_loopback_host
from providers.observations import Exchange
from providers.questions import IssuerQuestion as Question

# Deprecated in 2026-07-28, to be removed in the first revision on or after this date and not before.
REGISTRATION_DEPRECATED_IN = "2026-07-28"
REGISTRATION_ENDS_ON = date(2027, 7, 28)

ID_JAG_PROFILE = "urn:ietf:params:oauth:grant-profile:id-jag"
JWT_BEARER_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
KEY_METHODS = frozenset({"private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"})

_OPTIONAL = ("2025-03-26", "2025-06-18")  # where PKCE metadata was advice
_SMALLEST_RSA = 2048
_MOST_KEYS = 200
_MOST_MODULUS = 8192  # characters; a longer one is no RSA key anybody uses


@judges(
    issuer_check(
        "01",
        "The authorization server publishes its metadata where clients look for it",
        level="MUST (SHOULD in 2025-03-26)",
        severity=Severity.HIGH,
        section="MCP Authorization, Authorization Server Metadata Discovery; RFC 8414 §3",
        remediation="Serve the metadata at /.well-known/oauth-authorization-server, with the issuer's path behind it.",
    ),
    needs_metadata=False,
)
def is_published(check: Check, case: Case) -> CheckResult:
    asked = [exchange for name in METADATA if (exchange := case.exchange(name)) is not None]
    if case.observation.metadata is not None:
        found = {"metadata_url": shown(case.observation.metadata_url)}
        wants_rfc8414 = case.newest_version in _OPTIONAL
        if wants_rfc8414 and asked and document(case.exchange(Question.METADATA_OAUTH)) == {}:
            severity = Severity.MEDIUM if case.newest_version == _OPTIONAL[0] else None
            return check.violated(
                case.subject,
                f"Only OpenID Connect Discovery answers; clients of {case.newest_version} look for the metadata of "
                "RFC 8414 alone.",
                severity=severity,
                **found,
            )
        return check.met(case.subject, f"Found at {shown(case.observation.metadata_url)}.", **found)
    if not asked:
        return check.unknown(case.subject, "It was not looked for.")
    tried = [seen(exchange) for exchange in asked]
    for exchange in asked:
        if exchange.error or not exchange.is_answered:
            return check.unknown(
                case.subject, f"No answer: {shown(exchange.error) or 'nothing came back.'}", tried=tried
            )
        if may_answer_later(exchange):
            return check.unknown(case.subject, f"It answered {exchange.status}, which may pass.", tried=tried)
    severity = Severity.MEDIUM if case.newest_version == _OPTIONAL[0] else None
    answers = ", ".join(_how(exchange) for exchange in asked)
    return check.violated(
        case.subject, f"None of the places where clients look holds it: {answers}.", severity=severity, tried=tried
    )


def _how(exchange: Exchange) -> str:
    if exchange.status == 200:
        return f"{shown(exchange.url)} is no JSON object"
    return f"{shown(exchange.url)} answered {exchange.status}"


@judges(
    issuer_check(
        "02",
        "The metadata names exactly the issuer it was looked up for",
        level="MUST",
        severity=Severity.CRITICAL,
        section="RFC 8414 §3.3; MCP Authorization 2026-07-28, Authorization Server Discovery",
        remediation="Publish the issuer under the very string that servers advertise, to the last slash.",
    )
)
def names_its_issuer(check: Check, case: Case) -> CheckResult:
    issuer = case.metadata.get("issuer")
    if issuer == case.expected_issuer:
        return check.met(case.subject, f"It names {shown(issuer)}.")
    if issuer is None:
        return check.violated(case.subject, "It names no issuer, so nothing ties it to the one advertised.")
    said = f"It names {shown(issuer)}, and {shown(case.expected_issuer)} was asked for; clients must not use it."
    if isinstance(issuer, str) and issuer.rstrip("/") == case.expected_issuer.rstrip("/"):
        return check.violated(
            case.subject, f"{said} Only the slash at the end differs.", severity=Severity.MEDIUM, issuer=shown(issuer)
        )
    return check.violated(case.subject, said, issuer=shown(issuer))


@judges(
    issuer_check(
        "03",
        "Every endpoint in the metadata is reached by HTTPS",
        level="MUST",
        severity=Severity.CRITICAL,
        section="MCP Authorization, Communication Security; OAuth 2.1 §1.5",
        remediation="Publish https addresses alone; any other scheme sends people or secrets where they can be taken.",
    )
)
def endpoints_are_safe(check: Check, case: Case) -> CheckResult:
    endpoints = {
        name: value
        for name, value in case.metadata.items()
        if isinstance(name, str) and (name.endswith("_endpoint") or name == "jwks_uri")
    }
    if not endpoints:
        return check.unknown(case.subject, "The metadata names no endpoint.")
    issuer = split(case.expected_issuer)
    is_public = not is_internal_host(issuer.hostname if issuer else None)
    worst: tuple[Severity, str] | None = None
    wrong: dict[str, str] = {}
    for name, url in endpoints.items():
        judged = _endpoint_fault(url, is_public=is_public)
        if judged is None:
            continue
        severity, fault = judged
        wrong[shown(name)] = f"{shown(url)}: {fault}"
        if worst is None or severity > worst[0]:
            worst = severity, f"{shown(name)} is {shown(url)}: {fault}."
    if worst is None:
        return check.met(case.subject, f"All https: {counted(len(endpoints), 'endpoint')}.")
    severity, said = worst
    more = f" It is one of {len(wrong)} that are wrong." if len(wrong) > 1 else ""
    return check.violated(case.subject, said + more, severity=severity, endpoints=dict(list(wrong.items())[:20]))


def _endpoint_fault(url: Any, *, is_public: bool) -> tuple[Severity, str] | None:
    parts = split(url)
    if parts is None:
        return Severity.HIGH, "not a URL"
    if parts.scheme == "http":
        if is_loopback_host(parts.hostname):
            return Severity.LOW, "plain HTTP, though to this machine only"
        return Severity.CRITICAL, "plain HTTP"
    if parts.scheme != "https":
        return Severity.CRITICAL, f"the scheme {shown(parts.scheme) or 'is missing'}"
    if not parts.hostname:
        return Severity.HIGH, "no host"
    if is_public and is_internal_host(parts.hostname):
        return Severity.HIGH, "a public issuer that points into a private network"
    return None


def _has_codes(case: Case) -> bool:
    """Whether it has the authorization code flow at all, which a server for machines only does not."""
    grants = texts(case.metadata.get("grant_types_supported"))
    return grants is None or "authorization_code" in grants


@judges(
    issuer_check(
        "04",
        "PKCE with S256 is advertised",
        level="MUST (advice before 2025-11-25)",
        severity=Severity.HIGH,
        section="MCP Authorization, Authorization Code Protection; OAuth 2.1 §7.5.2",
        remediation="List S256 in code_challenge_methods_supported: clients have to refuse a server that does not.",
    )
)
def has_pkce(check: Check, case: Case) -> CheckResult:
    if not _has_codes(case):
        return check.not_applicable(case.subject, "It does not offer the authorization code grant.")
    severity = Severity.LOW if case.newest_version in _OPTIONAL else None
    methods = texts(case.metadata.get("code_challenge_methods_supported"))
    if methods is None:
        return check.violated(
            case.subject, "code_challenge_methods_supported is missing, which means no PKCE.", severity=severity
        )
    if "S256" not in methods:
        return check.violated(
            case.subject, f"S256 is not among the methods listed ({listed(methods) or 'none'}).", severity=severity
        )
    return check.met(case.subject, f"Methods listed: {listed(methods)}.")


@judges(
    issuer_check(
        "05",
        "PKCE's plain method is not offered",
        level="best practice",
        severity=Severity.LOW,
        section="RFC 9700 §2.1.1",
        remediation="Remove plain: it protects nothing once the authorization request is seen.",
    )
)
def has_no_plain_pkce(check: Check, case: Case) -> CheckResult:
    methods = texts(case.metadata.get("code_challenge_methods_supported"))
    if methods is None:
        return check.unknown(case.subject, "The metadata does not list its methods.")
    if "plain" in methods:
        return check.violated(case.subject, f"Methods listed: {listed(methods)}.")
    return check.met(case.subject, f"Methods listed: {listed(methods) or 'none'}.")


@judges(
    issuer_check(
        "06",
        "The implicit and password grants are not offered",
        level="OAuth 2.1 removes both",
        severity=Severity.MEDIUM,
        section="OAuth 2.1 §10; RFC 9700 §2.1.2 and §2.4",
        remediation="List the grants that are meant in grant_types_supported, without implicit and password.",
    )
)
def has_no_old_grants(check: Check, case: Case) -> CheckResult:
    value = case.metadata.get("grant_types_supported")
    grants = texts(value)
    if grants is None and value is not None:
        return check.unknown(case.subject, f"grant_types_supported is {shown(value)}.")
    if grants is None:
        return check.violated(
            case.subject,
            "grant_types_supported is missing, which by RFC 8414 means authorization_code and implicit.",
            severity=Severity.LOW,
        )
    old = [grant for grant in ("implicit", "password") if grant in grants]
    if old:
        return check.violated(case.subject, f"It offers {listed(old)}.", grants=listed(grants))
    return check.met(case.subject, f"Grants listed: {listed(grants) or 'none'}.")


@judges(
    issuer_check(
        "07",
        "No response type hands out a token through the browser",
        level="OAuth 2.1 removes it",
        severity=Severity.MEDIUM,
        section="OAuth 2.1 §10.1; RFC 9700 §2.1.2",
        remediation="List code alone in response_types_supported.",
    )
)
def has_no_token_response(check: Check, case: Case) -> CheckResult:
    types = texts(case.metadata.get("response_types_supported"))
    if types is None:
        return check.unknown(case.subject, "The metadata does not list its response types.")
    handing = [kind for kind in types if "token" in kind.split()]
    if handing:
        return check.violated(case.subject, f"It offers {listed(repr(kind) for kind in handing)}.")
    return check.met(case.subject, f"Response types listed: {listed(types) or 'none'}.")


@judges(
    issuer_check(
        "08",
        "Clients may identify themselves by a metadata document",
        level="SHOULD",
        severity=Severity.LOW,
        section="MCP Authorization, Client ID Metadata Documents",
        versions=since("2025-11-25"),
        remediation="Turn on Client ID Metadata Documents: they replace dynamic registration, which is on its way out.",
    )
)
def takes_client_documents(check: Check, case: Case) -> CheckResult:
    value = case.metadata.get("client_id_metadata_document_supported")
    if value is True:
        return check.met(case.subject, "client_id_metadata_document_supported is true.")
    if value is None or value is False:
        said = "is missing" if value is None else "is false"
        return check.violated(case.subject, f"client_id_metadata_document_supported {said}.")
    return check.unknown(case.subject, f"client_id_metadata_document_supported is {shown(value)}.")


@judges(
    issuer_check(
        "09",
        "Clients do not depend on dynamic registration",
        level="MAY, deprecated in 2026-07-28",
        severity=Severity.LOW,
        section="MCP Authorization 2026-07-28, Dynamic Client Registration",
        versions=since("2026-07-28"),
        remediation="Move clients to metadata documents or register them beforehand, then close the endpoint.",
    )
)
def needs_no_registration(check: Check, case: Case) -> CheckResult:
    endpoint = case.metadata.get("registration_endpoint")
    if endpoint is None:
        return check.met(case.subject, "It advertises no registration endpoint.")
    ends = f"{REGISTRATION_ENDS_ON.day} {REGISTRATION_ENDS_ON:%B %Y}"
    return check.violated(
        case.subject,
        f"It advertises dynamic registration, which the first revision on or after {ends} may remove.",
        ends_on=REGISTRATION_ENDS_ON.isoformat(),
        has_alternative=case.metadata.get("client_id_metadata_document_supported") is True,
    )


@judges(
    issuer_check(
        "13",
        "Authorization answers name their issuer",
        level="SHOULD",
        severity=Severity.LOW,
        section="MCP Authorization 2026-07-28, Authorization Response Validation; RFC 9207 §2",
        versions=since("2026-07-28"),
        remediation="Send iss in every authorization response and advertise "
        "authorization_response_iss_parameter_supported.",
    )
)
def names_itself_in_answers(check: Check, case: Case) -> CheckResult:
    value = case.metadata.get("authorization_response_iss_parameter_supported")
    if value is True:
        return check.met(case.subject, "authorization_response_iss_parameter_supported is true.")
    if value is not None and value is not False:
        return check.unknown(case.subject, f"authorization_response_iss_parameter_supported is {shown(value)}.")
    if case.is_one_of_several:
        return check.violated(
            case.subject,
            "It does not send iss, and a server here names several authorization servers: their answers can be "
            "mixed up.",
            severity=Severity.MEDIUM,
        )
    return check.violated(case.subject, "It does not say that it sends iss.")


@judges(
    issuer_check(
        "16",
        "Clients can authenticate with a key instead of a shared secret",
        level="MUST offer one of two for the client credentials extension",
        severity=Severity.LOW,
        section="MCP extension io.modelcontextprotocol/oauth-client-credentials; RFC 9700 §2.5",
        versions=since("2025-11-25"),
        remediation="Offer private_key_jwt or mutual TLS at the token endpoint.",
    )
)
def takes_keys(check: Check, case: Case) -> CheckResult:
    value = case.metadata.get("token_endpoint_auth_methods_supported")
    methods = texts(value)
    if methods is None and value is not None:
        return check.unknown(case.subject, f"token_endpoint_auth_methods_supported is {shown(value)}.")
    if methods is None:
        return check.violated(
            case.subject, "It lists no methods, which by RFC 8414 means client_secret_basic: a shared secret."
        )
    if KEY_METHODS & set(methods):
        return check.met(case.subject, f"Methods listed: {listed(methods)}.")
    if methods == ("none",):
        return check.not_applicable(case.subject, "It has public clients only.")
    return check.violated(case.subject, f"No key among the methods listed: {listed(methods) or 'none at all'}.")


@judges(
    issuer_check(
        "19",
        "The published keys are public, strong and told apart",
        level="best practice",
        severity=Severity.MEDIUM,
        section="RFC 7517 §4–5; RFC 7518 §3.3",
        remediation="Publish public keys only, RSA of 2048 bits or more, each with a kid of its own.",
    )
)
def has_sound_keys(check: Check, case: Case) -> CheckResult:
    if case.metadata.get("jwks_uri") is None:
        return check.not_applicable(case.subject, "It publishes no key set.")
    exchange = answer_to(
        check,
        case,
        Question.JWKS,
        not_asked=f"The key set was not read: jwks_uri is {shown(case.metadata['jwks_uri'])}.",
    )
    if isinstance(exchange, CheckResult):
        return exchange
    keys = document(exchange).get("keys")
    if exchange.status != 200 or not isinstance(keys, list):
        why = f"it answered {exchange.status}" if exchange.status != 200 else "it is no key set"
        return check.violated(case.subject, f"jwks_uri leads to no keys: {why}.", **seen(exchange))
    if len(keys) > _MOST_KEYS:
        return check.unknown(case.subject, f"{len(keys)} keys are more than are looked at.", **seen(exchange))
    private = [key for key in keys if isinstance(key, Mapping) and is_private(key)]
    ids = [text(key.get("kid")) for key in keys if isinstance(key, Mapping)]
    told = {"key_ids": sorted({shown(kid) for kid in ids if kid})[:20], **seen(exchange)}
    if private:
        return check.violated(
            case.subject,
            f"{len(private)} of {len(keys)} keys hold secret key material: whoever reads it can sign tokens.",
            severity=Severity.CRITICAL,
            **told,
        )
    faults = _key_faults(keys, ids)
    if faults:
        return check.violated(case.subject, sentence(faults), **told)
    if not keys:
        return check.violated(case.subject, "The key set is empty.", **told)
    return check.met(case.subject, f"{counted(len(keys), 'public key')}, each with a kid of its own.", **told)


def _key_faults(keys: list[Any], ids: list[str]) -> list[str]:
    faults = []
    if strangers := sum(not isinstance(key, Mapping) for key in keys):
        faults.append(f"{strangers} entries are no keys")
    weak = [size for key in keys if isinstance(key, Mapping) and (size := _rsa_bits(key)) < _SMALLEST_RSA]
    if weak:
        smallest = f"{min(weak)} bits" if min(weak) else "an unreadable modulus"
        faults.append(f"an RSA key of {smallest}, where {_SMALLEST_RSA} are the least")
    if len(ids) > 1 and not all(ids):
        faults.append("a key without kid among several")
    if twice := [kid for kid, count in Counter(kid for kid in ids if kid).items() if count > 1]:
        faults.append(f"the kid {listed(twice)} twice")
    return faults


def _rsa_bits(key: Mapping[str, Any]) -> int:
    """The size of an RSA key; 0 when its modulus cannot be read, and large enough for every other kind of key."""
    if key.get("kty") != "RSA":
        return _SMALLEST_RSA
    modulus = text(key.get("n"))
    if len(modulus) > _MOST_MODULUS:
        return 0
    try:
        number = base64.b64decode(modulus + "=" * (-len(modulus) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return 0
    return int.from_bytes(number, "big").bit_length()


@judges(
    issuer_check(
        "25",
        "Who advertises the identity assertion profile also offers its grant",
        level="MUST go together",
        severity=Severity.MEDIUM,
        section="MCP extension io.modelcontextprotocol/enterprise-managed-authorization",
        versions=since("2026-07-28"),
        remediation="List the JWT bearer grant in grant_types_supported, or take the profile out.",
    )
)
def pairs_profile_and_grant(check: Check, case: Case) -> CheckResult:
    value = case.metadata.get("authorization_grant_profiles_supported")
    profiles = texts(value)
    if profiles is None and value is not None:
        return check.unknown(case.subject, f"authorization_grant_profiles_supported is {shown(value)}.")
    if ID_JAG_PROFILE not in (profiles or ()):
        return check.not_applicable(case.subject, "It does not advertise the identity assertion profile.")
    if JWT_BEARER_GRANT in (texts(case.metadata.get("grant_types_supported")) or ()):
        return check.met(case.subject, "The profile and the JWT bearer grant are both listed.")
    return check.violated(case.subject, "The profile is listed and the JWT bearer grant is not.")


@judges(
    issuer_check(
        "27",
        "Tokens can be bound to whoever they were issued to",
        level="information",
        severity=Severity.NONE,
        section="RFC 9449 §5.1; RFC 8705 §3.3",
        remediation="Offer DPoP or certificate-bound tokens where a stolen token would cost much.",
    )
)
def binds_tokens(check: Check, case: Case) -> CheckResult:
    algorithms = case.metadata.get("dpop_signing_alg_values_supported")
    bound = case.metadata.get("tls_client_certificate_bound_access_tokens")
    offered = []
    if texts(algorithms):
        offered.append("DPoP")
    if bound is True:
        offered.append("certificate-bound tokens")
    if offered:
        return check.met(case.subject, f"It offers {' and '.join(offered)}.")
    if (algorithms is not None and not isinstance(algorithms, list)) or not isinstance(bound, bool | None):
        return check.unknown(case.subject, "What it says of bound tokens cannot be read.")
    return check.violated(case.subject, "It offers neither DPoP nor certificate-bound tokens.")
