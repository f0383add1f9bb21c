"""What is recommended, from signals alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviews.recommendations import BY_SLUG, SIGNALS, in_words, recommend
from reviews.states import ALLOWED, Reviewed, What

slugs = st.sets(st.sampled_from(sorted(BY_SLUG)))


@pytest.mark.parametrize(
    ("signals", "what"),
    [
        ([], What.KEEP),
        (["idle", "exposed"], What.REVOKE),
        (["exposed", "no_owner"], What.ROTATE),
        (["no_owner", "scope"], What.REASSIGN),
        (["scope"], What.REDUCE),
        (["use_unknown"], None),
        (["changed"], None),
    ],
)
def test_the_weightiest_signal_decides(signals: list[str], what: What | None):
    assert recommend(Reviewed.CREDENTIAL, signals).what == what


@given(kind=st.sampled_from(list(Reviewed)), signals=slugs)
def test_nothing_is_recommended_that_cannot_be_decided(kind: Reviewed, signals: set[str]):
    said = recommend(kind, signals)
    assert said.what is None or said.what in ALLOWED[kind]
    assert set(said.reasons) == signals


@given(kind=st.sampled_from(list(Reviewed)), signals=slugs)
def test_what_speaks_against_it_or_is_unknown_is_never_a_reason_to_keep(kind: Reviewed, signals: set[str]):
    assert (recommend(kind, signals).what is What.KEEP) == (not signals)


def test_every_signal_has_words():
    assert all(words.endswith(".") for words in in_words([signal.slug for signal in SIGNALS]))
