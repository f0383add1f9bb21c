"""Which addresses may be reached: the rules alone, and that nothing else is ever connected to."""

import asyncio
import errno
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers.errors import Permanent, Refused
from providers.fetch import Fetcher
from providers.guard import Address, Guard, host_of, is_routable, parse_target

INTERNAL = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
    *("198.51.100.7", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("100.100.100.200", "168.63.129.16"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:db8::1"),
    *(
        "2002:7f00:1::",
        "2002:a00:1::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
SPECIAL = st.sampled_from([ip_address(each) for each in [*INTERNAL, *PUBLIC]])
ADDRESSES: st.SearchStrategy[Address] = SPECIAL | st.ip_addresses()


def check(guard: Guard, url: str, *addresses: str) -> None:
    guard.check(parse_target(url), [ip_address(each) for each in addresses])


# ── Addresses ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("address", INTERNAL)
def test_an_internal_address_is_refused(address):
    with pytest.raises(Refused, match="leads to"):
        check(Guard(), "https://mcp.example/", address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_open(address):
    check(Guard(), "https://mcp.example/", address)


@pytest.mark.parametrize("addresses", [("1.1.1.1", "10.0.0.1"), ("::1", "2606:4700::1111")])
def test_one_internal_address_among_public_ones_is_enough_to_refuse(addresses):
    with pytest.raises(Refused):
        check(Guard(), "https://mcp.example/", *addresses)


def test_an_address_with_a_zone_is_refused():
    with pytest.raises(Refused):
        Guard(networks=("fe80::/10",)).check(parse_target("https://mcp.example/"), [IPv6Address("fe80::1%eth0")])


def test_plain_http_is_refused_even_to_a_public_address():
    with pytest.raises(Refused, match="over plain http"):
        check(Guard(), "http://mcp.example/", "1.1.1.1")


@given(ADDRESSES)
def test_whatever_is_open_by_default_is_public_by_the_registries_too(address):
    if not is_routable(address):
        return
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped else address
    assert inner.is_global
    assert not inner.is_multicast
    assert not inner.is_private
    assert not inner.is_link_local


# ── What an operator opens ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_open_over_http_when_asked_for(address):
    check(Guard(allow_loopback=True), "http://localhost/", address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "169.254.169.254"])
def test_open_loopback_opens_nothing_else(address):
    with pytest.raises(Refused):
        check(Guard(allow_loopback=True), "https://localhost/", address)


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("10.0.0.0/8", "http://any.example/", "10.1.2.3"),
        ("10.0.0.0/8", "https://any.example/", "::ffff:10.1.2.3"),
        ("192.168.7.7", "https://any.example/", "192.168.7.7"),
        ("fd12::/16", "http://[fd12::1]/", "fd12::1"),
        ("169.254.169.254", "http://metadata.example/", "169.254.169.254"),
        ("mcp.corp.example", "http://MCP.corp.example./", "10.0.0.1"),
        ("*.corp.example", "http://a.b.corp.example/", "fd00::1"),
        ("mcp.corp.example", "http://mcp.corp.example/", "1.1.1.1"),
        ("bücher.example", "https://xn--bcher-kva.example/", "10.0.0.1"),
    ],
)
def test_what_is_listed_is_open(entry, url, address):
    check(Guard(networks=(entry,)), url, address)


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("10.0.0.0/8", "https://any.example/", "192.168.0.1"),
        ("mcp.corp.example", "https://other.example/", "10.0.0.1"),
        ("mcp.corp.example", "https://a.mcp.corp.example/", "10.0.0.1"),
        ("*.corp.example", "https://corp.example/", "10.0.0.1"),
        ("*.corp.example", "https://evilcorp.example/", "10.0.0.1"),
        ("*.corp.example", "https://a.corp.example.evil.example/", "10.0.0.1"),
        ("mcp.corp.example", "https://mcp.corp.example/", "127.0.0.1"),
        ("mcp.corp.example", "https://mcp.corp.example/", "169.254.169.254"),
        ("mcp.corp.example", "https://mcp.corp.example/", "fd00:ec2::254"),
        ("100.64.0.0/10", "https://any.example/", "100.100.100.200"),
        ("fd00::/8", "https://any.example/", "fd00:ec2::254"),
        ("0.0.0.0/1", "https://any.example/", "0.0.0.0"),
    ],
)
def test_what_is_listed_opens_nothing_beside_it(entry, url, address):
    with pytest.raises(Refused):
        check(Guard(networks=(entry,)), url, address)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "10.0.0.1/8",
        "10.0.0/8",
        "300.1.1.1",
        "0.0.0.0/0",
        "::/0",
        "*",
        "*.",
        "a b",
        "https://mcp.example",
        "0x7f.1",
        "-a",
    ],
)
def test_an_entry_that_cannot_be_meant_is_one_sentence(entry):
    with pytest.raises(Permanent, match=r"^'.*' is .*\.$"):
        Guard(networks=(entry,))


# ── URLs ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://MCP.Example", "https://mcp.example/"),
        ("HTTPS://mcp.example.:443/a?b#c", "https://mcp.example/a?b"),
        ("https://mcp.example?x=1", "https://mcp.example/?x=1"),
        ("https://[2606:4700:0:0::1111]:8443/", "https://[2606:4700::1111]:8443/"),
        ("https://bücher.example/ä?ö=%20", "https://xn--bcher-kva.example/%C3%A4?%C3%B6=%20"),
        ("https://mcp。example/", "https://mcp.example/"),
        ("https://mcp.example/a{b}|c", "https://mcp.example/a%7Bb%7D|c"),
        ("http://127.0.0.1:80/", "http://127.0.0.1/"),
        ("https://a_b.internal/", "https://a_b.internal/"),
    ],
)
def test_a_url_has_one_spelling(url, same):
    assert parse_target(url).url == same


@pytest.mark.parametrize(
    "url",
    [
        *("", "mcp.example", "//mcp.example/", "https:", "https:mcp.example", "https:///a", "https:/mcp.example/"),
        *("ftp://mcp.example/", "file:///etc/passwd", "javascript:alert(1)", "gopher://127.0.0.1:6379/_x", "ws://a/"),
        *("https://user@mcp.example/", "https://user:pw@mcp.example/", "https://mcp.example@127.0.0.1/", "https://@a/"),
        *("https://mcp.example\\@127.0.0.1/", "https://mcp.example /", "https://mcp.exa\tmple/", "https://a/\r\nX: y"),
        *("https://mcp.example:0/", "https://mcp.example:65536/", "https://mcp.example:4x/", "https://mcp.example:-1/"),
        *("https://:443/", "https://./", "https://../", "https://a..b/", "https://.a/", "https://-a.example/"),
        *("https://a%2eb/", "https://127%2e0.0.1/", "https://a,b/", "https://a'b/", "https://*.example/"),
        *("https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://017700000001/"),
        *("https://127.1/", "https://127.0.1/", "https://0177.0.0.1/", "https://127.0.0.01/", "https://1.2.3.4.5/"),
        *("https://0/", "https://127.0.0.0x1/", "https://１２７.１/", "https://a.0x/", "https://256.256.256.256/"),
        *("https://[::1/", "https://[]/", "https://[::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[127.0.0.1]/"),
        *("https://[::1]x/", "https://[[::1]]/", "https://::1/", "https://[v1.x]/", "https://a[::1]/"),
        *(f"https://{'a' * 64}.example/", f"https://{'a.' * 130}example/", f"https://mcp.example/{'a' * 9000}"),
        *(f"https://mcp.example/{'ä' * 3000}", "https://mcp.example/\ud800", "https://\ud800.example/"),
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused_with_a_sentence(url):
    with pytest.raises(Refused, match=r"^The address .*\.$"):
        parse_target(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "１２７.０.０.１", "127.0.0.1."])
def test_an_address_in_disguise_is_seen_as_the_address(host):
    assert host_of(host) == "127.0.0.1"


HOSTILE = st.text(alphabet="aA0127fx.:@/\\[]%#?-_ \t\u3002\uff11\u00df\u0130é", max_size=24)


@given(st.builds("{}://{}".format, st.sampled_from(["http", "https", "HTTPS"]), HOSTILE) | st.text(max_size=40))
@example("https://127.0.0.1#@mcp.example/")
@example("https://mcp.example?@127.0.0.1/")
def test_every_parser_reads_a_url_that_we_take_in_the_same_way(url):
    try:
        target = parse_target(url)
    except Refused:
        return
    assert parse_target(target.url) == target
    once, twice = urlsplit(target.url), httpx2.URL(target.url)
    assert once.hostname == twice.raw_host.decode("ascii") == target.host
    assert (once.port or {"http": 80, "https": 443}[once.scheme]) == target.port
    assert not once.username
    assert not twice.userinfo


# ── Nothing else is ever connected to ──────────────────────────────────────────────────────────


class NoNetwork(asyncio.SelectorEventLoop):
    """A machine whose every connection is refused, and written down."""

    def __init__(self) -> None:
        super().__init__()
        self.connected: list[Address] = []

    async def create_connection(self, factory, host=None, port=None, **_):
        self.connected.append(ip_address(host))
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    async def getaddrinfo(self, *_, **__):
        raise AssertionError("a name was looked up beside the guard")


GUARDS = st.sampled_from(
    [
        Guard(),
        Guard(allow_loopback=True),
        Guard(networks=("10.0.0.0/8", "fd12::/16", "mcp.example")),
        Guard(allow_loopback=True, networks=("*.example",)),
    ]
)
HOSTS = st.sampled_from(["mcp.example", "other.test", "localhost", "2130706433", "[::ffff:10.0.0.1]"]) | ADDRESSES.map(
    lambda each: f"[{each}]" if each.version == 6 else str(each)
)


def is_open_to(guard: Guard, host: str, address: Address) -> bool:
    """What may be connected to, said in another way than by the guard."""
    is_public = address.is_global and not address.is_multicast
    is_loopback = address.is_loopback and guard.allow_loopback
    ten, twelve = IPv4Address("10.0.0.0"), IPv6Address("fd12::")
    is_in_networks = "10.0.0.0/8" in guard.networks and (
        (address.version == 4 and address.packed[0] == ten.packed[0])
        or (address.version == 6 and address.packed[:2] == twelve.packed[:2])
    )
    is_internal = address.is_private or address in IPv4Network("100.64.0.0/10")  # shared by carriers: neither kind
    is_named = bool(guard.networks) and host.endswith(".example") and is_internal
    return (
        is_public
        or is_loopback
        or is_in_networks
        or (is_named and not address.is_loopback and not address.is_link_local and not address.is_unspecified)
    )


@settings(deadline=None)
@given(GUARDS, st.sampled_from(["http", "https"]), HOSTS, st.lists(ADDRESSES, min_size=1, max_size=4))
def test_no_address_outside_what_is_open_is_ever_connected_to(guard, scheme, host, addresses):
    loop = NoNetwork()

    async def resolver(name: str, port: int) -> list[Address]:
        return addresses

    async def scenario() -> str:
        async with Fetcher(guard, user_agent="test", resolver=resolver) as fetcher:
            return (await fetcher.request("GET", f"{scheme}://{host}:8443/mcp")).error

    try:
        assert loop.run_until_complete(scenario())
    finally:
        loop.close()
    assert all(is_open_to(guard, host, address) for address in loop.connected)
