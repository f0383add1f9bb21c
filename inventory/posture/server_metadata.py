"""Checks of how an MCP server says what it wants: its challenge and its protected resource metadata (RFC 9728)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from inventory.posture.drift import texts
from inventory.posture.model import CheckResult, since
from inventory.posture.server_cases import MODERN, Case, judges, without_authorization
from inventory.posture.wording import counted
from inventory.states import Severity
from providers.addresses import Likeness, is_loopback, is_safe, likeness, origin, split
from providers.observations import Exchange
from providers.questions import Question

_BROAD = frozenset({"*", "all", "full-access", "full_access", "fullaccess", "admin", "root", "superuser"})
_LOOKED_AT = (Question.METADATA_NAMED, Question.METADATA_AT_PATH, Question.METADATA_AT_ROOT)


@judges(
    "MCP-RS-02",
    "A refusal says which kind of token is wanted",
    level="MUST",
    severity=Severity.MEDIUM,
    section="RFC 6750 §3; RFC 9110 §11.6.1; MCP authorization, “Token Handling”",
    versions=since("2025-06-18"),
    remediation="Answer 401 with a `WWW-Authenticate: Bearer …` header.",
)
def _challenge(case: Case) -> CheckResult:
    if case.seen.gate is None:
        return without_authorization(case) or case.unknown("No request was refused with 401, so no challenge was seen.")
    if case.seen.challenge is not None:
        return case.met(f"Its 401 asks for a {case.seen.challenge.scheme.capitalize()} token.")
    other = case.seen.gate[1].all("www-authenticate")
    said = "asks for another scheme only" if other else "has no WWW-Authenticate header"
    return case.violated(f"Its 401 {said}, so a client cannot know that a token would help.")


@judges(
    "MCP-RS-03",
    "The challenge says where the resource metadata is",
    level="MUST in 2025-06-18, one of two ways since",
    severity=Severity.HIGH,
    section="MCP authorization, “Authorization Server Location”; RFC 9728 §5.1",
    versions=since("2025-06-18"),
    remediation='Add `resource_metadata="https://…"` to the Bearer challenge of every 401.',
)
def _metadata_named(case: Case) -> CheckResult:
    if case.seen.gate is None:
        return without_authorization(case) or case.unknown("No request was refused with 401, so no challenge was seen.")
    named = case.seen.challenge.parameters.get("resource_metadata", "") if case.seen.challenge else ""
    if named:
        return case.met("The challenge names the metadata.", resource_metadata=named[:2000])
    only_b = bool(case.seen.versions) and max(case.seen.versions) == "2025-06-18"
    if case.seen.metadata is not None and not only_b:
        return case.violated(
            "The challenge does not name the metadata. Clients find it at its well-known address all the same.",
            severity=Severity.LOW,
        )
    if not only_b and (why := _why_open(case)):
        return case.unknown(f"The challenge does not name the metadata, which is one of two ways. {why}")
    return case.violated("The challenge does not name the metadata, so clients cannot tell where to get a token.")


@judges(
    "MCP-RS-04",
    "Protected resource metadata can be fetched",
    level="MUST",
    severity=Severity.HIGH,
    section="RFC 9728 §3; MCP authorization, “Protected Resource Metadata”",
    versions=since("2025-06-18"),
    remediation="Publish the metadata as application/json at the well-known address of the server's path.",
)
def _metadata(case: Case) -> CheckResult:
    if decided := _not_about_metadata(case):
        return decided
    exchange = case.seen.metadata_exchange
    if exchange is not None:
        media_type = exchange.header("content-type").partition(";")[0].strip().lower()
        if media_type == "application/json":
            return case.met("The metadata was found.", address=exchange.url)
        return case.violated(
            f"The metadata was found, but is sent as {media_type[:100] or 'no type at all'} instead of "
            "application/json.",
            severity=Severity.MEDIUM,
            address=exchange.url,
        )
    answers = {e.url: _answer(e) for e in _looked(case)}
    if why := _why_open(case):
        return case.unknown(why, answers=answers)
    return case.violated("No metadata was found where clients look for it.", answers=answers)


def _looked(case: Case) -> list[Exchange]:
    return [e for q in _LOOKED_AT if (e := case.seen.observation.exchanges.get(q)) is not None]


def _why_open(case: Case) -> str:
    """Why it is not known whether there is metadata, where none was found; empty when there is none."""
    looked = _looked(case)
    if not looked:
        return case.seen.why_unseen(Question.METADATA_AT_PATH)
    silent = [e for e in looked if not e.is_answered or (e.status or 0) >= 500 or e.status in (408, 429)]
    if silent:
        return f"{silent[0].url} could not be looked at: {_answer(silent[0])}"
    own = case.seen.exchange(Question.OWN_ISSUER)
    is_own_issuer = own is not None and own.status == 200 and isinstance(own.document, dict)
    if is_own_issuer and case.seen.claims(since("2025-06-18")) is None:
        return (
            "There is none, but its host answers as an authorization server of its own, which 2025-03-26 allows. "
            "Which version it speaks cannot be seen without a token."
        )
    return ""


@judges(
    "MCP-RS-05",
    "The metadata is about this very server",
    level="MUST",
    severity=Severity.HIGH,
    section="RFC 9728 §3.3",
    versions=since("2025-06-18"),
    remediation="Set `resource` to the exact URL that clients use, to the last character.",
)
def _identity(case: Case) -> CheckResult:
    if decided := _without_metadata(case):
        return decided
    metadata, exchange = case.seen.metadata, case.seen.metadata_exchange
    resource = metadata.get("resource") if metadata else None
    if not isinstance(resource, str) or exchange is None:
        return case.violated("The metadata names no `resource`, so clients must not use it.")
    found_at_root = exchange is case.seen.observation.exchanges.get(Question.METADATA_AT_ROOT)
    nearest = likeness(resource, case.seen.url)
    # What was found at the host's well-known address is about the host; what a challenge named is about this address.
    if (
        found_at_root
        and nearest is Likeness.PATH
        and likeness(resource, _base(case.seen.url))
        in (
            Likeness.IDENTICAL,
            Likeness.SLASH,
        )
    ):
        return case.met("The metadata is that of the whole host, and names it.", resource=resource[:2000])
    facts: dict[str, Any] = {"resource": resource[:2000], "expected": case.seen.url}
    match nearest:
        case Likeness.IDENTICAL:
            return case.met("`resource` is the address that was asked.", resource=resource[:2000])
        case Likeness.SLASH:
            return case.violated(
                "`resource` differs from the address by a slash at its end.", severity=Severity.LOW, **facts
            )
        case Likeness.PATH:
            return case.violated("`resource` is another address of the same host.", severity=Severity.MEDIUM, **facts)
    return case.violated(
        "`resource` belongs to another host, so a token asked for with it is not for this one.", **facts
    )


@judges(
    "MCP-RS-06",
    "The metadata names its authorization servers",
    level="MUST",
    severity=Severity.HIGH,
    section="MCP authorization, “Authorization Server Location”; RFC 8414 §2",
    versions=since("2025-06-18"),
    remediation="List at least one issuer in `authorization_servers`: https, without query or fragment.",
)
def _issuers(case: Case) -> CheckResult:
    if decided := _without_metadata(case):
        return decided
    listed = (case.seen.metadata or {}).get("authorization_servers")
    named = texts(listed)
    if not named or not isinstance(listed, list | tuple) or len(named) != len(listed):
        return case.violated("`authorization_servers` is missing, empty or no list of addresses.")
    for issuer in named:
        parts = split(issuer)
        if parts is None or not is_safe(issuer) or (is_loopback(issuer) and not is_loopback(case.seen.url)):
            return case.violated(f"{issuer[:500]} is no https address that others can reach.", issuers=_shown(named))
        if parts.query or parts.fragment:
            return case.violated(f"{issuer[:500]} has a query or a fragment.", issuers=_shown(named))
    return case.met(f"It names {counted(len(named), 'authorization server')}.", issuers=_shown(named))


@judges(
    "MCP-RS-07",
    "The challenge points to metadata of the same origin",
    level="SHOULD",
    severity=Severity.MEDIUM,
    section="RFC 9728 §7.3, §7.7",
    versions=since("2025-06-18"),
    remediation="Serve the metadata over https from the server's own origin.",
)
def _same_origin(case: Case) -> CheckResult:
    if decided := without_authorization(case):
        return decided
    if case.seen.gate is None:
        return case.unknown("No request was refused with 401, so no challenge was seen.")
    named = case.seen.challenge.parameters.get("resource_metadata", "") if case.seen.challenge else ""
    if not named:
        return case.not_applicable("The challenge names no metadata; MCP-RS-03 says so.")
    if not is_safe(named):
        return case.violated("The challenge points to metadata that is not served over https.", address=named[:2000])
    if origin(named) != origin(case.seen.url):
        return case.violated("The challenge sends clients to another origin for the metadata.", address=named[:2000])
    return case.met("The metadata is on the server's own origin.", address=named[:2000])


@judges(
    "MCP-RS-08",
    "The challenge names the scopes that are needed",
    level="SHOULD",
    severity=Severity.LOW,
    section="MCP authorization, “Protected Resource Metadata Discovery Requirements”; RFC 6750 §3",
    versions=since("2025-11-25"),
    remediation='Add `scope="…"` with the least that the request needs.',
)
def _scope_named(case: Case) -> CheckResult:
    if case.seen.gate is None:
        return without_authorization(case) or case.unknown("No request was refused with 401, so no challenge was seen.")
    scope = case.seen.challenge.parameters.get("scope", "") if case.seen.challenge else ""
    if scope.split():
        return case.met("The challenge names the scopes.", scopes=_shown(scope.split()))
    if case.seen.claims(since("2025-11-25")) is None:
        return case.violated("The challenge names no scope. Clients of 2025-11-25 and later look for it.")
    return case.violated("The challenge names no scope, so clients ask for everything or guess.")


@judges(
    "MCP-RS-09",
    "Scopes are narrow",
    level="SHOULD",
    severity=Severity.MEDIUM,
    section="MCP security best practices, “Scope Minimization”",
    versions=since("2025-11-25"),
    remediation="Replace wildcards by scopes of one purpose each, and ask for few of them at first.",
)
def _narrow(case: Case) -> CheckResult:
    if decided := without_authorization(case):
        return decided
    scopes = case.seen.scopes
    if not scopes:
        return case.unknown("Neither the challenge nor the metadata names a scope, so their breadth cannot be seen.")
    if broad := [scope for scope in scopes if _is_broad(scope)]:
        return case.violated(f"{', '.join(_shown(broad))} opens everything at once.", scopes=_shown(scopes))
    if len(scopes) > case.seen.scope_limit:
        return case.violated(
            f"It names {len(scopes)} scopes, which is more than the {case.seen.scope_limit} that policy allows.",
            scopes=_shown(scopes),
        )
    return case.met(f"It names {counted(len(scopes), 'scope')} and no wildcard.", scopes=_shown(scopes))


@judges(
    "MCP-RS-10",
    "It does not ask for offline access",
    level="SHOULD NOT",
    severity=Severity.LOW,
    section="MCP 2026-07-28 authorization, “Refresh Tokens”",
    versions=MODERN,
    remediation="Leave `offline_access` to clients, who ask the authorization server for it.",
)
def _offline(case: Case) -> CheckResult:
    if decided := without_authorization(case):
        return decided
    if case.seen.metadata is None and case.seen.challenge is None:
        return case.unknown("Neither a challenge nor metadata was seen.")
    if "offline_access" not in case.seen.scopes:
        return case.met("Neither its challenge nor its metadata names offline_access.")
    if case.seen.claims(MODERN) is None:
        return case.unknown(
            "It names offline_access, which a server of 2026-07-28 should not; which version it speaks was not seen."
        )
    return case.violated("It names offline_access, so every client asks for a token that outlives its user's visit.")


@judges(
    "MCP-RS-11",
    "Tokens are taken from the Authorization header alone",
    level="MUST NOT",
    severity=Severity.HIGH,
    section="MCP authorization, “Token Requirements”; RFC 9728 §2",
    remediation='Publish `"bearer_methods_supported": ["header"]` and refuse tokens elsewhere.',
)
def _methods(case: Case) -> CheckResult:
    if decided := without_authorization(case):
        return decided
    if case.seen.metadata is None:
        return case.unknown("There is no metadata that would say it. MCP-RS-16 tries it with a test credential.")
    if "bearer_methods_supported" not in case.seen.metadata:
        return case.unknown(
            "The metadata does not name `bearer_methods_supported`, which by RFC 9728 says nothing. MCP-RS-16 tries it "
            "with a test credential."
        )
    methods = texts(case.seen.metadata.get("bearer_methods_supported"))
    if others := [method for method in methods if method in ("query", "body")]:
        return case.violated(f"It takes tokens in the {' and the '.join(others)}, where logs and histories keep them.")
    return case.met("It names no place for tokens but the Authorization header.")


def _not_about_metadata(case: Case) -> CheckResult | None:
    if case.seen.offers_authorization is False:
        return without_authorization(case)
    return None if case.seen.gate or case.seen.metadata is not None else without_authorization(case)


def _without_metadata(case: Case) -> CheckResult | None:
    if decided := _not_about_metadata(case):
        return decided
    return case.unknown("There is no metadata to read; MCP-RS-04 says so.") if case.seen.metadata is None else None


def _is_broad(scope: str) -> bool:
    # mcp:*, admin:*, https://example.com/.default and the like: a part that is nothing but breadth.
    parts = scope.lower().replace("/", ":").split(":")
    return scope.lower() in _BROAD or "*" in parts or parts[-1] in ("full-access", "full_access", ".default")


def _base(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _answer(exchange: Exchange) -> str:
    return exchange.error or f"it answered {exchange.status}"


def _shown(values: list[str], most: int = 30) -> list[str]:
    shown = [value[:300] for value in values[:most]]
    return shown if len(values) <= most else [*shown, f"and {len(values) - most} more"]
