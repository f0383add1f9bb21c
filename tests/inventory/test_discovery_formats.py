import base64
import json

import pytest

from inventory.discovery import formats
from inventory.discovery.formats import FORMATS, find
from tests.inventory.discovery_samples import LETTERS, github_token, noise, sample_of

NAMED = [f"{number}-{row.issuer}" for number, row in enumerate(FORMATS)]


def _sample(row):
    """A sample of this row that no more specific row claims."""
    for _ in range(50):
        sample = sample_of(row.pattern)
        if next(find(sample, " ".join(row.keywords)), None) is not None:
            return sample
    raise AssertionError(f"no sample of {row.issuer} is found")


@pytest.mark.parametrize("row", FORMATS, ids=NAMED)
def test_every_format_is_found_alone_and_within_a_text(row):
    sample = _sample(row)
    context = " ".join(row.keywords)
    for text in (sample, f'"KEY": "{sample}",', f"KEY={sample}\n", f"--token {sample} --next"):
        found = [text[m.start : m.end] for m in find(text, context)]
        assert found, text[:12]
        assert all(part in sample for part in found)


@pytest.mark.parametrize(
    "row", [r for r in FORMATS if r.prefixes], ids=[n for n, r in zip(NAMED, FORMATS, strict=True) if r.prefixes]
)
def test_the_shown_prefix_is_the_formats_and_not_the_values(row):
    match = next(find(_sample(row), " ".join(row.keywords)))
    assert match.prefix == "" or any(match.prefix in other.prefixes for other in FORMATS)


def test_ordinary_text_has_no_credentials():
    text = "npx -y @modelcontextprotocol/server-github https://api.example.com/v2/items?limit=10 sha256:" + "ab12" * 16
    assert list(find(text)) == []


def test_a_short_form_needs_its_keyword():
    token = "s." + noise(24)
    assert not list(find(token))
    assert [m.format.issuer for m in find(token, "VAULT_TOKEN")] == ["HashiCorp Vault"]


def test_a_github_checksum_is_checked():
    token = github_token()
    assert formats.github_checksum_holds(token) is True
    wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
    assert formats.github_checksum_holds(wrong) is False
    assert formats.github_checksum_holds("github_pat_" + noise(82)) is None


def test_a_key_id_names_its_account():
    account = 123456789012
    body = base64.b32encode((account << 7).to_bytes(6, "big") + b"\x01\x02\x03\x04").decode()
    assert formats.aws_account("AKIA" + body) == "123456789012"


def test_a_tokens_own_dates_are_read_without_trusting_it():
    def part(tree):
        return base64.urlsafe_b64encode(json.dumps(tree).encode()).decode().rstrip("=")

    token = f"{part({'alg': 'none'})}.{part({'iss': 'https://issuer.example', 'iat': 1700000000, 'exp': 1800000000})}."
    claims = formats.jwt_claims(token)
    assert claims is not None
    assert claims.issuer == "https://issuer.example"
    assert claims.issued_at is not None
    assert claims.issued_at.year == 2023
    assert claims.expires_at is not None
    assert claims.expires_at.year == 2027


@pytest.mark.parametrize("token", ["", "a.b.c", "eyJ.eyJ.", "eyJhbGciOiJub25lIn0.W10.", "x" * 20_000])
def test_what_is_no_token_has_no_claims(token):
    assert formats.jwt_claims(token) is None


@pytest.mark.parametrize(
    ("moment", "year"),
    [(1700000000, 2023), (1700000000000, 2023), ("2026-03-01T00:00:00Z", 2026), ("1700000000", 2023)],
)
def test_instants_are_read_in_every_common_spelling(moment, year):
    found = formats.instant(moment)
    assert found is not None
    assert found.year == year
    assert found.tzinfo is not None


@pytest.mark.parametrize("moment", [None, True, -1, "soon", 1e30, {}, float("nan")])
def test_what_is_no_instant_is_none(moment):
    assert formats.instant(moment) is None


def test_noise_of_any_alphabet_is_seldom_taken_for_a_format():
    taken = sum(1 for _ in range(2000) if next(find(noise(32, LETTERS)), None) is not None)
    assert taken <= 3
