"""Each check of an authorization server against one that keeps or breaks it, on a real socket."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from inventory.posture.authorization_servers import CHECKS, Answer, judge_issuer
from inventory.posture.model import CheckResult
from inventory.states import Severity, Verdict
from providers.observations import IssuerObservation, SafetyClass
from tests.providers.issuers import ALL, NOW, RESOURCE, Issuer, observed, refused, rsa_key
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
