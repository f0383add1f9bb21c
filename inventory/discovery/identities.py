"""What makes two mentions of a server the same one: the package it is, or the address it answers at."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
# Launchers that say by themselves which registry their packages come from.
REGISTRIES = {
    "npx": "npm", "bunx": "npm", "pnpm": "npm", "yarn": "npm", "npm": "npm", "bun": "npm",
    "uvx": "pypi", "pipx": "pypi",
    "docker": "oci", "podman": "oci", "nerdctl": "oci",
    "dnx": "nuget",
    "cargo": "cargo",
}  # fmt: skip


def package_key(registry: str, package: str) -> str:
    """A package by its registry and the name by which that registry knows it."""
    if registry == "pypi":
        package = re.sub(r"[-_.]+", "-", package).lower()
    elif registry == "oci":
        package = re.sub(r"\A(?:docker\.io/)?(?:library/)?", "", package).lower()
    elif registry == "npm":
        package = package.lower()
    return f"{registry}:{package}"


def address_key(address: str) -> str:
    """An address without what does not tell servers apart: default port, letter case of the host, a final slash."""
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").lower()
        port = parts.port
    except ValueError:
        return address.lower()
    where = host if port in (None, PORTS.get(parts.scheme)) else f"{host}:{port}"
    return f"{parts.scheme}://{where}{parts.path.rstrip('/')}"
