"""Judges an MCP client: by the metadata document that is its identity, and by what the inventory knows of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from inventory.posture.issuer_cases import (
    document,
    effective,
    is_private,
    listed,
    may_answer_later,
    seen,
    sentence,
    shown,
    split,
    text,
    texts,
)
from inventory.posture.model import Check, CheckResult, Target, since
from inventory.posture.wording import counted
from inventory.states import CredentialKind, Registration, Severity, Storage, Transport, TrustModel, Verdict
from providers.addresses import is_loopback_host
from providers.observations import ClientObservation, SafetyClass

__all__ = ["CHECKS", "ClientLimits", "ClientRecord", "RecordedUse", "judge_client"]

LARGEST_DOCUMENT = 5 * 1024

_SECRET_METHODS = frozenset({"client_secret_basic", "client_secret_post", "client_secret_jwt"})
_DANGEROUS = frozenset({"javascript", "data", "file", "vbscript", "blob", "about"})
_STDIO = Transport.STDIO.value


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedUse:
    """One credential as a client uses it at one server, as the inventory knows it."""

    server: str  # what tells servers apart: an address, or what starts it
    transport: str
    held_as: str = ""  # a `Storage`; empty when nobody knows
    kind: str = ""  # a `CredentialKind`
    trust_model: str = ""
    fingerprint: str = ""
    issuer: str = ""  # the authorization server that issued it, for what one issues
    offers_oauth: bool | None = None  # the server; None when that was never seen


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRecord:
    """What the inventory knows of a client. None is "not known" throughout.

    `uses` holds every use of the credentials this client has, those by other clients too, so that a value that
    stands at two places is seen. It is None when the client's uses were never looked for.
    """

    client_id: str
    issuer: str = ""
    registration: str = ""
    redirect_uris: tuple[str, ...] | None = None
    application_type: str | None = None
    is_metadata_known: bool = False  # its registration was read, so what it lacks is really absent
    registered_at: datetime | None = None
    has_secret: bool | None = None
    is_secret_endless: bool | None = None  # client_secret_expires_at is 0
    secret_expires_at: datetime | None = None
    last_used_at: datetime | None = None
    is_use_known: bool = False  # its use can be seen, so no last use means never
    uses: tuple[RecordedUse, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """How long a registered client may lie unused, and how old a secret without an end may be."""

    longest_unused: timedelta = timedelta(days=90)
    oldest_endless_secret: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    client_id: str
    newest_version: str
    now: datetime
    limits: ClientLimits
    observation: ClientObservation | None
    previous: ClientObservation | None
    record: ClientRecord | None

    @property
    def document(self) -> Mapping[str, Any] | None:
        """The metadata document, when there was one."""
        exchange = self.observation.exchange if self.observation else None
        if exchange is None or exchange.status != 200 or exchange.error:
            return None
        return document(exchange) or None

    @property
    def has_document(self) -> bool:
        """The client identifies itself by a document, whether or not it could be read."""
        return self.observation is not None or self.client_id.startswith("https://")


_Judge = Callable[[_Case], CheckResult]
JUDGES: dict[Check, _Judge] = {}


def _judges(
    number: str,
    title: str,
    *,
    level: str,
    severity: Severity,
    section: str,
    remediation: str,
    versions: tuple[str, ...] = (),
    of_document: bool = False,
    is_wrong_anyway: bool = False,
) -> Callable[[Callable[[Check, _Case], CheckResult]], _Judge]:
    """Declare a check with the function that judges it.

    A check of one version does not bind a client of servers that speak an older one; where nothing could tell the
    version, what would violate it is unknown, unless it `is_wrong_anyway`. A check of the document needs one.
    """
    check = Check(
        id=f"MCP-CL-{number}",
        target=Target.CLIENT,
        title=title,
        level=level,
        safety=SafetyClass.PASSIVE,
        severity=severity,
        section=section,
        versions=versions,
        remediation=remediation,
    )

    def declare(function: Callable[[Check, _Case], CheckResult]) -> _Judge:
        def judge(case: _Case) -> CheckResult:
            if versions and case.newest_version and case.newest_version not in versions:
                return check.not_applicable(
                    case.client_id,
                    f"Asked for since {versions[0]}; the newest version spoken here is {case.newest_version}.",
                )
            if of_document and not case.has_document:
                return check.not_applicable(case.client_id, "The client does not identify itself by a document.")
            result = function(check, case)
            is_open = bool(versions) and not case.newest_version and not of_document and not is_wrong_anyway
            if result.verdict is Verdict.VIOLATED and is_open:
                return check.unknown(
                    case.client_id,
                    f"{result.evidence['said']} This counts since {versions[0]}, and which version is spoken here "
                    "could not be observed.",
                )
            return result

        JUDGES[check] = judge
        return judge

    return declare


def judge_client(
    *,
    now: datetime,
    observation: ClientObservation | None = None,
    previous: ClientObservation | None = None,
    record: ClientRecord | None = None,
    newest_version: str = "",
    limits: ClientLimits | None = None,
) -> list[CheckResult]:
    """Say for every check what is known of one client: from its document, from the records, or from both."""
    client_id = observation.client_id if observation is not None else record.client_id if record is not None else ""
    case = _Case(
        client_id=client_id,
        newest_version=effective(newest_version),
        now=now,
        limits=limits or ClientLimits(),
        observation=observation,
        previous=previous,
        record=record,
    )
    return [JUDGES[check](case) for check in CHECKS]


# ── The document ─────────────────────────────────────────────────────────────────────────────────


@_judges(
    "01",
    "The client's id is an address that a metadata document can have",
    level="MUST",
    severity=Severity.HIGH,
    section="MCP Authorization, Client ID Metadata Documents; OAuth Client ID Metadata Document draft-02 §3",
    versions=since("2025-11-25"),
    of_document=True,
    remediation="Use an https address with a path, and without fragment, user name and dot segments.",
)
def id_is_an_address(check: Check, case: _Case) -> CheckResult:
    if case.observation is None:
        return check.unknown(case.client_id, "Its document was not looked for.")
    parts = split(case.client_id)
    if parts is None:
        return check.violated(case.client_id, f"{shown(case.client_id)} is no address.")
    faults = []
    if parts.scheme != "https":
        faults.append(f"the scheme is {shown(parts.scheme) or 'missing'} and not https")
    if not parts.hostname:
        faults.append("there is no host")
    if not parts.path:
        faults.append("there is no path")
    if {".", ".."} & {_plain(segment) for segment in parts.path.split("/")}:
        faults.append("the path holds a dot segment")
    if "#" in case.client_id:
        faults.append("there is a fragment")
    if "@" in parts.netloc:
        faults.append("there is a user name")
    if faults:
        return check.violated(case.client_id, sentence(faults))
    if "?" in case.client_id:
        return check.violated(case.client_id, "The address has a query, which it should not.", severity=Severity.LOW)
    if parts.path == "/":
        return check.violated(case.client_id, "The path is only a slash, which it should not.", severity=Severity.LOW)
    return check.met(case.client_id, "An https address with a path.")


def _plain(segment: str) -> str:
    return segment.replace("%2e", ".").replace("%2E", ".")


@_judges(
    "02",
    "The document is there, as JSON, small and without a redirect",
    level="MUST",
    severity=Severity.MEDIUM,
    section="OAuth Client ID Metadata Document draft-02 §5 and §8.7",
    versions=since("2025-11-25"),
    of_document=True,
    remediation="Answer the client's id itself with 200 and a JSON document of at most 5 KB.",
)
def document_is_there(check: Check, case: _Case) -> CheckResult:
    exchange = case.observation.exchange if case.observation else None
    if exchange is None:
        return check.unknown(case.client_id, "Its document was not looked for.")
    if case.observation is not None and case.observation.is_too_large:
        return check.violated(case.client_id, f"It is larger than {LARGEST_DOCUMENT // 1024} KB.", **seen(exchange))
    if exchange.error or not exchange.is_answered:
        return check.unknown(
            case.client_id, f"No answer: {shown(exchange.error) or 'nothing came back.'}", **seen(exchange)
        )
    if may_answer_later(exchange):
        return check.unknown(case.client_id, f"It answered {exchange.status}, which may pass.", **seen(exchange))
    if exchange.status is not None and 300 <= exchange.status < 400:
        return check.violated(
            case.client_id, "It redirects, which authorization servers must not follow.", **seen(exchange)
        )
    if exchange.status != 200:
        return check.violated(case.client_id, f"It answered {exchange.status}.", **seen(exchange))
    if not document(exchange):
        return check.violated(case.client_id, "The answer is no JSON object.", **seen(exchange))
    media_type = exchange.header("content-type").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        return check.violated(
            case.client_id,
            f"Its content type is {shown(media_type) or 'missing'} and not JSON.",
            severity=Severity.LOW,
            **seen(exchange),
        )
    return check.met(case.client_id, "200, JSON, not redirected.", **seen(exchange))


def _read(check: Check, case: _Case) -> Mapping[str, Any] | CheckResult:
    found = case.document
    return found if found is not None else check.unknown(case.client_id, "Its document could not be read.")


@_judges(
    "03",
    "The document names the address it stands at as its client",
    level="MUST",
    severity=Severity.HIGH,
    section="MCP Authorization, Client ID Metadata Documents; OAuth Client ID Metadata Document draft-02 §4",
    versions=since("2025-11-25"),
    of_document=True,
    remediation="Put the very address of the document into client_id.",
)
def document_names_itself(check: Check, case: _Case) -> CheckResult:
    found = _read(check, case)
    if isinstance(found, CheckResult):
        return found
    named = found.get("client_id")
    if named == case.client_id:
        return check.met(case.client_id, "client_id is the address of the document.")
    said = "is missing" if named is None else f"is {shown(named)}"
    return check.violated(case.client_id, f"client_id {said}.")


@_judges(
    "04",
    "The document gives a name and redirect addresses",
    level="MUST",
    severity=Severity.MEDIUM,
    section="MCP Authorization, Client ID Metadata Documents",
    versions=since("2025-11-25"),
    of_document=True,
    remediation="Add client_name and redirect_uris.",
)
def document_is_complete(check: Check, case: _Case) -> CheckResult:
    found = _read(check, case)
    if isinstance(found, CheckResult):
        return found
    missing = []
    if not text(found.get("client_name")).strip():
        missing.append("client_name")
    if not texts(found.get("redirect_uris")):
        missing.append("redirect_uris")
    if missing:
        return check.violated(case.client_id, f"Missing: {listed(missing)}.")
    return check.met(case.client_id, "client_name and redirect_uris are there.")


@_judges(
    "05",
    "The document holds no shared secret and asks for none",
    level="MUST NOT",
    severity=Severity.HIGH,
    section="OAuth Client ID Metadata Document draft-02 §4.1",
    versions=since("2025-11-25"),
    of_document=True,
    remediation="Take the secret out, consider it public and revoke it; authenticate with private_key_jwt or none.",
)
def document_holds_no_secret(check: Check, case: _Case) -> CheckResult:
    found = _read(check, case)
    if isinstance(found, CheckResult):
        return found
    faults = [
        f"{name} is there" for name in ("client_secret", "client_secret_expires_at") if found.get(name) is not None
    ]
    key_set = found.get("jwks")
    keys = key_set.get("keys") if isinstance(key_set, Mapping) else None
    if any(isinstance(key, Mapping) and is_private(key) for key in (keys if isinstance(keys, list) else ())):
        faults.append("a key in jwks is private")
    method = found.get("token_endpoint_auth_method")
    if method is None:
        faults.append("token_endpoint_auth_method is missing, which means client_secret_basic")
    elif method in _SECRET_METHODS if isinstance(method, str) else True:
        faults.append(f"token_endpoint_auth_method is {shown(method)}")
    if faults == ["token_endpoint_auth_method is missing, which means client_secret_basic"]:
        return check.violated(case.client_id, sentence(faults), severity=Severity.LOW)
    if faults:
        return check.violated(case.client_id, sentence(faults))
    return check.met(case.client_id, f"It authenticates by {shown(method)}.")


@_judges(
    "06",
    "Redirect addresses are https or on the person's own machine",
    level="MUST",
    severity=Severity.HIGH,
    section="MCP Authorization, Communication Security and Localhost Redirect URI Risks",
    remediation="Register https addresses; where only loopback is possible, expect others to imitate the client.",
)
def redirects_are_safe(check: Check, case: _Case) -> CheckResult:
    found = case.document
    addresses = texts(found.get("redirect_uris")) if found is not None else None
    if addresses is None and case.record is not None:
        addresses = case.record.redirect_uris
    if addresses is None:
        return check.unknown(case.client_id, "Its redirect addresses are not known.")
    if not addresses:
        return check.not_applicable(case.client_id, "It has no redirect address.")
    wrong = [(*fault, address) for address in addresses if (fault := _redirect_fault(address)) is not None]
    if wrong:
        severity, said, address = max(wrong, key=lambda one: one[0])
        return check.violated(
            case.client_id,
            f"{shown(address)}: {said}.",
            severity=severity,
            addresses=[shown(address) for *_, address in wrong[:20]],
        )
    hosts = [parts.hostname for address in addresses if (parts := split(address)) is not None]
    if all(is_loopback_host(host) for host in hosts):
        return check.violated(
            case.client_id,
            "Every redirect address is on the person's own machine, where any program can pose as this client.",
            severity=Severity.LOW,
        )
    return check.met(case.client_id, f"{counted(len(addresses), 'redirect address', 'es')}, https or loopback.")


def _redirect_fault(address: str) -> tuple[Severity, str] | None:
    parts = split(address)
    if parts is None:
        return Severity.HIGH, "not an address"
    if parts.scheme == "https":
        if not parts.hostname:
            return Severity.HIGH, "no host"
        return (Severity.HIGH, "a wildcard") if "*" in parts.netloc else None
    if parts.scheme == "http":
        return None if is_loopback_host(parts.hostname) else (Severity.HIGH, "plain HTTP to another machine")
    if not parts.scheme or parts.scheme in _DANGEROUS:
        return Severity.HIGH, f"the scheme {shown(parts.scheme) or 'is missing'}"
    return Severity.MEDIUM, f"the private scheme {shown(parts.scheme)}, which any program can claim"


@_judges(
    "07",
    "Its keys are published where it authenticates by key, and nothing changed since they were last seen",
    level="MAY, watched",
    severity=Severity.MEDIUM,
    section="MCP Authorization, Client ID Metadata Documents; OAuth Client ID Metadata Document draft-02 §8.2 and §8.4",
    versions=since("2025-11-25"),
    of_document=True,
    remediation="Find out who changed the document; if nobody of yours did, suspend the client.",
)
def document_is_unchanged(check: Check, case: _Case) -> CheckResult:
    found = _read(check, case)
    if isinstance(found, CheckResult):
        return found
    by_key = found.get("token_endpoint_auth_method") == "private_key_jwt"
    if by_key and not isinstance(found.get("jwks"), Mapping) and not text(found.get("jwks_uri")):
        return check.violated(case.client_id, "It authenticates by key and publishes none.")
    before = case.previous.exchange if case.previous is not None else None
    known = document(before) if before is not None and before.status == 200 and not before.error else {}
    if not known:
        return check.unknown(case.client_id, "It was not seen before, so there is nothing to compare it with.")
    changed = [name for name in ("redirect_uris", "jwks", "jwks_uri") if known.get(name) != found.get(name)]
    if changed:
        return check.violated(case.client_id, f"Changed since it was last seen: {listed(changed)}.", changed=changed)
    return check.met(case.client_id, "Redirect addresses and keys are what they were.")


# ── The records ──────────────────────────────────────────────────────────────────────────────────


def _uses(check: Check, case: _Case) -> tuple[RecordedUse, ...] | CheckResult:
    if case.record is None or case.record.uses is None:
        return check.unknown(case.client_id, "What it uses is not known.")
    return case.record.uses


@_judges(
    "08",
    "Its credentials are bound to the authorization server that issued them",
    level="MUST",
    severity=Severity.HIGH,
    section="MCP Authorization 2026-07-28, Authorization Server Binding",
    versions=since("2026-07-28"),
    is_wrong_anyway=True,
    remediation="Register the client anew at each authorization server, and keep what each issued apart.",
)
def credentials_have_an_issuer(check: Check, case: _Case) -> CheckResult:
    uses = _uses(check, case)
    if isinstance(uses, CheckResult):
        return uses
    shared = _shared(uses, lambda use: use.issuer)
    if shared:
        issuers = sorted(shared[0])
        return check.violated(
            case.client_id,
            f"The same value is used at {listed(issuers)}.",
            issuers=[shown(one) for one in issuers[:20]],
        )
    issued = [use for use in uses if use.kind in _ISSUED]
    if case.record is not None and case.record.registration == Registration.CIMD and not issued:
        return check.met(case.client_id, "It identifies itself by a document, which is good at every issuer.")
    if not issued:
        return check.not_applicable(case.client_id, "It holds nothing that an authorization server issued.")
    if nameless := [use for use in issued if not use.issuer]:
        return check.unknown(
            case.client_id, f"Who issued what it uses at {listed({use.server for use in nameless})} is not known."
        )
    return check.met(case.client_id, "Everything it holds belongs to one issuer each.")


_ISSUED = frozenset(
    {
        CredentialKind.OAUTH_ACCESS_TOKEN.value,
        CredentialKind.OAUTH_REFRESH_TOKEN.value,
        CredentialKind.OAUTH_CLIENT_SECRET.value,
        CredentialKind.REGISTRATION_TOKEN.value,
    }
)


def _shared(uses: tuple[RecordedUse, ...], place: Callable[[RecordedUse], str]) -> list[set[str]]:
    """The places of each value that stands at more than one."""
    places: dict[str, set[str]] = {}
    for use in uses:
        if use.fingerprint and place(use):
            places.setdefault(use.fingerprint, set()).add(place(use))
    return [found for found in places.values() if len(found) > 1]


@_judges(
    "09",
    "A dynamically registered client says what sort of application it is",
    level="MUST",
    severity=Severity.LOW,
    section="MCP Authorization 2026-07-28, Application Type and Redirect URI Constraints",
    versions=since("2026-07-28"),
    remediation="Send application_type, native or web, when registering.",
)
def has_application_type(check: Check, case: _Case) -> CheckResult:
    record = case.record
    if record is None:
        return check.unknown(case.client_id, "There is no record of its registration.")
    if record.registration and record.registration != Registration.DYNAMIC:
        return check.not_applicable(case.client_id, "It was not registered dynamically.")
    if record.application_type in ("native", "web"):
        return check.met(case.client_id, f"application_type is {record.application_type}.")
    if record.application_type:
        return check.violated(case.client_id, f"application_type is {shown(record.application_type)}.")
    if not record.is_metadata_known or not record.registration:
        return check.unknown(case.client_id, "Its registration could not be read.")
    return check.violated(case.client_id, "application_type is missing, which means web.")


@_judges(
    "10",
    "A dynamically registered client is in use, and its secret ends",
    level="governance",
    severity=Severity.MEDIUM,
    section="RFC 7591 §3.2.1",
    remediation="Remove what nobody uses, in stages, and give secrets an end.",
)
def registration_is_alive(check: Check, case: _Case) -> CheckResult:
    record, limits = case.record, case.limits
    if record is None:
        return check.unknown(case.client_id, "There is no record of its registration.")
    if record.registration and record.registration != Registration.DYNAMIC:
        return check.not_applicable(case.client_id, "It was not registered dynamically.")
    oldest = case.now - limits.oldest_endless_secret
    if record.is_secret_endless and record.registered_at is not None and record.registered_at < oldest:
        return check.violated(
            case.client_id, f"Its secret never expires, and it was registered on {_day(record.registered_at)}."
        )
    used_at = record.last_used_at or (record.registered_at if record.is_use_known else None)
    if used_at is None:
        return check.unknown(case.client_id, "Whether anybody uses it is not known.")
    if case.now - used_at > limits.longest_unused:
        last = "Last used on" if record.last_used_at else "Never used since it was registered on"
        return check.violated(case.client_id, f"{last} {_day(used_at)}.")
    if record.is_secret_endless is None and record.has_secret is not False and record.secret_expires_at is None:
        return check.unknown(case.client_id, "It is in use; whether its secret ends is not known.")
    if record.is_secret_endless and record.registered_at is None:
        return check.unknown(case.client_id, "Its secret never expires, and how old it is is not known.")
    return check.met(case.client_id, f"Used within {limits.longest_unused.days} days.")


def _day(time: datetime) -> str:
    return time.date().isoformat()


@_judges(
    "11",
    "A local server gets its secret by reference",
    level="best practice",
    severity=Severity.HIGH,
    section="MCP Security Best Practices, local servers",
    remediation="Move the value to a vault or the environment, reference it, and rotate it.",
)
def local_secrets_are_references(check: Check, case: _Case) -> CheckResult:
    uses = _uses(check, case)
    if isinstance(uses, CheckResult):
        return uses
    local = [use for use in uses if use.transport == _STDIO]
    if not local:
        return check.not_applicable(case.client_id, "It starts no local server with a credential.")
    if literal := sorted({use.server for use in local if use.held_as == Storage.LITERAL}):
        return check.violated(
            case.client_id,
            f"A secret stands literally in the configuration of {listed(literal)}.",
            servers=[shown(server) for server in literal[:20]],
        )
    if unknown := {use.server for use in local if not use.held_as}:
        return check.unknown(case.client_id, f"How {listed(sorted(unknown))} gets its secret is not known.")
    return check.met(case.client_id, f"No literal among {counted(len(local), 'credential')} for local servers.")


@_judges(
    "12",
    "No static key is used where OAuth is offered",
    level="best practice",
    severity=Severity.MEDIUM,
    section="MCP Authorization, Access Token Usage",
    remediation="Let the client obtain tokens from the server's authorization server, then revoke the key.",
)
def offered_oauth_is_used(check: Check, case: _Case) -> CheckResult:
    uses = _uses(check, case)
    if isinstance(uses, CheckResult):
        return uses
    static = [
        use
        for use in uses
        if use.transport != _STDIO and use.trust_model == TrustModel.STATIC_SERVICE and use.kind not in _ISSUED
    ]
    if wrong := sorted({use.server for use in static if use.offers_oauth}):
        return check.violated(
            case.client_id,
            f"{listed(wrong)} offers OAuth and is reached with a static key.",
            servers=[shown(server) for server in wrong[:20]],
        )
    unclear = sorted(
        {use.server for use in static if use.offers_oauth is None}
        | {use.server for use in uses if use.transport != _STDIO and use.trust_model == TrustModel.UNKNOWN}
    )
    if unclear:
        return check.unknown(case.client_id, f"Whether a static key is needed at {listed(unclear)} is not known.")
    if not static:
        return check.met(case.client_id, "It reaches no remote server with a static key.")
    return check.met(case.client_id, "Static keys are used only where OAuth is not offered.")


@_judges(
    "13",
    "No value is used at two servers",
    level="MUST NOT",
    severity=Severity.CRITICAL,
    section="MCP Authorization, Access Token Privilege Restriction",
    versions=since("2025-06-18"),
    is_wrong_anyway=True,
    remediation="Issue one credential for each server, and revoke the one that was shared.",
)
def values_are_not_shared(check: Check, case: _Case) -> CheckResult:
    uses = _uses(check, case)
    if isinstance(uses, CheckResult):
        return uses
    shared = _shared(uses, lambda use: use.server)
    if shared:
        servers = sorted(shared[0])
        more = f" {len(shared) - 1} more values are shared, too." if len(shared) > 1 else ""
        return check.violated(
            case.client_id,
            f"The same value is used at {listed(servers)}.{more}",
            servers=[shown(server) for server in servers[:20]],
        )
    if any(not use.fingerprint for use in uses):
        return check.unknown(case.client_id, "Some of its values were never seen, so they cannot be compared.")
    return check.met(case.client_id, "Every value is used at one server.")


CHECKS: tuple[Check, ...] = tuple(sorted(JUDGES, key=lambda check: check.id))
