"""The rules about what live places say: posture, tools, grants, registrations, tokens and syncs."""

from datetime import timedelta

import pytest

from inventory.models import McpClient, McpServer, PostureCheck, Tool
from inventory.states import (
    Admission,
    CredentialKind,
    Hygiene,
    Registration,
    RunState,
    Severity,
    Storage,
    Transport,
    TrustModel,
    Verdict,
)
from lifecycle.models import Finding
from tests import factories
from tests.factories import NOW
from tests.lifecycle.verdicts import finding_of, judged

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def remote(**values) -> McpServer:
    return factories.server(**{"transport": Transport.HTTP, "url": "https://mcp.example.org/mcp", **values})


# ── Posture ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.VIOLATED, Verdict.VIOLATED),
        (Verdict.MET, Verdict.MET),
        (Verdict.NOT_APPLICABLE, Verdict.MET),
        (Verdict.UNKNOWN, Verdict.UNKNOWN),
    ],
)
def test_a_server_is_anonymous_as_its_probe_says(full, verdict, said):
    factories.check(remote(), "MCP-RS-01", verdict, Severity.HIGH)
    full()
    assert judged("anonymous-server") == said


def test_whether_a_server_is_anonymous_is_unknown_before_its_first_probe(full):
    remote()
    full()
    assert judged("anonymous-server") == Verdict.UNKNOWN


def test_a_server_that_is_started_locally_is_not_anonymous(full):
    factories.server()
    full()
    assert judged("anonymous-server") == Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("severity", "environment", "expected"),
    [
        (Severity.HIGH, None, Severity.HIGH),
        (Severity.CRITICAL, None, Severity.CRITICAL),
        (Severity.HIGH, "prod", Severity.CRITICAL),
    ],
    ids=["answers", "lists its tools", "in production"],
)
def test_an_anonymous_server_is_worse_where_it_lists_tools_or_is_in_production(full, severity, environment, expected):
    place = environment and factories.environment(environment)
    factories.check(remote(environment=place), "MCP-RS-01", Verdict.VIOLATED, severity)
    full()
    assert finding_of("anonymous-server").severity == expected


def test_a_servers_violations_are_one_finding_as_severe_as_the_worst(full):
    server = remote()
    factories.check(server, "MCP-RS-05", Verdict.VIOLATED, Severity.MEDIUM)
    factories.check(server, "MCP-RS-13", Verdict.VIOLATED, Severity.CRITICAL)
    factories.check(server, "MCP-RS-19", Verdict.VIOLATED, Severity.HIGH)
    factories.check(server, "MCP-RS-14", Verdict.UNKNOWN, Severity.CRITICAL)
    full()
    found = finding_of("posture-violations")
    assert found.severity == Severity.CRITICAL
    assert found.title_now(NOW) == "3 checks violated: MCP-RS-13, MCP-RS-19 and 1 more"
    assert found.evidence == {"count": 3, "checks": ["MCP-RS-13", "MCP-RS-19", "MCP-RS-05"], "unknown": 1}


def test_a_check_with_a_rule_of_its_own_or_of_low_severity_is_no_posture_violation(full):
    server = remote()
    factories.check(server, "MCP-RS-01", Verdict.VIOLATED, Severity.CRITICAL)
    factories.check(server, "MCP-RS-26", Verdict.VIOLATED, Severity.LOW)
    factories.check(server, "MCP-RS-02", Verdict.MET)
    full()
    assert judged("posture-violations") == Verdict.MET


@pytest.mark.parametrize("is_probed", [False, True])
def test_posture_is_unknown_without_a_probe_and_while_a_check_that_matters_is(full, is_probed):
    server = remote()
    if is_probed:
        factories.check(server, "MCP-RS-02", Verdict.MET)
        factories.check(server, "MCP-RS-14", Verdict.UNKNOWN, Severity.CRITICAL)
    full()
    assert judged("posture-violations") == Verdict.UNKNOWN


def test_a_posture_finding_resolves_although_another_check_can_never_be_told(full):
    server = remote()
    broken = factories.check(server, "MCP-RS-05", Verdict.VIOLATED, Severity.HIGH)
    factories.check(server, "MCP-RS-14", Verdict.UNKNOWN, Severity.CRITICAL)
    full()
    PostureCheck.objects.filter(pk=broken.pk).update(verdict=Verdict.MET)
    full(NOW + HOUR)
    assert not Finding.objects.unresolved().filter(rule="posture-violations").exists()
    assert judged("posture-violations") == Verdict.UNKNOWN


def test_a_posture_finding_stays_while_one_of_its_checks_cannot_be_told(full):
    server = remote()
    broken = factories.check(server, "MCP-RS-05", Verdict.VIOLATED, Severity.HIGH)
    full()
    PostureCheck.objects.filter(pk=broken.pk).update(verdict=Verdict.UNKNOWN)
    full(NOW + HOUR)
    assert finding_of("posture-violations").evidence["checks"] == ["MCP-RS-05"]


def test_a_violation_of_an_authorization_server_is_a_finding_of_every_server_behind_it(full):
    issuer = factories.authorization_server(issuer="https://id.example.org")
    mine = {remote(authorization_server=issuer).pk, remote(authorization_server=issuer).pk}
    remote()
    factories.check(issuer, "MCP-AS-04", Verdict.VIOLATED, Severity.HIGH)
    full()
    found = Finding.objects.unresolved().filter(rule="issuer-posture-violations")
    assert {one.server_id for one in found} == mine
    assert {one.evidence["issuer"] for one in found} == {"https://id.example.org"}
    assert found[0].title_now(NOW) == "Its authorization server violates 1 check: MCP-AS-04"


@pytest.mark.parametrize(("is_behind", "said"), [(True, Verdict.UNKNOWN), (False, Verdict.NOT_APPLICABLE)])
def test_an_authorization_server_that_nobody_checked_is_unknown(full, is_behind, said):
    remote(authorization_server=factories.authorization_server() if is_behind else None)
    full()
    assert judged("issuer-posture-violations") == said


@pytest.mark.parametrize(
    ("probed_at", "transport", "said"),
    [
        (NOW - 31 * DAY, Transport.HTTP, Verdict.VIOLATED),
        (NOW - 29 * DAY, Transport.HTTP, Verdict.MET),
        (None, Transport.HTTP, Verdict.VIOLATED),
        (None, Transport.STDIO, Verdict.NOT_APPLICABLE),
    ],
)
def test_a_server_answers_a_probe_once_in_thirty_days(full, probed_at, transport, said):
    factories.server(transport=transport, probed_at=probed_at, first_seen_at=NOW - 40 * DAY)
    full()
    assert judged("server-not-probed") == said


# ── Tools and grants ───────────────────────────────────────────────────────────────────────────
def reached(**values) -> tuple[McpClient, McpServer]:
    """A client that reaches a server, and the server."""
    client, server = factories.client(), remote(**values)
    factories.use(None, client=client, server=server)
    return client, server


def test_a_tool_that_changed_after_its_approval_is_a_finding(full):
    server = remote()
    factories.tool(server, "pay", approved_digest="a" * 64, schema_digest="b" * 64)
    factories.tool(server, "look", approved_digest="c" * 64, schema_digest="c" * 64)
    full()
    assert finding_of("tool-definition-changed").title_now(NOW) == "pay is no longer defined as approved"


@pytest.mark.parametrize(
    ("approved", "error", "said"),
    [
        ("b" * 64, "", Verdict.MET),
        ("b" * 64, "Refused.", Verdict.UNKNOWN),
        ("", "", Verdict.NOT_APPLICABLE),
    ],
)
def test_a_tool_is_compared_with_what_was_approved_as_far_as_it_is_listed(full, approved, error, said):
    factories.tool(remote(tools_error=error), approved_digest=approved, schema_digest="b" * 64)
    full()
    assert judged("tool-definition-changed") == said


def test_tools_without_a_grant_are_ungranted(full):
    _client, server = reached()
    factories.tool(server)
    full()
    found = finding_of("tool-surface-ungranted")
    assert found.title_now(NOW) == "1 client reaches tools that no grant in force covers"
    assert judged("destructive-tool-ungranted") == Verdict.UNKNOWN  # the tool does not say what it does


@pytest.mark.parametrize(
    ("granted", "values", "said"),
    [
        (("look", "drop"), {}, Verdict.MET),
        (("look",), {}, Verdict.VIOLATED),
        (("look", "drop"), {"ends_at": NOW - HOUR}, Verdict.VIOLATED),
        (("look", "drop"), {"withdrawn_at": NOW - HOUR, "withdrawn_by": "Mira"}, Verdict.VIOLATED),
        (("look", "drop"), {"is_approved": False}, Verdict.VIOLATED),
    ],
    ids=["whole", "in part", "ended", "withdrawn", "draft"],
)
def test_only_a_grant_in_force_that_names_every_tool_covers_them(full, granted, values, said):
    client, server = reached()
    factories.tool(server, "look", is_read_only=True)
    factories.tool(server, "drop", is_destructive=True)
    factories.grant(client, server, tools=list(granted), **values)
    full()
    assert judged("tool-surface-ungranted") == said
    assert judged("destructive-tool-ungranted") == said


def test_a_grant_that_leaves_out_a_harmless_tool_covers_the_destructive_one(full):
    client, server = reached()
    factories.tool(server, "look", is_read_only=True)
    factories.tool(server, "drop", is_destructive=True)
    factories.grant(client, server, tools=["drop"])
    full()
    assert judged("tool-surface-ungranted") == Verdict.VIOLATED
    assert judged("destructive-tool-ungranted") == Verdict.MET


def test_a_destructive_tool_without_a_grant_is_worse_in_production(full):
    _client, server = reached(environment=factories.environment("prod"))
    factories.tool(server, "drop", is_destructive=True)
    full()
    found = finding_of("destructive-tool-ungranted")
    assert found.severity == Severity.CRITICAL
    assert found.title_now(NOW) == "1 client may destroy through drop without a grant"


@pytest.mark.parametrize("listed", [{}, {"tools_listed_at": NOW, "tools_error": "It asks for a token."}])
def test_what_a_client_reaches_is_unknown_while_the_tools_are(full, listed):
    reached(**listed)
    full()
    assert judged("tool-surface-ungranted") == Verdict.UNKNOWN
    assert judged("destructive-tool-ungranted") == Verdict.UNKNOWN


def test_tools_that_nobody_reaches_need_no_grant(full):
    server = remote()
    factories.tool(server)
    factories.use(None, server=server, is_disabled=True)
    full()
    assert judged("tool-surface-ungranted") == Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("url", "domains", "said"),
    [
        ("https://mcp.vendor.example/mcp", ("example.org",), Verdict.VIOLATED),
        ("https://MCP.Example.org/mcp", ("example.org",), Verdict.MET),
        ("https://example.org.evil.example:8443/", ("example.org",), Verdict.VIOLATED),
        ("https://example.org@evil.example/", ("example.org",), Verdict.VIOLATED),
        ("https://notexample.org/mcp", ("example.org",), Verdict.VIOLATED),
        ("https://user@mcp.vendor.example/mcp", (), Verdict.UNKNOWN),
        ("https://${HOST}/mcp", ("example.org",), Verdict.UNKNOWN),
        ("http://10.1.2.3:8080/mcp", (), Verdict.MET),
        ("https://10.1.2.3.vendor.example/", ("example.org",), Verdict.VIOLATED),
        ("https://[::1]/mcp", (), Verdict.MET),
        ("https://[2001:db8::1]/mcp", (), Verdict.UNKNOWN),
        ("https://tools/mcp", (), Verdict.MET),
        ("", ("example.org",), Verdict.NOT_APPLICABLE),
    ],
)
def test_a_static_credential_at_somebody_elses_host_is_exposed_to_them(full, settings, url, domains, said):
    settings.OWN_DOMAINS = domains
    factories.use(factories.credential(), server=factories.server(url=url))
    full()
    assert judged("third-party-exposure") == said


def test_a_static_credential_at_a_vendors_server_is_exposed_wherever_it_runs(full):
    factories.use(factories.credential(), server=factories.server(vendor="Linear"))
    full()
    assert finding_of("third-party-exposure").title_now(NOW) == "Linear holds 1 static credential"


def test_a_consented_token_at_a_vendors_server_is_no_exposure(full):
    server = factories.server(vendor="Linear")
    factories.use(factories.credential(trust_model=TrustModel.USER_CONSENTED), server=server)
    full()
    assert judged("third-party-exposure") == Verdict.MET


# ── Clients ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("admission", "since", "said"),
    [
        (Admission.QUARANTINED, 6 * DAY, Verdict.MET),
        (Admission.QUARANTINED, 8 * DAY, Verdict.VIOLATED),
        (Admission.ADMITTED, 80 * DAY, Verdict.MET),
        (Admission.REMOVED, 80 * DAY, Verdict.NOT_APPLICABLE),
    ],
)
def test_a_client_that_registered_itself_is_reviewed_within_a_week(full, admission, since, said):
    factories.client(registration=Registration.DYNAMIC, admission=admission, first_seen_at=NOW - since)
    full()
    assert judged("dynamic-client-unreviewed") == said


@pytest.mark.parametrize(("since", "severity"), [(8 * DAY, Severity.MEDIUM), (31 * DAY, Severity.HIGH)])
def test_a_client_that_waits_for_long_is_worse(full, since, severity):
    factories.client(
        registration=Registration.DYNAMIC,
        admission=Admission.QUARANTINED,
        admission_changed_at=NOW - since,
        first_seen_at=NOW - 90 * DAY,
    )
    full()
    found = finding_of("dynamic-client-unreviewed")
    assert found.severity == severity
    assert found.title_now(NOW) == f"Registered itself, and has waited {since.days} days for a review"


def test_a_program_of_a_configuration_file_is_no_registration(full):
    factories.client(admission=Admission.QUARANTINED, first_seen_at=NOW - 80 * DAY, hygiene=Hygiene.DEAD)
    full()
    rules = ("dynamic-client-unreviewed", "duplicate-or-dead-client", "client-owner-missing")
    assert {judged(rule) for rule in rules} == {Verdict.NOT_APPLICABLE}


@pytest.mark.parametrize(
    ("hygiene", "said", "severity"),
    [
        (Hygiene.DEAD, Verdict.VIOLATED, Severity.MEDIUM),
        (Hygiene.DUPLICATE, Verdict.VIOLATED, Severity.LOW),
        (Hygiene.LIVE, Verdict.MET, None),
        (Hygiene.UNKNOWN, Verdict.UNKNOWN, None),
    ],
)
def test_a_needless_registration_is_a_finding(full, hygiene, said, severity):
    factories.client(registration=Registration.DYNAMIC, hygiene=hygiene, last_used_at=NOW - 100 * DAY)
    full()
    assert judged("duplicate-or-dead-client") == said
    assert [one.severity for one in Finding.objects.filter(rule="duplicate-or-dead-client")] == (
        [] if severity is None else [severity]
    )


@pytest.mark.parametrize(("owner", "said"), [(None, Verdict.VIOLATED), (False, Verdict.VIOLATED), (True, Verdict.MET)])
def test_a_registered_client_has_an_active_owner(full, owner, said):
    answering = None if owner is None else factories.owner(is_active=owner)
    factories.client(registration=Registration.PRE_REGISTERED, owner=answering)
    full()
    assert judged("client-owner-missing") == said


def test_a_client_used_in_production_is_worse_without_an_owner(full):
    client = factories.client(registration=Registration.DYNAMIC)
    factories.use(None, client=client, server=factories.server(environment=factories.environment("prod")))
    full()
    assert finding_of("client-owner-missing").severity == Severity.HIGH


@pytest.mark.parametrize(
    ("check", "verdict", "said"),
    [
        ("MCP-CL-06", Verdict.VIOLATED, Verdict.VIOLATED),
        ("MCP-CL-06", Verdict.MET, Verdict.MET),
        ("MCP-CL-06", Verdict.UNKNOWN, Verdict.UNKNOWN),
        ("MCP-CL-10", Verdict.VIOLATED, Verdict.MET),
        ("", Verdict.MET, Verdict.UNKNOWN),
    ],
    ids=["violated", "met", "unknown", "disuse, which has its own rule", "never checked"],
)
def test_a_registration_is_judged_by_its_checks(full, check, verdict, said):
    client = factories.client(registration=Registration.CIMD)
    if check:
        factories.check(client, check, verdict, Severity.HIGH)
    full()
    assert judged("client-posture-violations") == said


def test_a_client_carries_the_risk_of_its_worst_finding(full):
    client = factories.client(registration=Registration.DYNAMIC, hygiene=Hygiene.DUPLICATE)
    full()
    client.refresh_from_db()
    assert (client.risk, client.open_findings) == (Severity.MEDIUM, 2)


# ── Credentials ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"offers": True}, Verdict.VIOLATED),
        ({"probed_at": NOW}, Verdict.MET),
        ({}, Verdict.UNKNOWN),
        ({"transport": Transport.STDIO, "url": ""}, Verdict.NOT_APPLICABLE),
    ],
    ids=["offers OAuth", "offers none", "never asked", "started locally"],
)
def test_a_static_key_is_not_sent_where_consent_is_offered(full, server, said):
    if server.pop("offers", False):
        server["authorization_server"] = factories.authorization_server()
    factories.use(factories.credential(), server=remote(**server))
    full()
    assert judged("static-key-where-consent-expected") == said


@pytest.mark.parametrize("kind", [CredentialKind.OAUTH_ACCESS_TOKEN, CredentialKind.OAUTH_CLIENT_SECRET])
def test_what_is_exchanged_for_tokens_is_no_static_key(full, kind):
    server = remote(authorization_server=factories.authorization_server())
    factories.use(factories.credential(kind=kind), server=server)
    full()
    assert judged("static-key-where-consent-expected") == Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("trust_model", "subject", "storage", "said"),
    [
        (TrustModel.USER_CONSENTED, "", Storage.PROVIDER, Verdict.VIOLATED),
        (TrustModel.USER_CONSENTED, "ana", Storage.PROVIDER, Verdict.MET),
        (TrustModel.USER_CONSENTED, "", Storage.TOKEN_STORE, Verdict.UNKNOWN),
        (TrustModel.STATIC_SERVICE, "", Storage.PROVIDER, Verdict.NOT_APPLICABLE),
    ],
)
def test_a_consented_token_names_who_consented(full, trust_model, subject, storage, said):
    factories.credential(trust_model=trust_model, subject=subject, storage=storage)
    full()
    assert judged("consented-without-subject") == said


def token(**values):
    return factories.credential(kind=CredentialKind.OAUTH_ACCESS_TOKEN, expires_at=NOW + HOUR, **values)


@pytest.mark.parametrize(
    ("scopes", "said"),
    [
        (["*"], Verdict.VIOLATED),
        (["admin"], Verdict.VIOLATED),
        (["admin:*"], Verdict.VIOLATED),
        (["repo:*", "user:read"], Verdict.VIOLATED),
        (["Mail.Read.All"], Verdict.VIOLATED),
        (["full_access"], Verdict.VIOLATED),
        (["files:read", "firewall", "install", "admin:read"], Verdict.MET),
        ([], Verdict.UNKNOWN),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_scope_that_means_everything_is_too_broad(full, scopes, said):
    token(scopes=scopes)
    full()
    assert judged("scope-too-broad") == said


def test_a_key_without_scopes_has_none_to_be_too_broad(full):
    factories.credential()
    full()
    assert judged("scope-too-broad") == Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("offered", "said"),
    [(["a:read", "a:write", "b:read"], Verdict.VIOLATED), (["a:read", "a:write"], Verdict.MET)],
    ids=["three", "two"],
)
def test_a_token_with_everything_that_its_server_offers_is_too_broad(full, offered, said):
    mine = token(scopes=["a:read", "a:write", "b:read"])
    factories.use(mine, server=remote(scopes=offered))
    full()
    assert judged("scope-too-broad") == said


@pytest.mark.parametrize(
    ("granted", "values", "said"),
    [
        (["a:read", "a:write"], {}, Verdict.MET),
        (["a:read"], {}, Verdict.VIOLATED),
        (["a:read", "a:write"], {"ends_at": NOW - HOUR}, Verdict.VIOLATED),
        (["a:read", "a:write"], {"is_approved": False}, Verdict.VIOLATED),
    ],
    ids=["all", "in part", "ended", "draft"],
)
def test_a_token_carries_what_a_grant_in_force_allows(full, granted, values, said):
    mine = token(scopes=["a:read", "a:write"])
    use = factories.use(mine, server=remote())
    factories.grant(use.client, use.server, scopes=granted, **values)
    full()
    assert judged("scope-not-granted") == said


def test_a_token_names_the_scopes_that_nobody_granted(full):
    mine = token(scopes=["b:write", "a:read", "a:write"])
    factories.use(mine)
    full()
    assert finding_of("scope-not-granted").title_now(NOW) == "No grant in force allows a:read, a:write and 1 more"


@pytest.mark.parametrize(
    ("scopes", "is_used"), [([], True), (["a:read"], False)], ids=["scopes unknown", "place unknown"]
)
def test_what_a_token_was_granted_is_unknown_without_its_scopes_or_its_place(full, scopes, is_used):
    mine = token(scopes=scopes)
    if is_used:
        factories.use(mine)
    full()
    assert judged("scope-not-granted") == Verdict.UNKNOWN


def test_only_tokens_are_held_against_grants(full):
    factories.use(factories.credential(scopes=["a:read"]))
    full()
    assert judged("scope-not-granted") == Verdict.NOT_APPLICABLE


# ── Connections ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"last_complete_at": NOW - HOUR}, Verdict.MET),
        ({"last_complete_at": NOW - 2 * HOUR}, Verdict.VIOLATED),
        ({"created_at": NOW - HOUR}, Verdict.MET),
        ({"created_at": NOW - 2 * HOUR}, Verdict.VIOLATED),
        ({"last_complete_at": NOW - 9 * DAY, "is_enabled": False}, Verdict.NOT_APPLICABLE),
        ({"last_complete_at": NOW - 9 * DAY, "interval": None}, Verdict.NOT_APPLICABLE),
    ],
    ids=["on time", "missed two", "new", "never", "switched off", "only when asked"],
)
def test_a_connection_is_synced_within_twice_its_interval(full, values, said):
    factories.connection(**values)
    full()
    assert judged("connection-not-synced") == said


@pytest.mark.parametrize(("since", "severity"), [(2 * HOUR, Severity.MEDIUM), (7 * DAY, Severity.HIGH)])
def test_a_connection_that_was_not_synced_for_long_is_worse(full, since, severity):
    factories.connection(last_complete_at=NOW - since)
    full()
    found = finding_of("connection-not-synced")
    assert found.severity == severity
    assert found.title_now(NOW).startswith("Last read completely ")


@pytest.mark.parametrize(("failed", "said"), [(2, Verdict.MET), (3, Verdict.VIOLATED)])
def test_three_failed_runs_are_enough(full, failed, said):
    mine = factories.connection(last_complete_at=NOW - HOUR)
    factories.run(mine, RunState.COMPLETE)
    for _ in range(failed):
        factories.run(mine, RunState.FAILED)
    full()
    assert judged("connection-not-synced") == said


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (RunState.PARTIAL, Verdict.VIOLATED),
        (RunState.COMPLETE, Verdict.MET),
        (RunState.FAILED, Verdict.UNKNOWN),
        (None, Verdict.NOT_APPLICABLE),
    ],
)
def test_the_last_run_says_whether_a_connection_is_read_in_part(full, state, said):
    mine = factories.connection()
    if state:
        factories.run(mine, RunState.COMPLETE)
        factories.run(mine, state, problems=[{"file": "/a.json"}])
    full()
    assert judged("connection-partial") == said


def test_a_connection_carries_the_risk_of_its_worst_finding(full):
    mine = factories.connection(last_complete_at=NOW - DAY, environment=factories.environment("prod"))
    full()
    mine.refresh_from_db()
    assert (mine.risk, mine.open_findings) == (Severity.HIGH, 1)


def test_a_tool_that_is_gone_counts_no_more(full):
    _client, server = reached()
    Tool.objects.filter(pk=factories.tool(server).pk).update(gone_at=NOW)
    full()
    assert judged("tool-surface-ungranted") == Verdict.MET
