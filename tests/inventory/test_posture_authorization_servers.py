"""Each check of an authorization server against one that keeps or breaks it, on a real socket."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest

from inventory.posture.authorization_servers import (
    CHECKS,
    REGISTRATION_ENDS_ON,
    Answer,
    capabilities,
    is_external,
    judge_issuer,
    upstream,
)
from inventory.posture.model import CheckResult
from inventory.states import Severity, Verdict
from providers.observations import IssuerObservation, SafetyClass
from tests.providers.issuers import ALL, NOW, RESOURCE, Issuer, observed, refused, rsa_key, said
from tests.providers.peers import redirecting, response

MET, VIOLATED, UNKNOWN, NOT_APPLICABLE = Verdict.MET, Verdict.VIOLATED, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE
NEWEST = "2026-07-28"
OUT_OF_ORDER = {"/.well-known/oauth-authorization-server": response(503)}
HTTPS = {
    f"{name}_endpoint": f"https://127.0.0.1:1/{name}"
    for name in ("authorization", "token", "registration", "revocation", "introspection")
} | {"jwks_uri": "https://127.0.0.1:1/jwks"}
MODIFYING = frozenset({SafetyClass.MODIFYING})
ID_JAG = {"authorization_grant_profiles_supported": ["urn:ietf:params:oauth:grant-profile:id-jag"]}
JWT_BEARER = {"grant_types_supported": ["authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"]}
TWO = ("https://one.example/mcp", "https://two.example/mcp")
OWN = {"is_external": False}


@dataclass(frozen=True)
class Scene:
    """An authorization server, how it is asked and how it is judged."""

    metadata: dict[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    answers: dict[str, Any] = field(default_factory=dict)
    issuer: dict[str, Any] = field(default_factory=dict)
    client: dict[str, Any] | None = None
    opted_in: frozenset[SafetyClass] = frozenset()
    is_initial_token_given: bool = False
    judged: dict[str, Any] = field(default_factory=dict)
    expected: str | None = None


def results(scene: Scene) -> dict[str, CheckResult]:
    issuer = Issuer(metadata=scene.metadata, faults=frozenset(scene.faults), answers=scene.answers, **scene.issuer)
    observation, _ = observed(
        issuer,
        opted_in=scene.opted_in,
        client=issuer.client(**scene.client) if scene.client is not None else None,
        registration_token=issuer.initial_token if scene.is_initial_token_given else "",
    )
    judged = {"newest_version": NEWEST, **scene.judged}
    expected = observation.issuer if scene.expected is None else scene.expected
    return {result.check.id: result for result in judge_issuer(observation, expected_issuer=expected, **judged)}


UNREAD = Scene(answers=OUT_OF_ORDER)
KNOWN = {"client": {}}
TOKENS: dict[str, Any] = {"client": {}, "opted_in": frozenset({SafetyClass.CREDENTIALED})}
REGISTERING: dict[str, Any] = {"opted_in": MODIFYING, "is_initial_token_given": True}


def without(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names)


SCENES: dict[str, dict[Verdict, Scene]] = {
    "MCP-AS-01": {
        MET: Scene(),
        VIOLATED: Scene(answers={"/.well-known/oauth-authorization-server": response(404)}),
        UNKNOWN: UNREAD,
    },
    "MCP-AS-02": {MET: Scene(), VIOLATED: Scene(expected="https://as.example"), UNKNOWN: UNREAD},
    "MCP-AS-03": {MET: Scene(HTTPS), VIOLATED: Scene(HTTPS | {"token_endpoint": "javascript:1"}), UNKNOWN: UNREAD},
    "MCP-AS-04": {
        MET: Scene(),
        VIOLATED: Scene(without("code_challenge_methods_supported")),
        UNKNOWN: UNREAD,
        NOT_APPLICABLE: Scene({"grant_types_supported": ["client_credentials"]}),
    },
    "MCP-AS-05": {
        MET: Scene(),
        VIOLATED: Scene({"code_challenge_methods_supported": ["S256", "plain"]}),
        UNKNOWN: Scene(without("code_challenge_methods_supported")),
    },
    "MCP-AS-06": {
        MET: Scene(),
        VIOLATED: Scene({"grant_types_supported": ["authorization_code", "password"]}),
        UNKNOWN: Scene({"grant_types_supported": "authorization_code"}),
    },
    "MCP-AS-07": {
        MET: Scene(),
        VIOLATED: Scene({"response_types_supported": ["code", "id_token token"]}),
        UNKNOWN: Scene(without("response_types_supported")),
    },
    "MCP-AS-08": {
        MET: Scene(),
        VIOLATED: Scene(without("client_id_metadata_document_supported")),
        UNKNOWN: Scene({"client_id_metadata_document_supported": "true"}),
        NOT_APPLICABLE: Scene(judged={"newest_version": "2025-06-18"}),
    },
    "MCP-AS-09": {
        MET: Scene(without("registration_endpoint")),
        VIOLATED: Scene(),
        UNKNOWN: UNREAD,
        NOT_APPLICABLE: Scene(judged={"newest_version": "2025-11-25"}),
    },
    "MCP-AS-10": {
        MET: Scene(),
        VIOLATED: Scene(faults=("open",)),
        UNKNOWN: Scene(answers={"/register": response(302, (("Location", "/login"),))}),
    },
    "MCP-AS-11": {
        MET: Scene(**REGISTERING),
        VIOLATED: Scene(faults=("any_redirect",), **REGISTERING),
        UNKNOWN: Scene(),
        NOT_APPLICABLE: Scene(without("registration_endpoint"), **REGISTERING),
    },
    "MCP-AS-12": {
        MET: Scene(**REGISTERING),
        VIOLATED: Scene(faults=("endless",), **REGISTERING),
        UNKNOWN: Scene(opted_in=MODIFYING),
        NOT_APPLICABLE: Scene(without("registration_endpoint"), **REGISTERING),
    },
    "MCP-AS-13": {
        MET: Scene(),
        VIOLATED: Scene(without("authorization_response_iss_parameter_supported")),
        UNKNOWN: Scene(without("authorization_response_iss_parameter_supported"), judged={"newest_version": ""}),
        NOT_APPLICABLE: Scene(judged={"newest_version": "2025-11-25"}),
    },
    "MCP-AS-14": {
        MET: Scene(**KNOWN),
        VIOLATED: Scene(faults=("any_target",), **KNOWN),
        UNKNOWN: Scene(faults=("sign_in_first",), **KNOWN),
        NOT_APPLICABLE: Scene(without("authorization_endpoint"), **KNOWN),
    },
    "MCP-AS-15": {
        MET: Scene(**KNOWN),
        VIOLATED: Scene(faults=("no_pkce", "instant_code"), **KNOWN),
        UNKNOWN: Scene(faults=("sign_in_first",), **KNOWN),
        NOT_APPLICABLE: Scene(without("authorization_endpoint"), **KNOWN),
    },
    "MCP-AS-16": {
        MET: Scene(),
        VIOLATED: Scene({"token_endpoint_auth_methods_supported": ["client_secret_basic"]}),
        UNKNOWN: Scene({"token_endpoint_auth_methods_supported": 1}),
        NOT_APPLICABLE: Scene({"token_endpoint_auth_methods_supported": ["none"]}),
    },
    "MCP-AS-17": {
        MET: Scene(),
        VIOLATED: Scene(faults=("open_revocation",)),
        UNKNOWN: Scene(answers={"/revoke": response(404)}),
    },
    "MCP-AS-18": {
        MET: Scene(),
        VIOLATED: Scene(faults=("open_introspection",)),
        UNKNOWN: Scene(answers={"/introspect": response(200, body=b"<html>")}),
        NOT_APPLICABLE: Scene(without("introspection_endpoint")),
    },
    "MCP-AS-19": {
        MET: Scene(),
        VIOLATED: Scene(issuer={"keys": {"keys": [rsa_key(1024)]}}),
        UNKNOWN: Scene(answers={"/jwks": response(500)}),
        NOT_APPLICABLE: Scene(without("jwks_uri")),
    },
    "MCP-AS-20": {
        MET: Scene(**TOKENS),
        VIOLATED: Scene(faults=("any_resource",), **TOKENS),
        UNKNOWN: Scene(**KNOWN),
        NOT_APPLICABLE: Scene(judged={"newest_version": "2025-03-26"}, **TOKENS),
    },
    "MCP-AS-21": {
        MET: Scene(**TOKENS),
        VIOLATED: Scene(issuer={"audience": [RESOURCE, "https://other.example/mcp"]}, **TOKENS),
        UNKNOWN: Scene(without("introspection_endpoint"), faults=("opaque",), **TOKENS),
        NOT_APPLICABLE: Scene(judged={"newest_version": "2025-03-26"}, **TOKENS),
    },
    "MCP-AS-22": {
        MET: Scene(**TOKENS),
        VIOLATED: Scene(issuer={"token_life": 86_400}, **TOKENS),
        UNKNOWN: Scene(answers={"/token": refused("unauthorized_client")}, **TOKENS),
    },
    "MCP-AS-23": {
        MET: Scene(**TOKENS),
        VIOLATED: Scene(faults=("reusable",), **TOKENS),
        UNKNOWN: Scene(client={"refresh_token": None}, opted_in=ALL),
        NOT_APPLICABLE: Scene(judged={"newest_version": "2025-03-26"}, **TOKENS),
    },
    "MCP-AS-24": {
        MET: Scene(),
        VIOLATED: Scene(faults=("stored",)),
        UNKNOWN: Scene(answers={"/token": redirecting("https://elsewhere.example/")}),
        NOT_APPLICABLE: Scene(without("token_endpoint")),
    },
    "MCP-AS-25": {
        MET: Scene(ID_JAG | JWT_BEARER),
        VIOLATED: Scene(ID_JAG),
        UNKNOWN: Scene({"authorization_grant_profiles_supported": {"id-jag": True}}),
        NOT_APPLICABLE: Scene(),
    },
    "MCP-AS-26": {
        MET: Scene(judged={"servers": TWO}, **TOKENS),
        VIOLATED: Scene(faults=("any_resource",), judged={"servers": TWO}, **TOKENS),
        UNKNOWN: Scene(judged={"servers": TWO}),
        NOT_APPLICABLE: Scene(judged={"servers": TWO[:1]}, **TOKENS),
    },
    "MCP-AS-27": {
        MET: Scene(),
        VIOLATED: Scene(without("dpop_signing_alg_values_supported")),
        UNKNOWN: Scene({"dpop_signing_alg_values_supported": "ES256"}),
    },
    "KR-DL-01": {
        MET: Scene(judged=OWN | {"answers": {"KR-DL-01": Answer(is_so=True, said_by="Ada", said_at=NOW)}}),
        VIOLATED: Scene(judged=OWN | {"answers": {"KR-DL-01": Answer(is_so=False, said_by="Ada", said_at=NOW)}}),
        UNKNOWN: Scene(judged=OWN),
        NOT_APPLICABLE: Scene(judged={"is_external": True}),
    },
    "KR-DL-02": {
        MET: Scene(judged=OWN),
        VIOLATED: Scene({"scopes_supported": ["*"]}, judged=OWN),
        UNKNOWN: Scene(without("scopes_supported"), judged=OWN),
        NOT_APPLICABLE: Scene(judged={"is_external": True}),
    },
    "KR-DL-03": {
        MET: Scene(judged=OWN),
        VIOLATED: Scene(without("revocation_endpoint"), judged=OWN),
        UNKNOWN: Scene(answers={"/revoke": response(404)}, judged=OWN),
        NOT_APPLICABLE: Scene(judged={"is_external": True}),
    },
    "KR-DL-04": {
        MET: Scene(judged=OWN),
        VIOLATED: Scene(without("introspection_endpoint"), judged=OWN),
        UNKNOWN: Scene(),
        NOT_APPLICABLE: Scene(judged={"is_external": True}),
    },
}


def test_every_check_is_tried_in_every_way():
    assert set(SCENES) == {check.id for check in CHECKS}
    assert all({MET, VIOLATED, UNKNOWN} <= set(scenes) for scenes in SCENES.values())


def test_the_same_server_says_the_same_twice():
    issuer = Issuer(faults=frozenset({"no_pkce", "open"}), keys={"keys": [rsa_key()]})

    def said_of(observation: IssuerObservation) -> str:
        told = judge_issuer(observation, expected_issuer=observation.issuer, newest_version=NEWEST)
        return repr([(one.verdict, one.evidence) for one in told]).replace(observation.issuer.rpartition("/")[2], "")

    client = issuer.client(refresh_token=None)
    first, second = (observed(issuer, client=client, opted_in=ALL)[0] for _ in range(2))
    assert said_of(first) == said_of(second)


@pytest.mark.parametrize(
    ("check_id", "verdict"), [(check_id, verdict) for check_id, scenes in SCENES.items() for verdict in scenes]
)
def test_an_authorization_server_gets_the_verdict_that_it_is_built_for(check_id, verdict):
    result = results(SCENES[check_id][verdict])[check_id]
    assert result.verdict is verdict, result.evidence
    assert str(result.evidence["said"]).endswith(".")
    assert (result.severity is Severity.NONE) == (verdict in (MET, NOT_APPLICABLE) or check_id == "MCP-AS-27")


NUANCES: dict[str, tuple[str, Scene, Verdict, Severity]] = {
    "metadata of the other kind only": (
        "MCP-AS-01",
        Scene(
            answers={
                "/.well-known/oauth-authorization-server": response(404),
                "/.well-known/openid-configuration": said({"issuer": "x"}),
            },
            judged={"newest_version": "2025-06-18"},
        ),
        VIOLATED,
        Severity.HIGH,
    ),
    "metadata was optional once": (
        "MCP-AS-01",
        Scene(
            answers={"/.well-known/oauth-authorization-server": response(404)},
            judged={"newest_version": "2025-03-26"},
        ),
        VIOLATED,
        Severity.MEDIUM,
    ),
    "a page for people instead of metadata": (
        "MCP-AS-01",
        Scene(
            answers={
                "/.well-known/oauth-authorization-server": response(200, (("Content-Type", "text/html"),), b"<html>"),
                "/.well-known/openid-configuration": response(404),
            }
        ),
        VIOLATED,
        Severity.HIGH,
    ),
    "endpoints on this machine": ("MCP-AS-03", Scene(), VIOLATED, Severity.LOW),
    "an endpoint over plain http": (
        "MCP-AS-03",
        Scene(HTTPS | {"token_endpoint": "http://as.example/token"}),
        VIOLATED,
        Severity.CRITICAL,
    ),
    "a public issuer that points inside": (
        "MCP-AS-03",
        Scene(HTTPS | {"jwks_uri": "https://10.1.2.3/jwks"}, expected="https://as.example"),
        VIOLATED,
        Severity.HIGH,
    ),
    "an endpoint that is no text": ("MCP-AS-03", Scene(HTTPS | {"token_endpoint": 7}), VIOLATED, Severity.HIGH),
    "PKCE was advice once": (
        "MCP-AS-04",
        Scene(without("code_challenge_methods_supported"), judged={"newest_version": "2025-06-18"}),
        VIOLATED,
        Severity.LOW,
    ),
    "plain alone": ("MCP-AS-04", Scene({"code_challenge_methods_supported": ["plain"]}), VIOLATED, Severity.HIGH),
    "grants by default": ("MCP-AS-06", Scene(without("grant_types_supported")), VIOLATED, Severity.LOW),
    "a client for anybody": ("MCP-AS-10", Scene(faults=("open", "any_redirect")), VIOLATED, Severity.HIGH),
    "registration that asks for trust": (
        "MCP-AS-10",
        Scene(answers={"/register": refused("unapproved_software_statement")}),
        MET,
        Severity.NONE,
    ),
    "registration closed": ("MCP-AS-10", Scene(without("registration_endpoint")), MET, Severity.NONE),
    "a busy registration": ("MCP-AS-10", Scene(answers={"/register": response(429)}), UNKNOWN, Severity.MEDIUM),
    "a guarded registration cannot be tried": ("MCP-AS-11", Scene(opted_in=MODIFYING), UNKNOWN, Severity.HIGH),
    "a registration that refuses everything": (
        "MCP-AS-11",
        Scene(answers={"/register": refused("invalid_client_metadata")}, **REGISTERING),
        UNKNOWN,
        Severity.HIGH,
    ),
    "a refusal that names the redirect address": (
        "MCP-AS-11",
        Scene(answers={"/register": refused("invalid_redirect_uri")}, **REGISTERING),
        MET,
        Severity.NONE,
    ),
    "a secret for a public client": (
        "MCP-AS-12",
        Scene(faults=("secret_for_public",), **REGISTERING),
        VIOLATED,
        Severity.MEDIUM,
    ),
    "nobody can manage it": ("MCP-AS-12", Scene(faults=("unmanaged",), **REGISTERING), VIOLATED, Severity.MEDIUM),
    "several authorization servers": (
        "MCP-AS-13",
        Scene(without("authorization_response_iss_parameter_supported"), judged={"is_one_of_several": True}),
        VIOLATED,
        Severity.MEDIUM,
    ),
    "redirects compared by their beginning": (
        "MCP-AS-14",
        Scene(faults=("redirect_by_prefix",), **KNOWN),
        VIOLATED,
        Severity.CRITICAL,
    ),
    "an unknown client proves nothing about redirects": (
        "MCP-AS-14",
        Scene(client={"client_id": "forgotten"}),
        UNKNOWN,
        Severity.CRITICAL,
    ),
    "an unknown client proves nothing about PKCE": (
        "MCP-AS-15",
        Scene(client={"client_id": "forgotten"}),
        UNKNOWN,
        Severity.HIGH,
    ),
    "strict about the type and not about PKCE": (
        "MCP-AS-15",
        Scene(faults=("no_pkce",), **KNOWN),
        VIOLATED,
        Severity.HIGH,
    ),
    "mutual TLS instead of a secret": (
        "MCP-AS-16",
        Scene({"token_endpoint_auth_methods_supported": ["tls_client_auth"]}),
        MET,
        Severity.NONE,
    ),
    "no revocation": ("MCP-AS-17", Scene(without("revocation_endpoint")), VIOLATED, Severity.MEDIUM),
    "revocation for public clients": (
        "MCP-AS-17",
        Scene({"revocation_endpoint_auth_methods_supported": ["none"]}, faults=("open_revocation",)),
        VIOLATED,
        Severity.LOW,
    ),
    "a private key for everybody": (
        "MCP-AS-19",
        Scene(issuer={"keys": {"keys": [rsa_key(), rsa_key(d="AQAB")]}}),
        VIOLATED,
        Severity.CRITICAL,
    ),
    "a shared key for everybody": (
        "MCP-AS-19",
        Scene(issuer={"keys": {"keys": [{"kty": "oct", "kid": "a"}]}}),
        VIOLATED,
        Severity.CRITICAL,
    ),
    "keys that are not there": ("MCP-AS-19", Scene(answers={"/jwks": response(404)}), VIOLATED, Severity.MEDIUM),
    "a token for nobody in particular": (
        "MCP-AS-21",
        Scene(issuer={"audience": []}, **TOKENS),
        VIOLATED,
        Severity.HIGH,
    ),
    "a token for another server": (
        "MCP-AS-21",
        Scene(issuer={"audience": "https://other.example/mcp"}, **TOKENS),
        VIOLATED,
        Severity.HIGH,
    ),
    "a token that introspection explains": ("MCP-AS-21", Scene(faults=("opaque",), **TOKENS), MET, Severity.NONE),
    "a refresh token that stays": (
        "MCP-AS-23",
        Scene(faults=("endless_refresh", "public_client"), client={"secret": None}, opted_in=ALL),
        VIOLATED,
        Severity.HIGH,
    ),
    "a refresh token that stays, of a client with a secret": (
        "MCP-AS-23",
        Scene(faults=("endless_refresh",), **TOKENS),
        VIOLATED,
        Severity.LOW,
    ),
    "a family that outlives its reuse": (
        "MCP-AS-23",
        Scene(faults=("family_lives", "public_client"), client={"secret": None}, opted_in=ALL),
        VIOLATED,
        Severity.MEDIUM,
    ),
    "a token for a client that does not exist": (
        "MCP-AS-24",
        Scene(faults=("any_client",)),
        VIOLATED,
        Severity.CRITICAL,
    ),
    "a grant that is refused before the client": (
        "MCP-AS-24",
        Scene(answers={"/token": refused("unsupported_grant_type")}),
        UNKNOWN,
        Severity.LOW,
    ),
    "an error that means something else": ("MCP-AS-24", Scene(faults=("odd_error",)), VIOLATED, Severity.LOW),
}


@pytest.mark.parametrize(("check_id", "scene", "verdict", "severity"), NUANCES.values(), ids=NUANCES.keys())
def test_how_bad_it_is_depends_on_what_was_seen(check_id, scene, verdict, severity):
    result = results(scene)[check_id]
    assert (result.verdict, result.severity) == (verdict, severity), result.evidence


@pytest.mark.parametrize("expected", ["", "/"])
def test_a_slash_at_the_end_of_an_issuer_is_a_smaller_matter(expected):
    issuer = Issuer()
    observation, _ = observed(issuer)
    judged = judge_issuer(observation, expected_issuer=f"{issuer.base}{expected}", newest_version=NEWEST)
    found = {result.check.id: (result.verdict, result.severity) for result in judged}["MCP-AS-02"]
    assert found == ((VIOLATED, Severity.MEDIUM) if expected else (MET, Severity.NONE))


def test_what_only_a_newer_version_asks_for_is_unknown_where_no_version_was_seen():
    found = results(Scene(without("client_id_metadata_document_supported"), judged={"newest_version": ""}))
    assert found["MCP-AS-08"].verdict is UNKNOWN
    assert "which version is spoken here could not be observed" in found["MCP-AS-08"].evidence["said"]
    assert found["MCP-AS-16"].verdict is MET


def test_a_version_after_those_we_know_is_judged_by_the_newest_of_them():
    found = results(Scene(judged={"newest_version": "2031-01-01"}))
    assert found["MCP-AS-09"].verdict is VIOLATED


def test_the_end_of_dynamic_registration_is_part_of_the_evidence():
    evidence = results(Scene())["MCP-AS-09"].evidence
    assert date.fromisoformat(evidence["ends_on"]) == REGISTRATION_ENDS_ON == date(2027, 7, 28)
    assert evidence["has_alternative"] is True


@pytest.mark.parametrize(
    ("issuer", "server", "external"),
    [
        ("https://login.example", "https://mcp.example/mcp", True),
        ("https://mcp.example", "https://mcp.example/mcp", False),
        ("https://MCP.example/as", "https://mcp.example:8443/mcp", False),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9001/mcp", True),
        ("http://127.0.0.1:9000", "http://localhost:9000/mcp", False),
        ("urn:somebody", "https://mcp.example/mcp", None),
        ("https://[", "https://mcp.example/mcp", None),
    ],
)
def test_an_issuer_is_external_when_it_is_another_host(issuer, server, external):
    assert is_external(issuer, server) is external


def test_one_server_of_its_own_host_makes_an_issuer_a_layer():
    issuer = Issuer()
    observation, _ = observed(issuer)

    def layered(*servers: str) -> Verdict:
        judged = judge_issuer(observation, expected_issuer=issuer.base, newest_version=NEWEST, servers=servers)
        return {result.check.id: result.verdict for result in judged}["KR-DL-02"]

    assert layered("https://mcp.example/mcp") is NOT_APPLICABLE
    assert layered("https://mcp.example/mcp", f"{issuer.base}/mcp") is MET
    assert layered() is UNKNOWN


def test_a_sign_in_elsewhere_names_the_upstream():
    issuer = Issuer(answers={"/authorize": redirecting("https://login.example/authorize?client_id=static")})
    observation, _ = observed(issuer, client=issuer.client())
    assert upstream(observation) == "login.example"
    judged = judge_issuer(observation, expected_issuer=issuer.base, newest_version=NEWEST, is_external=False)
    evidence = {result.check.id: result.evidence for result in judged}["KR-DL-01"]
    assert evidence["upstream"] == "login.example"
    assert upstream(observed(Issuer(), client=issuer.client())[0]) == ""


def test_capabilities_say_what_the_metadata_says():
    issuer = Issuer(
        metadata=ID_JAG
        | JWT_BEARER
        | {
            "device_authorization_endpoint": "https://as.example/device",
            "pushed_authorization_request_endpoint": "https://as.example/par",
            "tls_client_certificate_bound_access_tokens": True,
            "introspection_endpoint": "javascript:1",
        }
    )
    observation, _ = observed(issuer)
    assert capabilities(observation.metadata) == (
        *("cimd", "dcr", "device_flow", "dpop", "id_jag", "iss_parameter", "jwt_bearer", "mtls", "par", "pkce"),
        *("private_key_jwt", "revocation"),
    )
    assert capabilities(None) == ()
