"""Build well-known addresses and compare addresses as the specifications ask: as text, without normalising."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

PROTECTED_RESOURCE = "/.well-known/oauth-protected-resource"
AUTHORIZATION_SERVER = "/.well-known/oauth-authorization-server"
OPENID_CONFIGURATION = "/.well-known/openid-configuration"
LONGEST_ISSUER = 2_000


def split(url: str) -> SplitResult | None:
    """The parts of an absolute http(s) address; None for whatever is none (relative, broken, another scheme)."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # says by raising that it is no number
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None


def origin(url: str) -> str:
    """Scheme, host and port, in lower case and without a default port; empty when this is no address."""
    parts = split(url)
    if parts is None:
        return ""
    default = {"https": 443, "http": 80}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, default) else f":{parts.port}")


def inserted(url: str, well_known: str) -> str:
    """The well-known address of `url`: put in between authority and path (RFC 9728 §3.1, RFC 8414 §3.1).

    The one slash that ends an empty path is dropped, every other character of the path stays; the query stays too,
    as RFC 9728 has it. Empty when this is no address.
    """
    parts = split(url)
    if parts is None:
        return ""
    path = "" if parts.path == "/" else parts.path
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{well_known}{path}{query}"


def protected_resource_addresses(url: str) -> list[str]:
    """Where clients look for protected resource metadata without a hint: at the server's path, then at its host."""
    parts = split(url)
    if parts is None:
        return []
    at_root = f"{parts.scheme}://{parts.netloc}{PROTECTED_RESOURCE}"
    at_path = inserted(url, PROTECTED_RESOURCE)
    return [at_path] if at_path == at_root else [at_path, at_root]


def is_issuer(text: str) -> bool:
    """Whether a text can be an issuer at all: an address is written in ASCII (RFC 3986), and ends somewhere.

    An index finds issuers, and takes no more of one than this.
    """
    return text.isascii() and text.isprintable() and 0 < len(text) <= LONGEST_ISSUER


class Likeness(StrEnum):
    """How near an advertised identifier is to the address that it should be."""

    IDENTICAL = "identical"
    SLASH = "slash"  # but for one slash at the end
    PATH = "path"  # the same origin, another path or query
    HOST = "host"  # another host, port or scheme; or no address at all


def likeness(advertised: str, address: str) -> Likeness:
    """Compare as text (RFC 9728 §3.3); only to say *how* different something is does it look at parts."""
    if advertised == address:
        return Likeness.IDENTICAL
    if advertised.removesuffix("/") == address.removesuffix("/"):
        return Likeness.SLASH
    return Likeness.PATH if origin(advertised) and origin(advertised) == origin(address) else Likeness.HOST


def is_loopback(url: str) -> bool:
    """Whether the address names this very machine, by number or as `localhost`."""
    parts = split(url)
    return parts is not None and is_loopback_host(parts.hostname)


def is_loopback_host(host: str | None) -> bool:
    host = (host or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _numbered(host)
    return address is not None and address.is_loopback


def is_internal_host(host: str | None) -> bool:
    """It names an address that the public network does not route."""
    if is_loopback_host(host):
        return True
    address = _numbered((host or "").lower())
    return address is not None and not address.is_global


def _numbered(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_safe(url: str) -> bool:
    """Whether what is sent to it stays between the two: https, or an address of this machine."""
    parts = split(url)
    return parts is not None and (parts.scheme == "https" or is_loopback(url))
