"""Reads what a server publishes about itself (`server.json`, the registry's format): what it needs, never a value.

The format of 2025-09 on writes `isSecret`, earlier drafts wrote `is_secret`; both are read. Every count and length is
bounded, and what is not understood is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inventory.discovery.identities import address_key, package_key
from inventory.discovery.launchers import image
from inventory.discovery.model import DeclaredInput, FoundManifest

MOST_ENTRIES = 20  # packages, and remotes
MOST_INPUTS = 200
NAME, TITLE, VERSION, KEY, ADDRESS = 200, 300, 200, 400, 2_000
ENVIRONMENT, HEADER, ARGUMENT = "environment", "header", "argument"


def manifest_in(tree: Any) -> FoundManifest | None:
    """The manifest that a decoded document is; None when it is something else, or declares nothing to run or reach."""
    if not isinstance(tree, dict) or not isinstance(tree.get("name"), str):
        return None
    packages = _objects(tree.get("packages"), MOST_ENTRIES)
    remotes = _objects(tree.get("remotes"), MOST_ENTRIES)
    if not packages and not remotes:
        return None
    keys = dict.fromkeys(key for package in packages if (key := _package(package)))
    urls = dict.fromkeys(key for remote in remotes if (key := _address(remote)))
    inputs: dict[tuple[str, str], DeclaredInput] = {}
    for found in _inputs(packages, remotes):
        before = inputs.get((found.place, found.name))
        if before is None and len(inputs) >= MOST_INPUTS:
            break
        # Several packages may want the same: a secret of one is a secret, and what only one requires is required.
        inputs[found.place, found.name] = DeclaredInput(
            found.name,
            found.place,
            found.is_required or (before is not None and before.is_required),
            found.is_secret or (before is not None and before.is_secret),
        )
    details = tree.get("version_detail")
    version = tree.get("version") or (details.get("version") if isinstance(details, dict) else "")
    return FoundManifest(
        name=tree["name"][:TITLE],
        version=version[:VERSION] if isinstance(version, str) else "",
        packages=tuple(keys),
        urls=tuple(urls),
        inputs=tuple(sorted(inputs.values(), key=lambda each: (each.place, each.name))),
    )


def _objects(listed: Any, most: int) -> list[dict[str, Any]]:
    return [each for each in listed[: most * 5] if isinstance(each, dict)][:most] if isinstance(listed, list) else []


def _either(body: dict[str, Any], *names: str) -> Any:
    return next((body[name] for name in names if name in body), None)


def _package(body: dict[str, Any]) -> str:
    registry = _either(body, "registryType", "registry_type", "registry_name")
    identifier = _either(body, "identifier", "name")
    if not isinstance(registry, str) or not isinstance(identifier, str) or not identifier:
        return ""
    registry = "oci" if registry == "docker" else registry[:20]
    if registry == "oci":
        identifier = image("docker", identifier[:KEY]).package or ""
    key = package_key(registry, identifier)
    return key if len(key) <= KEY else ""  # a name that no registry takes


def _address(body: dict[str, Any]) -> str:
    url = body.get("url")
    return address_key(url) if isinstance(url, str) and 0 < len(url) <= ADDRESS else ""


def _inputs(packages: list[dict[str, Any]], remotes: list[dict[str, Any]]) -> Iterator[DeclaredInput]:
    for package in packages:
        for body in _objects(_either(package, "environmentVariables", "environment_variables"), MOST_INPUTS):
            yield from _input(body, ENVIRONMENT)
        for names in (("packageArguments", "package_arguments"), ("runtimeArguments", "runtime_arguments")):
            for body in _objects(_either(package, *names), MOST_INPUTS):
                yield from _input(body, ARGUMENT)
        transport = package.get("transport")
        if isinstance(transport, dict):
            for body in _objects(transport.get("headers"), MOST_INPUTS):
                yield from _input(body, HEADER)
    for remote in remotes:
        for body in _objects(remote.get("headers"), MOST_INPUTS):
            yield from _input(body, HEADER)


def _input(body: dict[str, Any], place: str) -> Iterator[DeclaredInput]:
    name = _either(body, "name", "valueHint", "value_hint")
    if not isinstance(name, str) or not name:
        return
    variables = body.get("variables")
    parts = [body]
    if isinstance(variables, dict):
        parts += [each for each in list(variables.values())[:MOST_INPUTS] if isinstance(each, dict)]
    is_secret = any(_either(part, "isSecret", "is_secret") is True for part in parts)
    is_required = any(_either(part, "isRequired", "is_required") is True for part in parts)
    if isinstance(body.get("value"), str) and len(parts) == 1 and not is_secret:
        return  # a constant: nobody has to give it
    yield DeclaredInput(name[:NAME], place, is_required, is_secret)
