import pytest

from inventory.fingerprints import fingerprint, public_hint
from tests.inventory.discovery_samples import noise

KEY = b"k" * 32


def test_the_same_secret_has_the_same_fingerprint():
    secret = noise(40)
    assert fingerprint(secret, key=KEY) == fingerprint(secret, key=KEY)


def test_another_key_gives_another_fingerprint():
    secret = noise(40)
    assert fingerprint(secret, key=KEY) != fingerprint(secret, key=b"q" * 32)


def test_a_fingerprint_names_its_scheme_and_has_128_bits():
    scheme, _, digits = fingerprint("x", key=KEY).partition(":")
    assert scheme == "kf1"
    assert len(digits) == 32


@pytest.mark.parametrize("key", [b"", b"short"])
def test_a_weak_key_is_refused(key):
    with pytest.raises(ValueError, match="12 bytes"):
        fingerprint("x", key=key)


def test_text_that_is_no_unicode_has_a_fingerprint_too():
    assert fingerprint("\ud800", key=KEY).startswith("kf1:")


def test_a_hint_shows_the_formats_prefix_and_the_last_four():
    secret = "ghp_" + "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3b" + "9f2c"
    assert public_hint(secret, "ghp_") == "ghp_…9f2c"


@pytest.mark.parametrize(
    "secret",
    ["hunter2", "short-secret-15", "aaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababababab", "two words and more words"],
)
def test_a_hint_never_helps_guessing_a_short_or_repetitive_secret(secret):
    assert public_hint(secret, None) == "…"


def test_a_prefix_that_does_not_fit_the_value_is_not_shown():
    assert not public_hint(noise(40), "zzzz_").startswith("zzzz_")


def test_a_long_prefix_is_cut():
    secret = "github_pat_" + noise(82)
    assert public_hint(secret, "github_pat_").partition("…")[0] == "github_p"
