"""Whatever an authorization server or a client publishes gets a verdict for every check, and never an exception."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.posture.authorization_servers import CHECKS, capabilities, is_external, judge_issuer
from inventory.posture.clients import CHECKS as CLIENT_CHECKS
from inventory.posture.clients import judge_client
from inventory.posture.model import VERSIONS as VERSIONS_OF_MCP
from inventory.states import Verdict
from providers.observations import ClientObservation, Exchange, IssuerObservation, SafetyClass
from providers.questions import IssuerQuestion
from tests.examples import examples
from tests.providers.issuers import NOW, Issuer, encoded, observed, said
from tests.providers.peers import json_answer

OAUTH = "/.well-known/oauth-authorization-server"
LIMITS = settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow])

MEMBERS = st.sampled_from(
    [
        *("issuer", "authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"),
        *("introspection_endpoint", "jwks_uri", "scopes_supported", "response_types_supported"),
        *("grant_types_supported", "token_endpoint_auth_methods_supported", "code_challenge_methods_supported"),
        *("client_id_metadata_document_supported", "authorization_response_iss_parameter_supported"),
        *("authorization_grant_profiles_supported", "dpop_signing_alg_values_supported"),
        *("tls_client_certificate_bound_access_tokens", "revocation_endpoint_auth_methods_supported"),
        *("keys", "kty", "kid", "n", "d", "k", "access_token", "claims", "aud", "exp", "iat", "expires_in", "error"),
        *("client_id", "client_secret", "client_secret_expires_at", "registration_client_uri", "active"),
        *("registration_access_token", "refresh_token", "requested_resource", "is_confidential", "_endpoint"),
        *("client_name", "redirect_uris", "token_endpoint_auth_method", "jwks"),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [
            *("https://as.example", "http://[", "http://[::1", "https://a:b/", "//x", "javascript:1", "https:///x"),
            *("http://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "S256", "plain", "RSA", "oct", "code", "none", "*"),
            *("invalid_client", "invalid_redirect_uri", "\x00", "\ud800", "é" * 40, "https://é.example/"),
        ]
    )
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(MEMBERS | st.text(max_size=6), inner, max_size=8),
    max_leaves=25,
)
OBJECTS = st.dictionaries(MEMBERS | st.text(max_size=6), TREES, max_size=20)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["location", "cache-control", "content-type", "content-length"]), st.text(max_size=30)),
    max_size=3,
).map(tuple)
EXCHANGES = st.builds(
    Exchange,
    method=st.just("POST"),
    url=st.text(max_size=30) | st.just("https://as.example/authorize?redirect_uri=https%3A%2F%2Fa.example"),
    status=st.none() | st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 429, 500]) | st.integers(100, 999),
    headers=HEADERS,
    document=TREES | OBJECTS,
    error=st.just("") | st.text(max_size=10),
    is_truncated=st.booleans(),
)
VERSIONS = st.sampled_from(["", *VERSIONS_OF_MCP, "2030-01-01", "1900-01-01", "x"])


def is_storable(evidence: Any) -> bool:
    """It is JSON that the database takes: without NUL and without half a character."""
    written = json.dumps(dict(evidence), ensure_ascii=False)
    return "\\u0000" not in written and bool(written.encode())


@LIMITS
@given(
    metadata=st.none() | OBJECTS,
    exchanges=st.dictionaries(st.sampled_from(list(IssuerQuestion)), EXCHANGES, max_size=12),
    expected=st.text(max_size=20) | st.just("https://as.example"),
    known=st.fixed_dictionaries(
        {
            "newest_version": VERSIONS,
            "servers": st.lists(st.text(max_size=20) | st.just("https://as.example/mcp"), max_size=3),
            "is_external": st.sampled_from([True, False, None]),
        }
    ),
)
def test_anything_seen_of_an_authorization_server_gets_a_verdict(metadata, exchanges, expected, known):
    observation = IssuerObservation(issuer="i", observed_at=NOW, metadata=metadata, exchanges=exchanges)
    results = judge_issuer(observation, expected_issuer=expected, **known)
    assert [result.check for result in results] == list(CHECKS)
    for result in results:
        assert len(result.evidence["said"]) < 6000
        assert is_storable(result.evidence)
    assert all(isinstance(name, str) and len(name) <= 40 for name in capabilities(metadata))


@LIMITS
@given(exchange=EXCHANGES, before=EXCHANGES, client_id=st.text(max_size=30) | st.just("https://a.example/c.json"))
def test_anything_seen_of_a_client_gets_a_verdict(exchange, before, client_id):
    observation = ClientObservation(client_id=client_id, observed_at=NOW, exchange=exchange)
    previous = ClientObservation(client_id=client_id, observed_at=NOW, exchange=before)
    results = judge_client(now=NOW, observation=observation, previous=previous, newest_version="2026-07-28")
    assert [result.check for result in results] == list(CLIENT_CHECKS)
    for result in results:
        assert is_storable(result.evidence)


@given(st.text() | SCALARS.filter(lambda value: isinstance(value, str)), st.text())
def test_any_two_texts_are_compared_without_an_exception(issuer, server):
    assert is_external(issuer, server) in (True, False, None)


HUGE: dict[str, bytes] = {
    "no JSON": b"<html>",
    "cut off": b'{"issuer": "https',
    "an array": b"[" + b"1," * 1000 + b"1]",
    "a number": b"1e400",
    "another encoding": '{"issuer": "é"}'.encode("utf-16"),
    "broken UTF-8": b'{"issuer": "\xff\xfe"}',
    "surrogates": b'{"issuer": "\\ud800", "grant_types_supported": ["\\ud800"]}',
    "deep": b'{"issuer":' * 50_000 + b"1" + b"}" * 50_000,
    "deep where it counts": b'{"grant_types_supported":' + b"[" * 60 + b"]" * 60 + b"}",
    "many members": json.dumps({f"m{number}_endpoint": number for number in range(30_000)}).encode(),
    "many values": json.dumps({"grant_types_supported": ["x"] * 90_000, "scopes_supported": ["x"] * 90_000}).encode(),
    "long values": json.dumps({"issuer": "x" * 500_000, "code_challenge_methods_supported": ["y" * 400_000]}).encode(),
    "long numbers": b'{"issuer": ' + b"9" * 5000 + b"}",
    "numbers that are none": b'{"issuer": NaN}',
    "members twice": b'{"issuer": 1, "issuer": 2}',
}


@pytest.mark.parametrize("body", HUGE.values(), ids=HUGE.keys())
def test_a_hostile_document_over_the_wire_costs_little_and_gets_verdicts(body):
    observation, _ = observed(Issuer(answers={OAUTH: json_answer(body)}))
    results = judge_issuer(observation, expected_issuer=observation.issuer, newest_version="2026-07-28")
    assert len(results) == len(CHECKS)
    assert sum(len(json.dumps(dict(result.evidence))) for result in results) < 100_000
    assert {result.check.id: result.verdict for result in results}["MCP-AS-02"] is not Verdict.MET


KEYS: dict[str, Any] = {
    "no keys": {},
    "keys that are none": {"keys": [1, None, "x", []]},
    "ten thousand": {"keys": [{"kty": "EC", "kid": str(number)} for number in range(10_000)]},
    "an endless modulus": {"keys": [{"kty": "RSA", "kid": "a", "n": "A" * 500_000}]},
    "a modulus that is none": {"keys": [{"kty": "RSA", "kid": "a", "n": "%%%"}]},
    "a symmetric key": {"keys": [{"kty": "oct", "kid": "a", "k": encoded(b"shared by everybody")}]},
    "one name twice": {"keys": [{"kty": "EC", "kid": "a"}, {"kty": "EC", "kid": "a"}]},
    "no name among two": {"keys": [{"kty": "EC", "kid": "a"}, {"kty": "EC"}]},
    "a list": [1, 2],
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS.keys())
def test_an_unsound_key_set_is_never_met(keys):
    observation, _ = observed(Issuer(answers={"/jwks": said(keys)}))
    results = judge_issuer(observation, expected_issuer=observation.issuer, newest_version="2026-07-28")
    assert {result.check.id: result.verdict for result in results}["MCP-AS-19"] is not Verdict.MET


@pytest.mark.parametrize(
    "nonsense",
    [b"[]", b"null", b'{"access_token": {"claims": []}}', b'{"access_token": "a.b.c", "expires_in": true}'],
)
def test_a_token_endpoint_that_answers_nonsense_gives_no_verdict_on_tokens(nonsense):
    issuer = Issuer(answers={"/token": json_answer(nonsense)})
    observation, _ = observed(issuer, client=issuer.client(), opted_in=frozenset({SafetyClass.CREDENTIALED}))
    results = judge_issuer(observation, expected_issuer=observation.issuer, newest_version="2026-07-28")
    assert {result.check.id: result.verdict for result in results}["MCP-AS-22"] is Verdict.UNKNOWN
