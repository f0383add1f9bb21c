"""A tree to server entries: every layout in which clients keep them, told apart by content rather than by file name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from inventory.discovery.model import EntryError


class Entry(NamedTuple):
    """One server entry as it stands in the file."""

    name: str
    body: dict[str, Any]
    pointer: str
    layout: str = "standard"
    """Where the meaning of a field depends on it: `goose`, `docker`, `manifest`, `registry`, `toolhive`, `zed`."""


Found = Entry | EntryError

_LAUNCH_KEYS = ("command", "url", "serverUrl", "httpUrl", "cmd", "uri")
_MAP_KEYS = (
    "mcpServers",
    "mcp_servers",
    "context_servers",
    "amp.mcpServers",
    "mcp.servers",
    "zencoder.mcpServers",
    "mcp-servers",
)
_NOT_SERVERS = frozenset(
    {
        "inputs",
        "$schema",
        "version",
        "settings",
        "enabled",
        "timeout",
        "allowed",
        "excluded",
        "discovery",
        "access",
        "gallery",
        "autostart",
        "serverCommand",
        "experimental",
    }
)
_GOOSE_BUILT_IN = frozenset({"builtin", "platform", "frontend", "inline_python"})
_MAX_PROJECTS = 20_000


def escape(part: object) -> str:
    """One token of an RFC 6901 pointer."""
    text = str(part)
    return text.replace("~", "~0").replace("/", "~1") if "~" in text or "/" in text else text


def entries(tree: object) -> Iterator[Found]:
    """Every server entry of a file, and an error for each one that is none."""
    if isinstance(tree, list):
        if tree and all(isinstance(item, dict) and _is_launchable(item) and "name" in item for item in tree):
            yield from _listed(tree, "")
        return
    if not isinstance(tree, dict):
        return
    seen = False
    for found in _by_key(tree, ""):
        seen = True
        yield found
    if not seen and not any(key in tree for key in _MAP_KEYS):
        yield from _without_wrapper(tree)


def _by_key(tree: dict[str, Any], at: str) -> Iterator[Found]:
    for key in _MAP_KEYS:
        if key in tree:
            layout = "zed" if key == "context_servers" else "standard"
            yield from _collection(tree[key], f"{at}/{escape(key)}", layout)
    for key, value in tree.items():
        if key.endswith(".mcpServers") and key not in _MAP_KEYS:
            yield from _collection(value, f"{at}/{escape(key)}")
    servers = tree.get("servers")
    if isinstance(servers, dict | list) and _looks_like_servers(servers, tree):
        yield from _collection(servers, f"{at}/servers")
    yield from _mcp(tree.get("mcp"), f"{at}/mcp")
    for wrapper in ("powers", "settings", "customizations", "vscode", "experimental", "plugins", "entries"):
        inner = tree.get(wrapper)
        if isinstance(inner, dict) and at.count("/") < 3 and not (wrapper in {"vscode", "entries"} and not at):
            yield from _by_key(inner, f"{at}/{wrapper}")
    if "modelContextProtocolServers" in tree:
        yield from _collection(tree["modelContextProtocolServers"], f"{at}/modelContextProtocolServers")
    if at:
        return
    projects = tree.get("projects")
    if isinstance(projects, dict):
        for path, project in list(projects.items())[:_MAX_PROJECTS]:
            if isinstance(project, dict) and isinstance(project.get("mcpServers"), dict | list):
                yield from _collection(project["mcpServers"], f"/projects/{escape(path)}/mcpServers")
    extensions = tree.get("extensions")
    if isinstance(extensions, dict | list):
        yield from _goose(extensions)
    registry = tree.get("registry")
    if isinstance(registry, dict) and _is_docker_registry(registry):
        for name, body in registry.items():
            if isinstance(body, dict):
                yield Entry(str(name), body, f"/registry/{escape(name)}", "docker")
            elif body is not None:
                yield EntryError(f"/registry/{escape(name)}", "A server entry is not an object.")
    server = tree.get("server")
    if isinstance(server, dict) and isinstance(server.get("mcp_config"), dict):
        name = tree.get("display_name") or tree.get("name") or "extension"
        yield Entry(str(tree.get("name") or name), server["mcp_config"], "/server/mcp_config", "manifest")
    if ("packages" in tree or "remotes" in tree) and isinstance(tree.get("name"), str):
        yield from _registry_document(tree)


def _mcp(mcp: object, at: str) -> Iterator[Found]:
    if not isinstance(mcp, dict):
        return
    servers = mcp.get("servers")
    if isinstance(servers, dict | list) and not _is_launchable(mcp):
        yield from _collection(servers, f"{at}/servers")
    for key in _MAP_KEYS:
        if key in mcp:
            yield from _collection(mcp[key], f"{at}/{escape(key)}")
    for name, body in mcp.items():
        if name in _NOT_SERVERS or name == "servers" or name in _MAP_KEYS:
            continue
        if isinstance(body, dict) and (
            _is_launchable(body) or body.get("type") in {"local", "remote", "stdio", "http", "sse"}
        ):
            yield Entry(str(name), body, f"{at}/{escape(name)}")


def _looks_like_servers(servers: object, tree: dict[str, Any]) -> bool:
    """`servers` is a common word; OpenAPI documents and web servers use it too."""
    if "openapi" in tree or "swagger" in tree:
        return False
    bodies = list(servers.values()) if isinstance(servers, dict) else servers
    if not isinstance(bodies, list):
        return False
    if not bodies:
        return isinstance(servers, dict)
    return any(isinstance(body, dict) and (_is_launchable(body) or "type" in body) for body in bodies)


def _collection(servers: object, at: str, layout: str = "standard") -> Iterator[Found]:
    if isinstance(servers, dict):
        for name, body in servers.items():
            pointer = f"{at}/{escape(name)}"
            if isinstance(body, dict):
                yield Entry(str(name), body, pointer, layout)
            elif isinstance(body, str) and body.startswith(("http://", "https://")):
                yield Entry(str(name), {"url": body}, pointer, "bare")
            elif body is not None and name not in _NOT_SERVERS:
                yield EntryError(pointer, "A server entry is not an object.")
    elif isinstance(servers, list):
        yield from _listed(servers, at)
    elif servers is not None:
        yield EntryError(at, "The server list is neither a map nor a list.")


def _listed(servers: list[Any], at: str) -> Iterator[Found]:
    for index, body in enumerate(servers):
        pointer = f"{at}/{index}"
        if not isinstance(body, dict):
            if body is not None:
                yield EntryError(pointer, "A server entry is not an object.")
            continue
        name = body.get("name") or body.get("key") or body.get("id") or f"server {index + 1}"
        transport = body.get("transport")
        if isinstance(transport, dict):
            yield Entry(str(name), body, pointer)
        elif len(body) == 1 and isinstance(next(iter(body.values())), dict) and not _is_launchable(body):
            inner = next(iter(body))
            yield Entry(str(inner), body[inner], f"{pointer}/{escape(inner)}")
        else:
            yield Entry(str(name), body, pointer)


def _goose(extensions: dict[str, Any] | list[Any]) -> Iterator[Found]:
    pairs = list(extensions.items()) if isinstance(extensions, dict) else list(enumerate(extensions))
    if not any(
        isinstance(b, dict) and ("cmd" in b or "uri" in b or b.get("type") in _GOOSE_BUILT_IN | {"stdio", "sse"})
        for _, b in pairs
    ):
        return
    for key, body in pairs:
        pointer = f"/extensions/{escape(key)}"
        if not isinstance(body, dict):
            if body is not None:
                yield EntryError(pointer, "An extension entry is not an object.")
        elif body.get("type") not in _GOOSE_BUILT_IN:
            yield Entry(str(body.get("name") or key), body, pointer, "goose")


def _is_docker_registry(registry: dict[str, Any]) -> bool:
    return any(isinstance(b, dict) and ({"image", "remote", "ref", "secrets"} & b.keys()) for b in registry.values())


def _registry_document(tree: dict[str, Any]) -> Iterator[Found]:
    name = tree["name"]
    for kind in ("packages", "remotes"):
        listed = tree.get(kind)
        if isinstance(listed, list):
            for index, body in enumerate(listed):
                if isinstance(body, dict):
                    yield Entry(name, body, f"/{kind}/{index}", "registry")
                else:
                    yield EntryError(f"/{kind}/{index}", "A package entry is not an object.")


def _without_wrapper(tree: dict[str, Any]) -> Iterator[Found]:
    """A bare map of servers, a single server, or a run configuration: accepted only when nothing else is in it."""
    if isinstance(tree.get("name"), str) and (
        "remote_url" in tree or ("image" in tree and ("transport" in tree or "schema_version" in tree))
    ):
        yield Entry(tree["name"], tree, "", "toolhive")
        return
    bodies = [(key, value) for key, value in tree.items() if key not in {"$schema", "inputs"}]
    if bodies and all(isinstance(value, dict) and _is_launchable(value) for _, value in bodies):
        for key, value in bodies:
            yield Entry(str(key), value, f"/{escape(key)}")
    elif (isinstance(tree.get("command"), str) and isinstance(tree.get("args"), list)) and "scripts" not in tree:
        yield Entry(str(tree.get("name") or "server"), tree, "")


def _is_launchable(body: dict[str, Any]) -> bool:
    for key in _LAUNCH_KEYS:
        if key in body:
            return True
    transport = body.get("transport")
    return isinstance(transport, dict) and _is_launchable(transport)
