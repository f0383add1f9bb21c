"""Well-known addresses are built by insertion, and identifiers compared as text."""

import string
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.addresses import (
    AUTHORIZATION_SERVER,
    PROTECTED_RESOURCE,
    Likeness,
    inserted,
    is_loopback,
    is_safe,
    likeness,
    origin,
    protected_resource_addresses,
    split,
)

HOSTS = st.sampled_from(["a.example", "b.example:8443", "127.0.0.1:9", "[2001:db8::1]", "[::1]:80"])
PATHS = st.lists(st.text(alphabet=string.ascii_letters + "-._~%20", max_size=6), max_size=4).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/a/mcp", "https://h/.well-known/oauth-protected-resource/a/mcp"),
        ("https://h/mcp/", "https://h/.well-known/oauth-protected-resource/mcp/"),
        ("https://h/", "https://h/.well-known/oauth-protected-resource"),
        ("https://h", "https://h/.well-known/oauth-protected-resource"),
        ("https://h:8443/mcp?k=v#f", "https://h:8443/.well-known/oauth-protected-resource/mcp?k=v"),
    ],
)
def test_the_well_known_part_goes_between_authority_and_path(url: str, expected: str) -> None:
    assert inserted(url, PROTECTED_RESOURCE) == expected


def test_clients_look_at_the_path_and_then_at_the_host() -> None:
    assert protected_resource_addresses("https://h/mcp") == [
        "https://h/.well-known/oauth-protected-resource/mcp",
        "https://h/.well-known/oauth-protected-resource",
    ]


def test_a_server_without_a_path_has_one_metadata_address() -> None:
    assert protected_resource_addresses("https://h/") == ["https://h/.well-known/oauth-protected-resource"]


@pytest.mark.parametrize("text", ["", "mcp", "ftp://h/x", "https://", "https://h:port/", "https://[::1", "//h/x"])
def test_what_is_no_address_leads_nowhere(text: str) -> None:
    assert (inserted(text, PROTECTED_RESOURCE), origin(text), protected_resource_addresses(text)) == ("", "", [])


@pytest.mark.parametrize(
    ("advertised", "address", "expected"),
    [
        ("https://h/mcp", "https://h/mcp", Likeness.IDENTICAL),
        ("https://h/mcp/", "https://h/mcp", Likeness.SLASH),
        ("https://h", "https://h/", Likeness.SLASH),
        ("https://h/other", "https://h/mcp", Likeness.PATH),
        ("https://H/mcp", "https://h/mcp", Likeness.PATH),
        ("https://h:443/mcp", "https://h/mcp", Likeness.PATH),
        ("http://h/mcp", "https://h/mcp", Likeness.HOST),
        ("https://h.evil/mcp", "https://h/mcp", Likeness.HOST),
        ("mcp", "https://h/mcp", Likeness.HOST),
        ("", "https://h/mcp", Likeness.HOST),
    ],
)
def test_identifiers_are_compared_as_text(advertised: str, address: str, expected: Likeness) -> None:
    assert likeness(advertised, address) is expected


@given(HOSTS, PATHS)
def test_taking_the_well_known_part_out_again_gives_the_server_back(host: str, path: str) -> None:
    url = f"https://{host}{path}"
    built = inserted(url, AUTHORIZATION_SERVER)
    assert urlsplit(built).netloc == host
    assert built.replace(AUTHORIZATION_SERVER, "", 1) == url.removesuffix("/" if path == "/" else "\0")


@given(st.text(max_size=80))
def test_any_text_is_compared_without_complaint(text: str) -> None:
    assert likeness(text, text) is Likeness.IDENTICAL
    assert (split(text) is None) == (origin(text) == "")
    assert not is_loopback(text) or is_safe(text)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://127.9.9.9", "http://[::1]/", "http://localhost/mcp"])
def test_this_machine_is_known_by_its_addresses(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "http://localhost.evil.example", "file:///etc", "127.0.0.1"])
def test_other_addresses_are_not_taken_for_this_machine(url: str) -> None:
    assert not is_loopback(url)
