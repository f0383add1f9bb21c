"""Authorization servers as rows: what they publish, what changed, and what stays when they fall silent."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.actions.issuers import SeenIssuer, ensure_issuers, record_issuers
from inventory.models import AuthorizationServer, MetadataSnapshot
from inventory.posture.published import differences
from tests.factories import NOW

LATER = NOW + timedelta(hours=1)
ISSUER = "https://login.example"
METADATA: dict[str, Any] = {
    "issuer": ISSUER,
    "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register",
    "code_challenge_methods_supported": ["S256"],
}


def seen(metadata: dict[str, Any] | None, **values: Any) -> SeenIssuer:
    return SeenIssuer(issuer=ISSUER, metadata=metadata, **values)


@pytest.mark.django_db
def test_what_an_issuer_publishes_says_what_it_can_do() -> None:
    record_issuers([seen(METADATA, is_external=True)], now=NOW)
    row = AuthorizationServer.objects.get()
    assert (row.issuer, row.metadata, row.is_external) == (ISSUER, METADATA, True)
    assert {"pkce", "dcr"} <= set(row.capabilities)


@pytest.mark.django_db
def test_the_same_metadata_twice_is_one_snapshot_and_no_change() -> None:
    record_issuers([seen(METADATA)], now=NOW)
    assert not any(record_issuers([seen(METADATA)], now=LATER).values())
    assert MetadataSnapshot.objects.count() == 1
    assert AuthorizationServer.objects.get().changed_at is None


@pytest.mark.django_db
def test_changed_metadata_is_a_new_snapshot_that_says_what_changed() -> None:
    record_issuers([seen(METADATA)], now=NOW)
    record_issuers([seen({**METADATA, "token_endpoint": f"{ISSUER}/other"})], now=LATER)
    newest = MetadataSnapshot.objects.first()
    assert newest is not None
    assert newest.differences == [f"token_endpoint changed from {ISSUER}/token to {ISSUER}/other."]
    assert AuthorizationServer.objects.get().changed_at == LATER


@pytest.mark.django_db
def test_an_issuer_that_falls_silent_keeps_what_it_published() -> None:
    record_issuers([seen(METADATA)], now=NOW)
    record_issuers([seen(None)], now=LATER)
    row = AuthorizationServer.objects.get()
    assert (row.metadata, row.checked_at) == (METADATA, NOW)


@pytest.mark.django_db
def test_an_issuer_that_is_known_already_is_not_made_again() -> None:
    first = ensure_issuers([ISSUER, ISSUER], now=NOW)
    assert ensure_issuers([ISSUER], now=LATER) == first


def test_what_a_list_gained_and_lost_is_said_apart() -> None:
    assert differences({"scopes_supported": ["a", "b"]}, {"scopes_supported": ["b", "c"]}) == [
        "scopes_supported gained c and lost a."
    ]


def test_a_field_that_comes_or_goes_is_said() -> None:
    said = differences({"jwks_uri": "https://a.example"}, {"registration_endpoint": "https://b.example"})
    assert said == [
        "jwks_uri is no longer there; it was https://a.example.",
        "registration_endpoint appeared: https://b.example.",
    ]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_documents = st.dictionaries(st.text(max_size=8), _json, max_size=5)


@given(_documents, _documents)
def test_any_two_documents_differ_in_sentences(before: dict[str, Any], after: dict[str, Any]) -> None:
    said = differences(before, after)
    assert bool(said) == (before != after)
    assert all(line.endswith(".") for line in said)
