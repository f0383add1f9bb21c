"""Rules about credentials. `v` is a row of CREDENTIAL_FACTS: live credentials only, with what binds and uses them."""

from inventory.states import CredentialStatus, Severity, Storage
from lifecycle.rules.declaration import Evidence, Rule, Subject, beside
from lifecycle.states import OperationKind, OperationState, Raised, Step
from web.wording import plural


def _hard_coded(e: Evidence) -> str:
    more = int(e.values["places"]) - 1
    file = "/".join(e.text("file").split("/")[-2:])  # the evidence has the whole path
    words = f"Literal secret in {file}" + (f" and {plural(more, 'more place')}" if more else "")
    return f"{words}, readable by other users" if e.has("readable_by_others") else words


def _unrotated(e: Evidence) -> str:
    age = e.since("known_since")
    # First seen then and issued some time before: the true age can only be higher.
    words = f"At least {age}" if e.has("issued_before") else age
    return f"{words} old; the policy allows {e.limit('max_age', beside=age)}"


def _stale(e: Evidence) -> str:
    idle = e.since("last_used_at")
    return f"Unused for {idle}; the policy allows {e.limit('max_idle', beside=idle)}"


def _lifetime(e: Evidence) -> str:
    life = e.limit("lifetime", beside="")
    return f"Lives {life}; the policy allows {e.limit('max_lifetime', beside=life)}"


def _no_owner(e: Evidence) -> str:
    return "Nobody answers for it" + ("; the policy wants an owner" if e.has("policy") else "")


def _kept(e: Evidence) -> str:
    places = e.count("places", "file") if e.has("places") else "a file"
    return f"Written down in {places}; the policy wants a reference"


def _review(e: Evidence) -> str:
    interval = e.limit("review_interval", beside="")
    if e.has("reviewed_at"):
        return f"Confirmed {e.since('reviewed_at')} ago; the policy asks for it every {interval}"
    return f"Nobody confirmed it in the {e.since('first_seen_at')} that it is known; the policy asks every {interval}"


def _revived(e: Evidence) -> str:
    if e.has("version"):
        return f"Its earlier version {e.text('version')}, destroyed {e.since('destroyed_at')} ago, is alive again"
    if e.has("last_used_at"):
        return f"Destroyed {e.since('destroyed_at')} ago, and used after that"
    return f"Destroyed {e.since('destroyed_at')} ago, and its provider lists it as active"


def _unended(e: Evidence) -> str:
    kind = e.text("kind")
    if e.has("stalled_at"):
        return f"Its {kind} has waited for somebody for {e.since('stalled_at')}"
    if e.has("proposed_at"):
        return f"Its {kind} was proposed {e.since('proposed_at')} ago, and nobody decided"
    return f"Its {kind} has been at “{Step(e.text('step')).label}” for {e.since('step_at')}"


def _unverified(e: Evidence) -> str:
    what = "it is" if e.has("revoked") else "its earlier version is"
    late = f"; somebody was to look {e.since('verify_by')} ago" if e.has("overdue") else ""
    return f"Nobody could tell whether {what} refused{late}"


def _unrevoked(e: Evidence) -> str:
    if e.has("requested_at"):
        return f"Its revocation was asked for {e.since('requested_at')} ago, and nobody has seen it refused"
    if e.has("clients_removed"):
        return "The client it was issued to was removed; it is still there"
    if e.has("suspended_at"):
        return f"Suspended for {e.since('suspended_at')} and not destroyed"
    return f"Its owner left {e.since('owner_left_at')} ago; it is still there"


# Of what the provider itself says, and so of what is certain.
_LISTED_ALIVE = (
    f"v.storage = '{Storage.PROVIDER.value}'"
    f" AND v.status IN ('{CredentialStatus.ACTIVE.value}', '{CredentialStatus.ROTATING.value}')"
)
_OF_REMOVED_CLIENTS = "(v.is_of_removed_client OR v.uses > 0 AND v.removed_uses = v.uses)"

CREDENTIAL_RULES = (
    Rule(
        slug="hard-coded",
        name="Hard-coded secret",
        subject=Subject.CREDENTIAL,
        severity=Severity.HIGH,
        controls=("PR.AA-01", "PR.DS-10", "NHI2:2025", "MCP01:2025", "ASI03"),
        why="Whoever reads the file, a backup of it or a screen that shows it can use the secret unnoticed.",
        remediation="Rotate the secret, and let the configuration refer to a secret store instead.",
        violated="v.exposures > 0",
        contexts=beside(Raised.EXPOSED),
        raised="v.readable_by_others",
        evidence={
            "places": "v.exposures",
            "file": "v.exposed_file",
            "readable_by_others": "v.readable_by_others",
            "criticality": "v.criticality",
        },
        title=_hard_coded,
    ),
    Rule(
        slug="reused-across-environments",
        name="Reused across environments",
        subject=Subject.CREDENTIAL,
        severity=Severity.HIGH,
        controls=("PR.AA-05", "PR.IR-01", "NHI8:2025", "MCP01:2025", "ASI08"),
        why="A leak in the least guarded environment opens the most guarded one.",
        remediation="Issue one credential per environment, then rotate this one.",
        applies="v.uses > 0",
        violated="v.environments > 1",
        unknown="v.uses > 1 AND v.unplaced_uses > 0",
        evidence={"environments": "v.environments", "names": "v.environment_names"},
        title=lambda e: f"One secret serves {', '.join(e.values['names'])}",
    ),
    Rule(
        slug="reused-across-clients",
        name="Reused across clients",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-02", "PR.AA-01", "NHI9:2025", "MCP01:2025", "ASI03"),
        why="What one client does cannot be told from what another does, and it cannot be taken from one alone.",
        remediation="Issue one credential per client, then rotate this one.",
        applies="v.uses > 0",
        violated="v.clients > 1",
        evidence={"clients": "v.clients"},
        title=lambda e: f"One secret serves {e.count('clients', 'client')}",
    ),
    Rule(
        slug="reused-across-servers",
        name="Reused across servers",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-02", "PR.AA-01", "NHI9:2025", "MCP01:2025", "ASI03"),
        why="Each of the servers can act as every other one, and the weakest of them guards the secret of all.",
        remediation="Issue one credential per server, then rotate this one.",
        applies="v.uses > 0",
        violated="v.servers > 1",
        evidence={"servers": "v.servers"},
        title=lambda e: f"One secret serves {e.count('servers', 'server')}",
    ),
    Rule(
        slug="no-owner",
        name="No owner",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "GV.RR-02", "NHI1:2025", "MCP02:2025", "ASI03"),
        why="Nobody decides about it, so it is neither rotated nor revoked when its purpose ends.",
        remediation="Assign an owner, or revoke what nobody claims.",
        violated="v.owner_id IS NULL",
        evidence={"policy": "CASE WHEN v.requires_owner THEN v.policy END"},
        title=_no_owner,
    ),
    Rule(
        slug="owner-inactive",
        name="Owner inactive",
        subject=Subject.CREDENTIAL,
        severity=Severity.HIGH,
        controls=("PR.AA-01", "GV.RR-02", "NHI1:2025", "MCP02:2025", "ASI03"),
        why="The owner has left, and may still hold the secret.",
        remediation="Rotate the secret and assign an active owner, or revoke it.",
        applies="v.owner_id IS NOT NULL",
        violated="NOT v.owner_is_active",
        evidence={"owner": "v.owner_name"},
        title=lambda e: f"Its owner {e.text('owner')} is no longer active",
    ),
    Rule(
        slug="unrotated",
        name="Unrotated",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "NHI7:2025", "MCP01:2025", "ASI03"),
        why="The longer a secret lives, the more copies of it exist and the longer an unnoticed leak stays useful.",
        remediation="Rotate the secret.",
        applies="v.max_age IS NOT NULL",
        violated="v.rotate_by <= %(now)s",
        # Younger than the limit as far as it was seen, but nobody knows since when it exists.
        unknown="v.issued_at IS NULL",
        evidence={
            "known_since": "v.known_since",
            "issued_before": "v.issued_at IS NULL",
            "rotate_by": "v.rotate_by",
            "max_age": "extract(epoch FROM v.max_age)::bigint",
            "policy": "v.policy",
        },
        title=_unrotated,
    ),
    Rule(
        slug="stale",
        name="Stale",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "PR.AA-05", "NHI1:2025", "MCP01:2025", "ASI03"),
        why="What nobody uses can only be misused.",
        remediation="Revoke it, or ask its owner what it is kept for.",
        applies="v.max_idle IS NOT NULL",
        violated="v.stale_at <= %(now)s",
        unknown="v.last_used_at IS NULL",
        evidence={
            "last_used_at": "v.last_used_at",
            "stale_at": "v.stale_at",
            "max_idle": "extract(epoch FROM v.max_idle)::bigint",
            "policy": "v.policy",
        },
        title=_stale,
    ),
    Rule(
        slug="no-expiry",
        name="No expiry",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "NHI7:2025", "MCP01:2025", "ASI03"),
        why="Nothing but a person's memory will ever end it.",
        remediation="Issue one that expires, then revoke this one.",
        applies="v.requires_expiry",
        # Only whoever issued it can say that it never expires; a file that holds it says nothing about that.
        violated="v.expires_at IS NULL AND v.storage = 'provider'",
        unknown="v.expires_at IS NULL",
        evidence={"policy": "v.policy"},
        title=lambda _: "Never expires; the policy wants an expiry",
    ),
    Rule(
        slug="lifetime-too-long",
        name="Lifetime too long",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "NHI7:2025", "MCP01:2025", "ASI03"),
        why="An expiry limits a leak only as much as it is near.",
        remediation="Shorten the lifetime where it is issued, then rotate.",
        applies="v.max_lifetime IS NOT NULL",
        # Issued when it was first seen or before, so this is the shortest life it can have.
        violated="v.expires_at - v.known_since > v.max_lifetime",
        unknown="v.expires_at IS NULL OR v.issued_at IS NULL",
        evidence={
            "lifetime": "extract(epoch FROM v.expires_at - v.known_since)::bigint",
            "max_lifetime": "extract(epoch FROM v.max_lifetime)::bigint",
            "expires_at": "v.expires_at",
            "policy": "v.policy",
        },
        title=_lifetime,
    ),
    Rule(
        slug="expired-still-active",
        name="Expired, still there",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "NHI1:2025", "MCP01:2025", "ASI03"),
        why="Either its expiry is not enforced or something still relies on a dead secret.",
        remediation="Revoke it where it was issued, and remove it where it is configured.",
        applies="v.expires_at IS NOT NULL",
        violated="v.expires_at <= %(now)s",
        raised="v.status = 'active'",
        evidence={"expires_at": "v.expires_at", "status": "v.status"},
        title=lambda e: f"Expired {e.since('expires_at')} ago and still there",
    ),
    Rule(
        slug="disabled-everywhere",
        name="Disabled everywhere",
        subject=Subject.CREDENTIAL,
        severity=Severity.LOW,
        controls=("PR.AA-01", "NHI1:2025", "MCP01:2025", "ASI03"),
        why="Every entry that holds it is switched off, yet the secret works as long as nobody revokes it.",
        remediation="Revoke it and remove the entries.",
        applies="v.uses > 0",
        violated="v.enabled_uses = 0",
        contexts=(),
        evidence={"uses": "v.uses"},
        title=lambda _: "Every server entry that holds it is switched off",
    ),
    Rule(
        slug="static-key-where-consent-expected",
        name="Static key where consent is expected",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "PR.AA-03", "NHI4:2025", "MCP01:2025", "ASI03"),
        why="Everybody who holds the key acts as the same identity, for as long as it lives, with all it may do.",
        remediation="Let people consent through the server's OAuth, and revoke the key.",
        applies="v.is_static AND v.remote_uses > 0",
        violated="v.consent_uses > 0",
        unknown="v.unasked_uses > 0",  # nobody has asked one of the servers whether it offers OAuth
        evidence={"uses": "v.consent_uses"},
        title=lambda _: "Sent to a server that offers OAuth consent",
    ),
    Rule(
        slug="consented-without-subject",
        name="Consented by nobody known",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-02", "PR.AA-01", "NHI10:2025", "MCP08:2025", "ASI03"),
        why="It acts for a person, and when that person leaves nobody will know to revoke it.",
        remediation="Find out at its authorization server who consented, or revoke it and let them consent again.",
        applies="v.is_consented",
        # Only whoever issued it can say that it names nobody; a place that holds it says nothing about that.
        violated=f"NOT v.has_subject AND v.storage = '{Storage.PROVIDER.value}'",
        unknown="NOT v.has_subject",
        title=lambda _: "User-consented, but its provider names no user",
    ),
    Rule(
        slug="scope-too-broad",
        name="Scope too broad",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-05", "NHI5:2025", "MCP02:2025", "ASI03"),
        why="Whoever takes it can do far more than the work it was issued for.",
        remediation="Issue one with the scopes that its work needs, then revoke this one.",
        applies="v.is_scoped",
        violated="v.broad_scopes IS NOT NULL OR v.is_sweeping",
        contexts=beside(Raised.PRIVILEGED),
        unknown="NOT v.has_scopes",
        evidence={"scopes": "v.broad_scopes", "everything": "nullif(v.is_sweeping, false)"},
        title=lambda e: (
            f"Carries {e.some('scopes')}" if e.has("scopes") else "Carries every scope that its server offers"
        ),
    ),
    Rule(
        slug="scope-not-granted",
        name="Scope not granted",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-05", "NHI5:2025", "MCP02:2025", "ASI03"),
        why="It can do what nobody has approved for the client that holds it.",
        remediation="Have a grant with these scopes approved, or issue a token without them.",
        applies="v.is_token",
        violated="cardinality(v.ungranted_scopes) > 0",
        # Which scopes it carries, or where it is used and so which grant would allow them, is not known.
        unknown="NOT v.has_scopes OR v.uses = 0",
        evidence={"scopes": "v.ungranted_scopes"},
        title=lambda e: f"No grant in force allows {e.some('scopes')}",
    ),
    Rule(
        slug="kept-as-literal",
        name="Kept as a literal",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "PR.DS-01", "NHI2:2025", "MCP01:2025", "ASI03"),
        why="The policy wants secrets of this kind in a store that says who read them; a file says that of nobody.",
        remediation="Put the secret into a store, refer to it where it is written down, then rotate it.",
        # Where a client keeps tokens that it was given, nobody could write a reference.
        applies=f"v.requires_reference AND (v.storage <> '{Storage.TOKEN_STORE.value}' OR v.exposures > 0)",
        violated=f"v.exposures > 0 OR v.storage = '{Storage.LITERAL.value}'",
        contexts=beside(Raised.EXPOSED),
        unknown=f"v.storage = '{Storage.PROVIDER.value}' AND NOT v.has_reference AND v.referenced_uses = 0",
        evidence={"places": "nullif(v.exposures, 0)", "file": "v.exposed_file", "policy": "v.policy"},
        title=_kept,
    ),
    Rule(
        slug="scope-not-allowed",
        name="Scope not allowed",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-05", "NHI5:2025", "MCP02:2025", "ASI03"),
        why="The policy says which scopes such credentials may carry, and this one carries others.",
        remediation="Issue one with the scopes that the policy allows, then revoke this one.",
        applies="v.allowed_scopes IS NOT NULL AND v.is_scoped",
        violated="cardinality(v.disallowed_scopes) > 0",
        unknown="NOT v.has_scopes",
        evidence={"scopes": "v.disallowed_scopes", "policy": "v.policy"},
        title=lambda e: f"Carries {e.some('scopes')}, which the policy does not allow",
    ),
    Rule(
        slug="review-overdue",
        name="Review overdue",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-05", "NHI5:2025", "MCP02:2025", "ASI03"),
        why="What nobody has to confirm is kept for ever, with all that it may do.",
        remediation="Confirm that it is still needed, or revoke it.",
        applies="v.review_interval IS NOT NULL",
        violated="v.review_by <= %(now)s",
        # Known here for less than the interval; what was confirmed before that, elsewhere, is not known.
        unknown="v.reviewed_at IS NULL",
        evidence={
            "reviewed_at": "v.reviewed_at",
            "first_seen_at": "CASE WHEN v.reviewed_at IS NULL THEN v.first_seen_at END",
            "review_by": "v.review_by",
            "review_interval": "extract(epoch FROM v.review_interval)::bigint",
            "policy": "v.policy",
        },
        title=_review,
    ),
    Rule(
        slug="valid-after-revocation",
        name="Valid after revocation",
        subject=Subject.CREDENTIAL,
        severity=Severity.HIGH,
        controls=("PR.AA-01", "RS.MI-02", "NHI1:2025", "MCP01:2025", "ASI10"),
        why="Everybody counts on it being dead, so nobody looks at who uses it.",
        remediation="Destroy it at its provider and see that the provider refuses it; then find out who used it.",
        applies="v.destroyed_at IS NOT NULL",
        violated=f"""v.is_used_since OR v.old_destroyed_at IS NOT NULL
            OR v.same_destroyed_at IS NOT NULL AND {_LISTED_ALIVE}""",
        # Its value is there once more, and nobody who would know says whether it is still accepted.
        unknown="v.same_destroyed_at IS NOT NULL",
        evidence={
            "destroyed_at": "coalesce(v.old_destroyed_at, v.same_destroyed_at)",
            "version": "CASE WHEN v.old_destroyed_at IS NOT NULL THEN coalesce(v.old_external_id, '?') END",
            "last_used_at": "CASE WHEN v.is_used_since THEN v.last_used_at END",
            "status": "v.status",
        },
        title=_revived,
    ),
    Rule(
        slug="revocation-overdue",
        name="Revocation overdue",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "PR.AA-05", "RS.MI-01", "NHI1:2025", "MCP01:2025", "ASI10"),
        why="Its end was decided or is due, and until somebody makes it the secret can be switched on again or used.",
        remediation="Destroy it at its provider, or say what it is needed for and assign an active owner.",
        applies=f"""v.suspended_at IS NOT NULL OR v.owner_is_active IS FALSE OR {_OF_REMOVED_CLIENTS}
            OR v.refused_by IS NOT NULL""",
        violated=f"""v.suspended_by <= %(now)s OR v.owner_gone_by <= %(now)s OR {_OF_REMOVED_CLIENTS}
            OR v.refused_by <= %(now)s""",
        unknown="v.owner_is_active IS FALSE AND v.owner_gone_by IS NULL",  # nobody kept when the owner left
        evidence={
            "requested_at": "CASE WHEN v.refused_by <= %(now)s THEN v.operation_requested_at END",
            "clients_removed": f"nullif({_OF_REMOVED_CLIENTS}, false)",
            "suspended_at": "CASE WHEN v.suspended_by <= %(now)s THEN v.suspended_at END",
            "owner": "CASE WHEN v.owner_gone_by <= %(now)s THEN v.owner_name END",
            "owner_left_at": "CASE WHEN v.owner_gone_by <= %(now)s THEN v.owner_left_at END",
        },
        title=_unrevoked,
    ),
    Rule(
        slug="revocation-unverified",
        name="Revocation not verified",
        subject=Subject.CREDENTIAL,
        severity=Severity.HIGH,
        controls=("PR.AA-01", "RS.MI-02", "NHI1:2025", "MCP01:2025", "ASI10"),
        why="That its end was asked for, and that its provider said yes, is no sign that the secret is refused.",
        remediation="Present the secret where it was taken, or look at its provider's own record; say what was seen.",
        applies="v.verify_by IS NOT NULL",
        violated="v.verify_by IS NOT NULL",
        contexts=(),
        raised="v.verify_by <= %(now)s",
        evidence={
            "verify_by": "v.verify_by",
            "overdue": "nullif(v.verify_by <= %(now)s, false)",
            "revoked": "nullif(v.is_unproven_revocation, false)",
        },
        title=_unverified,
    ),
    Rule(
        slug="operation-not-ended",
        name="Operation not ended",
        subject=Subject.CREDENTIAL,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "RS.MI-01", "NHI7:2025", "MCP01:2025", "ASI10"),
        why="Everybody takes it for done or under way, and it is neither until somebody looks.",
        remediation="See what it waits for, then resume it, decide about it, or cancel it.",
        applies="v.operation IS NOT NULL",
        violated="v.operation_stalled_at IS NOT NULL OR v.operation_late_at <= %(now)s",
        graded=f"""CASE WHEN v.operation = '{OperationKind.REVOCATION.value}'
            AND v.operation_state <> '{OperationState.PROPOSED.value}'
            THEN {Severity.HIGH.value} ELSE {Severity.MEDIUM.value} END""",
        evidence={
            "kind": "v.operation",
            "stalled_at": "v.operation_stalled_at",
            "proposed_at": f"""CASE v.operation_state WHEN '{OperationState.PROPOSED.value}'
                THEN v.operation_step_at END""",
            "step": "v.operation_step",
            "step_at": "v.operation_step_at",
            "error": "left(v.operation_error, 300)",
        },
        title=_unended,
    ),
    Rule(
        slug="subject-inactive",
        name="Its user has left",
        subject=Subject.CREDENTIAL,
        severity=Severity.HIGH,
        controls=("PR.AA-01", "PR.AA-05", "NHI1:2025", "MCP01:2025", "ASI03"),
        why="It still acts for a person who has left, with the consent that they gave.",
        remediation="Revoke it at its authorization server, and see who else it served.",
        applies="v.is_consented",
        violated="v.subject_is_active IS FALSE",
        unknown="v.subject_is_active IS NULL",  # it names nobody, or nobody whom the inventory knows
        evidence={"subject": "v.subject"},
        title=lambda e: f"Acts for {e.text('subject')}, who has left",
    ),
)
