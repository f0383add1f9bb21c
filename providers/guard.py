"""Which addresses Keyreeve may reach when somebody else chose them: the rules against request forgery.

A URL from a target can name any place that this machine sees: its own services, the cloud's metadata endpoint, the
network behind it. Only globally routable unicast addresses are open; an operator opens more by an allow-list. What is
judged is the address that will be connected to, never the name alone.
"""

import asyncio
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote

import idna

from providers.errors import Permanent, Refused, Transient

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]

HOW_TO_OPEN = "The operator opens internal hosts in KEYREEVE_ALLOW_NETWORKS, this machine by KEYREEVE_ALLOW_LOOPBACK=1."
MAX_URL = 8192
MAX_HOST = 253
PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}):(?://([^/?#]*)([^#]*))?")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


# The registries of special-purpose addresses, written out: `ipaddress.is_global` calls multicast global and has
# answered differently from one patch release of Python to the next.
_LOOPBACK = _networks("127.0.0.0/8", "::1/128")
_INTERNAL = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7")
_NEVER = _networks("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8")
_SPECIAL = _networks(
    *("169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    # Protocol assignments with Teredo, documentation, 6to4, documentation.
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
# Where clouds hand credentials to whoever asks. Some lie in networks that people open, so only an entry with exactly
# this address opens one.
_METADATA = _networks(
    *("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
)
_UNICAST6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def _in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def plain(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped one: the kernel would connect to that."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def is_routable(address: Address) -> bool:
    """Whether it is a unicast address of the public internet."""
    address = plain(address)
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return is_routable(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.scope_id or address not in _UNICAST6:
            return False
    return not any(_in(address, networks) for networks in (_LOOPBACK, _INTERNAL, _NEVER, _SPECIAL, _METADATA))


def host_of(text: str) -> str:
    """A host name or address in its one spelling; an IPv6 address without brackets. Raises `Refused`."""
    if text.startswith("["):
        inner = text[1:-1]
        try:
            return str(IPv6Address(inner if "%" not in inner else ""))
        except ValueError as exc:
            raise Refused("The address holds an IPv6 address that is not one, or one with a zone.") from exc
    try:
        name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError) as exc:
        raise Refused("The address holds a host name that no name service knows how to write.") from exc
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused("The address holds no valid host name." if name else "The address names no host.")
    if _NUMBER.fullmatch(labels[-1]):
        # 2130706433, 0x7f.1 and 017700000001 are all 127.0.0.1 to a lenient parser further down.
        try:
            return str(IPv4Address(name))
        except ValueError as exc:
            raise Refused("The address writes an IP address in another form than four decimal numbers.") from exc
    return name


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart once, so that nothing later can read it in another way."""

    scheme: str
    host: str  # one spelling, without brackets or trailing dot
    port: int
    path: str  # with the query, percent-encoded

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def address(self) -> Address | None:
        """The address that the host is, when it is no name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def parse_target(url: str) -> Target:
    """Take a URL apart, strictly. Raises `Refused` with a sentence for whatever two parsers could read differently."""
    if len(url) > MAX_URL:
        raise Refused(f"The address is longer than {MAX_URL} characters.")
    if _UNSAFE.search(url):
        raise Refused("The address holds a space, a backslash or a control character.")
    found = _URL.match(url)
    scheme = found[1].lower() if found else ""
    if not found or scheme not in PORTS or not found[2]:
        raise Refused("The address must begin with https:// and a host.")
    if "@" in found[2]:
        raise Refused("The address holds a user name or a password.")
    authority = _AUTHORITY.fullmatch(found[2])
    if not authority:
        raise Refused("The address holds no valid host and port.")
    port = int(authority[2]) if authority[2] else PORTS[scheme]
    if not 0 < port < 65536:
        raise Refused("The address holds a port that does not exist.")
    path = found[3] if found[3].startswith("/") else f"/{found[3]}"
    try:
        path = quote(path, safe="%/:?[]@!$&'()*+,;=~-._|")
    except UnicodeEncodeError as exc:
        raise Refused("The address holds a character that cannot be sent.") from exc
    if len(path) > MAX_URL:
        raise Refused(f"The address is longer than {MAX_URL} characters.")
    return Target(scheme, host_of(authority[1]), port, path)


@dataclass(frozen=True)
class Guard:
    """Where requests may go besides the public internet.

    `networks` are CIDR networks, addresses, host names or `*.` patterns: `10.0.0.0/8`, `mcp.corp.example`,
    `*.corp.example`. A listed name may resolve to an internal address, but not to loopback, link-local or metadata
    addresses: whoever controls its DNS could otherwise aim us at this machine. Plain http goes only to loopback, where
    that is open, and to what is listed; with `allow_plain_http` also to the public internet. Raises `Permanent` for an
    entry that is none of these.
    """

    allow_loopback: bool = False
    networks: tuple[str, ...] = ()
    allow_plain_http: bool = False
    _networks: tuple[Network, ...] = field(init=False, repr=False, compare=False)
    _names: frozenset[str] = field(init=False, repr=False, compare=False)
    _suffixes: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        networks: list[Network] = []
        names: set[str] = set()
        suffixes: list[str] = []
        for entry in self.networks:
            match _entry(entry):
                case str() as name if name.startswith("."):
                    suffixes.append(name)
                case str() as name:
                    names.add(name)
                case network:
                    networks.append(network)
        object.__setattr__(self, "_networks", tuple(networks))
        object.__setattr__(self, "_names", frozenset(names))
        object.__setattr__(self, "_suffixes", tuple(suffixes))

    def lists(self, host: str, address: Address) -> bool:
        """Whether the operator opened this address, when it is reached under this name."""
        if _in(address, _METADATA):
            return any(address in network and network.num_addresses == 1 for network in self._networks)
        if _in(address, self._networks):
            return True
        return (_in(address, _INTERNAL) or is_routable(address)) and (
            host in self._names or host.endswith(self._suffixes)
        )

    def check(self, target: Target, addresses: Sequence[Address]) -> None:
        """Raise `Refused` unless every one of these addresses may be reached for this target.

        One that may not is enough: an answer of DNS that mixes public and internal addresses is an attack or a
        mistake, and picking the harmless one would let the next answer decide.
        """
        for each in addresses:
            address = plain(each)
            if (isinstance(address, IPv6Address) and address.scope_id) or _in(address, _NEVER):
                raise Refused(f"{target.host} leads to {address}, which is no address of a server.")
            is_open = self.lists(target.host, address) or (self.allow_loopback and _in(address, _LOOPBACK))
            if not is_open and not is_routable(address):
                opened_by = "KEYREEVE_ALLOW_LOOPBACK" if address.is_loopback else "KEYREEVE_ALLOW_NETWORKS"
                raise Refused(
                    f"{target.host} leads to {address}, which is not a public address. {opened_by} opens such ones."
                )
            if not is_open and target.scheme != "https" and not self.allow_plain_http:
                raise Refused(f"{target.host} is asked over plain http, which is allowed only where it was opened.")


def open_addresses(guard: Guard, host: str, port: int) -> list[Address]:
    """The addresses of a host that is to be reached by another protocol than HTTP, judged like any other.

    Whoever connects to these, and does not look the name up again, reaches what was judged. Raises `Refused` for an
    address that is not open, `Transient` for a name that is not known.
    """
    target = Target("https", host_of(f"[{host}]" if ":" in host else host), port, "/")
    try:
        found = [target.address] if target.address else _looked_up(target.host, port)
    except OSError as exc:
        raise Transient(f"The name {target.host} is not known here.") from exc
    try:
        guard.check(target, found)
    except Refused as exc:
        raise Refused(f"{exc} {HOW_TO_OPEN}") from exc
    return [plain(each) for each in found]


def _looked_up(host: str, port: int) -> list[Address]:
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(row[4][0])) for row in rows))


def _entry(text: str) -> Network | str:
    """A network, a host name, or a suffix that begins with a dot."""
    if "/" in text or ":" in text or _NUMBER.fullmatch(text.rpartition(".")[2].lower()):
        try:
            network = ip_network(text)
        except ValueError as exc:
            raise Permanent(f"{text!r} is not a network such as 10.0.0.0/8, nor an address.") from exc
        if not network.prefixlen:
            raise Permanent(f"{text!r} is every address there is. Name the internal networks instead.")
        return network
    try:
        name = host_of(text.removeprefix("*."))
    except Refused as exc:
        raise Permanent(f"{text!r} is neither a network nor a host name such as mcp.corp.example.") from exc
    return f".{name}" if text.startswith("*.") else name


# Lookups that hang hold a thread until the system's resolver gives up, so there are many, and none outlives us.
_LOOKUPS = threading.BoundedSemaphore(256)


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Ask the system's resolver, in a thread of its own.

    Not in the event loop's pool: its few threads would be taken by the first few dead names, and the interpreter
    waits for them at its end.
    """
    while not _LOOKUPS.acquire(blocking=False):
        await asyncio.sleep(0.05)  # the caller's time limit ends this
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()

    def settle(found: list[Address] | OSError) -> None:
        if answer.done():
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def look_up() -> None:
        found: list[Address] | OSError
        try:
            found = _looked_up(host, port)
        except OSError as exc:
            found = exc
        finally:
            _LOOKUPS.release()
        try:
            loop.call_soon_threadsafe(settle, found)
        except RuntimeError:
            return  # the loop ended while the resolver thought: nobody waits any more

    try:
        threading.Thread(target=look_up, name="resolve", daemon=True).start()
    except RuntimeError as exc:
        _LOOKUPS.release()
        raise Transient("This machine has no thread left for looking up names.") from exc
    return await answer
