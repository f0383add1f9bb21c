"""Reading what a server asks for before it answers."""

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.challenges import MAXIMUM_CHALLENGES, Challenge, for_tokens, parse

TOKEN = st.text(alphabet=string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=12)
VALUE = st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30)


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def challenges(draw: st.DrawFn) -> tuple[str, Challenge]:
    scheme = draw(TOKEN)
    parameters = draw(st.dictionaries(TOKEN.map(str.lower), VALUE, max_size=4))
    written = ", ".join(f"{name.upper()}={quoted(value)}" for name, value in parameters.items())
    return f"{scheme} {written}".rstrip(" ") if not parameters else f"{scheme} {written}", Challenge(
        scheme.lower(), parameters
    )


def test_a_plain_challenge_is_its_scheme() -> None:
    assert parse(["Bearer"]) == [Challenge("bearer")]


def test_quoted_values_hold_commas_and_quotes() -> None:
    header = r'Bearer realm="a, b=c, \"Basic\"", scope="mcp:read mcp:write"'
    assert parse([header]) == [Challenge("bearer", {"realm": 'a, b=c, "Basic"', "scope": "mcp:read mcp:write"})]


def test_several_challenges_share_one_header() -> None:
    header = 'Basic realm="x", Negotiate YIICwQ==, BEARER Error=invalid_token , resource_metadata="https://h/x,y"'
    assert parse([header]) == [
        Challenge("basic", {"realm": "x"}),
        Challenge("negotiate"),
        Challenge("bearer", {"error": "invalid_token", "resource_metadata": "https://h/x,y"}),
    ]


def test_repeated_headers_are_read_in_order() -> None:
    assert [c.scheme for c in parse(["Basic", "Bearer realm=x, DPoP algs=ES256"])] == ["basic", "bearer", "dpop"]


def test_the_first_of_two_parameters_of_one_name_counts() -> None:
    assert parse(['Bearer scope="a", SCOPE="b"'])[0].parameters == {"scope": "a"}


def test_a_broken_challenge_does_not_hide_the_next() -> None:
    assert for_tokens(['@@@ "never ends, Bearer scope=x']) == Challenge("bearer", {"scope": "x"})


def test_the_bearer_challenge_is_preferred_to_dpop_and_to_others() -> None:
    assert for_tokens(["Basic realm=x", "DPoP algs=ES256", "Bearer scope=x"]) == Challenge("bearer", {"scope": "x"})


def test_without_a_token_scheme_there_is_no_token_challenge() -> None:
    assert for_tokens(["Basic realm=x, ApiKey"]) is None


@given(st.lists(st.lists(challenges(), min_size=1, max_size=3), max_size=3))
def test_whatever_is_written_by_the_grammar_is_read_back(headers: list[list[tuple[str, Challenge]]]) -> None:
    written = [", ".join(text for text, _ in group) for group in headers]
    assert parse(written) == [challenge for group in headers for _, challenge in group]


@given(st.lists(st.text(max_size=200), max_size=4))
def test_any_text_is_read_without_complaint(headers: list[str]) -> None:
    assert all(challenge.scheme == challenge.scheme.lower() for challenge in parse(headers))


@pytest.mark.parametrize("piece", ['a="', "a=b,", "Bearer ", 'x="\\', "=", "a=b c=d ", ", ,", "a" * 7])
def test_an_endless_header_costs_a_bounded_time(piece: str) -> None:
    begun = time.process_time()
    found = parse([piece * 100_000] * 8)
    assert len(found) <= MAXIMUM_CHALLENGES
    assert time.process_time() - begun < 10  # seconds of computing; one that reads all of it takes minutes
