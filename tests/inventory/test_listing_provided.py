"""From what a provider says, whatever that is, to rows that the database takes; and settings read with sentences."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from access.actors import Actor
from inventory.actions.connections import create_connection
from inventory.actions.reconcile import Reconciliation
from inventory.actions.syncs import claim, complete
from inventory.listings.provided import AT_ONCE, Settings, batches, row
from inventory.models import Credential
from inventory.states import ConnectionKind
from providers.base import DiscoveredCredential, Problem
from providers.errors import Permanent
from tests.examples import SHARED_FIXTURE, examples

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ACTOR = Actor.system("tests")


def credential(n: int = 0, **more: Any) -> DiscoveredCredential:
    return DiscoveredCredential(**{"identity": f"test:{n}", "name": f"key {n}", "kind": "api_key", **more})


class Clock:
    """A clock that goes on a little whenever it is read."""

    def __init__(self, step: timedelta) -> None:
        self.now, self.step = NOW, step

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


def stopped() -> datetime:
    return NOW


def test_a_long_listing_comes_in_batches_and_complete() -> None:
    found = list(batches((credential(n) for n in range(450)), stopped))
    assert [batch.done for batch in found] == [AT_ONCE, AT_ONCE, 50]
    assert not any(batch.is_cut_short for batch in found)


def test_a_slow_listing_shows_its_progress_before_a_batch_is_full() -> None:
    found = list(batches((credential(n) for n in range(5)), Clock(timedelta(seconds=12))))
    assert [batch.done for batch in found][:2] == [2, 2]


def test_an_empty_listing_is_one_empty_batch() -> None:
    (batch,) = batches([], stopped)
    assert (batch.done, batch.is_cut_short) == (0, False)


def test_a_problem_cuts_the_listing_short_and_is_told() -> None:
    listed = [credential(1), Problem(place="aws:1", reason="AWS refuses."), credential(2)]
    (batch,) = batches(listed, stopped)
    assert batch.is_cut_short
    assert (batch.done, batch.problems) == (2, [{"file": "aws:1", "reason": "AWS refuses."}])


def test_nothing_is_asked_for_before_it_is_wanted() -> None:
    asked = []

    def listing() -> Iterator[DiscoveredCredential]:
        for n in range(10_000):
            asked.append(n)
            yield credential(n)

    next(batches(listing(), stopped))
    assert len(asked) == AT_ONCE


@pytest.mark.parametrize(("kind", "trust"), [("not one of ours", "static_service"), ("api_key", "whoever")])
def test_a_word_that_is_not_ours_becomes_other_or_unknown(kind: str, trust: str) -> None:
    found = row(credential(kind=kind, trust_model=trust))
    assert (found.kind, found.trust_model) in {("other", "static_service"), ("api_key", "unknown")}


texts = st.text(max_size=40) | st.text(alphabet="x\x00\ud800é", min_size=300, max_size=900)
details = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.django_db
@settings(max_examples=examples(60), deadline=None, suppress_health_check=SHARED_FIXTURE)
@given(
    st.builds(
        DiscoveredCredential,
        identity=texts.filter(bool),
        name=texts,
        kind=texts,
        principal=texts,
        external_id=texts,
        issuer=texts,
        subject=texts,
        hint=texts,
        reference=texts,
        scopes=st.tuples(texts, texts),
        details=st.dictionaries(texts, details, max_size=4),
        issued_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    )
)
def test_whatever_a_provider_says_the_database_takes_it(found: DiscoveredCredential) -> None:
    connection = create_connection(kind=ConnectionKind.AWS, name=f"any {uuid4()}", settings={}, actor=ACTOR, now=NOW)
    lease = claim(connection.pk, now=NOW, actor=ACTOR)
    assert lease is not None
    listing = Reconciliation(lease.connection, now=NOW)
    listing.open()
    listing.stage([row(found)])
    complete(lease, listing, now=NOW, done=1, problems=[], unread=[], actor=ACTOR)
    listing.close()
    assert Credential.objects.filter(identity_key=row(found).credential_key).count() == 1


def test_a_setting_that_nobody_knows_is_named() -> None:
    known = Settings({"host": "a", "hots": "b"})
    known.text("host")
    with pytest.raises(Permanent, match="no setting hots"):
        known.end()


def test_a_list_that_is_too_long_is_refused_and_not_cut() -> None:
    with pytest.raises(Permanent, match="at most 2 entries"):
        Settings({"roles": ["a", "b", "c"]}).entries("roles", 2)


def test_labels_become_tags_but_for_one_that_holds_a_secret() -> None:
    secret = "ghp_" + secrets.token_hex(18)
    found = DiscoveredCredential(identity="x", name="x", kind="api_key", labels=(("Team", "Core"), ("Token", secret)))
    assert row(found).tags == ("team:core",)
    assert row(DiscoveredCredential(identity="x", name="x", kind="api_key")).tags is None
