"""One server entry to a `FoundServer`: every spelling of its fields, every place in it that may hold a credential."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from inventory.discovery import formats
from inventory.discovery.classify import Draft, Judge, Where, pair_up
from inventory.discovery.decode import dotenv
from inventory.discovery.identities import address_key, package_key
from inventory.discovery.launchers import Launch, Word, identify, image, unwrap, words_of
from inventory.discovery.model import Class, FoundServer, Kind
from inventory.discovery.names import Sense, sense_of
from inventory.discovery.shapes import Entry, escape
from inventory.discovery.values import interpolations, is_noise, is_placeholder, is_plain, is_random, is_url
from inventory.discovery.vocabulary import word_set

EnvFileReader = Callable[[str], str | None]
"""Text of an environment file named in a configuration, or None when it is not there or may not be read."""

_URL_KEYS = ("url", "serverUrl", "httpUrl", "uri", "server_url", "remote_url", "endpoint", "baseUrl")
_ENV_KEYS = ("env", "environment", "envs", "env_vars", "environmentVariables", "environment_variables")
_HEADER_KEYS = ("headers", "http_headers", "oauth_headers", "httpHeaders", "extra_headers")
_ARGS_KEYS = ("args", "arguments", "cmd_args")
_TRUST_KEYS = (
    "trust",
    "autoApprove",
    "alwaysAllow",
    "approvalMode",
    "approval_mode",
    "auto_approve",
    "always_allow",
    "autoApproveAll",
    "default_tools_approval_mode",
    "available_tools",
    "includeTools",
    "excludeTools",
    "enabled_tools",
    "disabled_tools",
    "disabledTools",
    "allowedTools",
    "tools",
)
_RISK_KEYS = frozenset(_TRUST_KEYS[:9])
_PLAIN_KEYS = frozenset(
    {
        "type",
        "transport_type",
        "transportType",
        "disabled",
        "enabled",
        "isActive",
        "cwd",
        "working_directory",
        "description",
        "name",
        "timeout",
        "startup_timeout_sec",
        "tool_timeout_sec",
        "bundled",
        "display_name",
        "title",
        "icon",
        "iconPath",
        "version",
        "image",
        "gallery",
        "homepage",
        "repository",
        "id",
        "key",
        "dev",
        "metadata",
        "instructions",
        "serverInstructions",
        "schema_version",
        "registryType",
        "registry_type",
        "identifier",
        "runtimeHint",
        "ref",
        "dateAdded",
        "upstream",
        "readme",
        "prompts",
        "resources",
    }
    | set(_TRUST_KEYS)
    | {"envFile", "env_file", "envFiles"}
)
_TRANSPORTS = {
    "stdio": "stdio",
    "local": "stdio",
    "command": "stdio",
    "process": "stdio",
    "http": "http",
    "streamablehttp": "http",
    "streamable": "http",
    "streamablehttps": "http",
    "https": "http",
    "httpstream": "http",
    "httpstreaming": "http",
    "sse": "sse",
    "serversentevents": "sse",
    "ws": "websocket",
    "wss": "websocket",
    "websocket": "websocket",
}
_URL_SET, _ENV_SET, _HEADER_SET = frozenset(_URL_KEYS), frozenset(_ENV_KEYS), frozenset(_HEADER_KEYS)
_ENV_FILE_KEYS = ("envFile", "env_file", "envFiles")
_ENV_FILE_SET = frozenset(_ENV_FILE_KEYS)
_HANDLED = frozenset(
    {
        *_URL_KEYS,
        *_ENV_KEYS,
        *_HEADER_KEYS,
        *_ARGS_KEYS,
        *_PLAIN_KEYS,
        "command",
        "cmd",
        "transport",
        "env_keys",
        "env_http_headers",
    }
)
_COMMON_KEYS = frozenset(
    {"command", "args", "env", "type", "disabled", "enabled", "environment", "description", "name"}
)
# Where these write an untyped `url` they mean the older transport.
_UNTYPED_MEANS_SSE = frozenset({"gemini-cli", "qwen-code", "cline"})
_NAMED_VALUE = ("value", "default")
_MAX_FIELD_LEAVES = 2_000
_MAX_KNOWN_WORDS = 12


@dataclass(slots=True)
class _Site:
    """A server entry while it is being read."""

    entry: Entry
    client: str | None
    judge: Judge
    read_env_file: EnvFileReader | None
    drafts: list[Draft]


@dataclass(slots=True)
class ServerDraft:
    """A server and the drafts of its credentials, until the whole file is settled and `finish` freezes it."""

    facts: dict[str, Any]
    drafts: list[Draft]


def build(
    entry: Entry, *, file: str, client: str | None, judge: Judge, read_env_file: EnvFileReader | None = None
) -> ServerDraft:
    """What the entry says; a field that makes no sense is passed over, never the entry."""
    site = _Site(entry, client, judge, read_env_file, [])
    body, prefix = entry.body, ""
    nested = body.get("transport")
    if isinstance(nested, dict):
        prefix = "/transport"
        outer = {k: v for k, v in body.items() if k != "transport"}
        _environment(site, outer, "")
        _headers(site, outer, "")
        _other_fields(site, outer, "")
        body = {**{k: v for k, v in body.items() if k in _PLAIN_KEYS}, **nested}
    launch, has_command = _command(site, body, prefix)
    # Most entries have a command, arguments and an environment, and nothing else: one question spares five searches.
    is_plain_entry = body.keys() <= _COMMON_KEYS and not launch.env_files
    url, url_key = (None, "") if is_plain_entry else _address(site, body, prefix)
    _environment(site, body, prefix)
    if not is_plain_entry:
        _headers(site, body, prefix)
        _env_files(site, body, prefix, launch)
        _other_fields(site, body, prefix)
    if entry.layout == "docker":
        launch, url = _docker(site, body, launch, url)
    elif entry.layout in {"registry", "toolhive"} and not has_command:
        launch, url = _published(site, body, launch, url)
    transport = _transport(site, body, url, url_key, has_command or launch.launcher is not None)
    if launch.bridged_url:
        url = launch.bridged_url
    facts = {
        "name": entry.name,
        "transport": transport,
        "file": file,
        "pointer": entry.pointer,
        "client": client,
        "launcher": launch.launcher,
        "package": launch.package,
        "version": launch.version,
        "pinned": launch.pinned,
        "command": launch.command,
        "url": url,
        "disabled": _disabled(body),
        "trust": () if is_plain_entry else _trust(entry.body),
        "identity_key": _identity(entry, launch, url),
    }
    return ServerDraft(facts, _merged(pair_up(site.drafts)))


_SHOWN = ("name", "package", "version", "command", "url", "pointer", "identity_key")


def finish(server: ServerDraft, judge: Judge) -> FoundServer:
    """The server with its credentials, none of whose secrets occurs in any of its texts."""
    facts, drafts = server.facts, server.drafts
    shown = [facts[field] for field in _SHOWN if facts.get(field)]
    for draft in drafts:
        shown += (draft.pointer, draft.name, draft.reference or "", draft.external_id or "", draft.issuer or "")
    joined = "\n".join(shown)
    secrets = {d.secret for d in drafts if d.class_ is Class.LITERAL and len(d.secret) >= 4}
    if any(secret in joined for secret in secrets) or judge.betrays(joined):
        longest_first = sorted(secrets, key=len, reverse=True)
        facts = {**facts, **{field: _cleaned(facts.get(field), longest_first) for field in _SHOWN}}
        for draft in drafts:
            draft.pointer = _cleaned(draft.pointer, longest_first) or ""
            draft.name = _cleaned(draft.name, longest_first) or ""
            draft.reference = _cleaned(draft.reference, longest_first)
            draft.issuer = _cleaned(draft.issuer, longest_first)
            # The public half of a pair has a format too, and is meant to be seen.
            if draft.external_id in secrets:
                draft.external_id = None
    return FoundServer(**facts, credentials=tuple([draft.freeze(judge.key) for draft in drafts]))


def _cleaned(text: str | None, secrets: list[str]) -> str | None:
    if not text:
        return text
    for secret in secrets:
        text = text.replace(secret, "…")
    for match in sorted(formats.find(text), key=lambda m: m.start, reverse=True):
        text = text[: match.start] + "…" + text[match.end :]
    return text


def _merged(drafts: list[Draft]) -> list[Draft]:
    """One credential per place: the same secret twice in one value is one."""
    if len(drafts) < 2:
        return drafts
    seen: set[tuple[str, str, str, str | None]] = set()
    kept = []
    literal_places = {d.pointer for d in drafts if d.class_ is Class.LITERAL and not d.is_guess}
    for draft in drafts:
        mark = (draft.pointer, draft.class_, draft.secret, draft.reference)
        if mark in seen or (draft.class_ is not Class.LITERAL and draft.pointer in literal_places):
            continue
        seen.add(mark)
        kept.append(draft)
    return kept


# --- the command line ------------------------------------------------------------------------------------------------


def _command(site: _Site, body: dict[str, Any], prefix: str) -> tuple[Launch, bool]:
    words: list[Word] = []
    command = body.get("command", body.get("cmd"))
    key = "command" if "command" in body else "cmd"
    if isinstance(command, dict):
        # Zed's older form: the program with its arguments and environment in one object.
        inner = f"{prefix}/command"
        words = _words(command.get("path") or command.get("command"), f"{inner}/path")
        words += _arguments(command, inner)
        _environment(site, command, inner)
    elif isinstance(command, list):
        words = [
            Word(str(part), f"{prefix}/{key}/{i}")
            for i, part in enumerate(command)
            if isinstance(part, str | int | float)
        ]
    else:
        words = _words(command, f"{prefix}/{key}")
    if words or site.entry.layout in {"docker", "registry", "toolhive"}:
        words += _arguments(body, prefix)
    if not words:
        return Launch(), False
    words = words[:2_000]
    before = len(site.drafts)
    _judge_words(site, _spread(words))
    if (
        len(site.drafts) > before
        or len(words) > _MAX_KNOWN_WORDS
        or sum([len(word.text) + len(word.pointer) for word in words]) > _MAX_REMEMBERED
    ):
        launch = identify(unwrap(words))
    else:
        launch = _known_launch(tuple([word.text for word in words]), tuple([word.pointer for word in words]))
    if launch.bridged_url:
        cleaned, _ = site.judge.address(launch.bridged_url, "url", "")
        launch = launch._replace(bridged_url=cleaned)
    if launch.package and is_url(launch.package):
        launch = launch._replace(package=site.judge.address(launch.package, "url", "")[0])
    elif launch.package and "/" not in launch.package and is_noise(launch.package):
        launch = launch._replace(package="…")  # the value of an option that nobody knows
    return launch, True


_MAX_REMEMBERED = 4_096  # characters of a command line


@lru_cache(maxsize=2048)
def _known_launch(texts: tuple[str, ...], pointers: tuple[str, ...]) -> Launch:
    """The same few command lines stand in file after file; only those without a credential are remembered."""
    return identify(unwrap([Word(text, pointer) for text, pointer in zip(texts, pointers, strict=True)]))


def _present(body: dict[str, Any], wanted: frozenset[str], order: tuple[str, ...]) -> list[str]:
    """Which of these fields the entry has: mostly none or one, so the set decides and the order rarely matters."""
    found = body.keys() & wanted
    return [key for key in order if key in found] if len(found) > 1 else list(found)


def _spread(words: list[Word]) -> list[Word]:
    """The words, with those that are command lines themselves taken apart."""
    spread: list[Word] = []
    for index, word in enumerate(words):
        before = words[index - 1].text.lower() if index else ""
        if " " in word.text and (index == 0 or before in _LINE_FOLLOWS):
            spread += words_of(word.text, word.pointer)[:500]
        else:
            spread.append(word)
    return spread


def _words(command: object, pointer: str) -> list[Word]:
    return [Word(command, pointer)] if isinstance(command, str) and command.strip() else []


def _arguments(body: dict[str, Any], prefix: str) -> list[Word]:
    for key in _ARGS_KEYS:
        args = body.get(key)
        if isinstance(args, list):
            return [Word(str(a), f"{prefix}/{key}/{i}") for i, a in enumerate(args) if isinstance(a, str | int | float)]
        if isinstance(args, str):
            return [Word(part, f"{prefix}/{key}") for part in args.split()]
    return []


_LINE_FOLLOWS = frozenset({"-c", "-lc", "-ic", "-lic", "-ilc", "/c", "/k", "-command", "/command"})
_FLAG = re.compile(r"--?(?P<name>[A-Za-z][A-Za-z0-9_.:-]*)(?:(?P<equals>=)(?P<value>.*))?\Z", re.DOTALL)
_NAMED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{1,80})=(?P<value>.+)\Z", re.DOTALL)
_HEADER = re.compile(r"\s*(?P<name>[A-Za-z][A-Za-z0-9_-]*)\s*:\s*(?P<value>.+)\Z", re.DOTALL)
_HEADER_FLAGS = frozenset({"header", "H", "headers", "http-header", "add-header", "request-header"})
_ENV_FLAGS = frozenset({"e", "env", "environment", "E", "build-arg"})
_SWITCHES = word_set("y yes q quiet i it rm t d v verbose debug stdio help init no-auth")


def _judge_words(site: _Site, words: list[Word]) -> None:
    judge, drafts = site.judge, site.drafts
    index, total = 0, len(words)
    while index < total:
        word = words[index]
        index += 1
        text = word.text
        if not text:
            continue
        flag = _FLAG.match(text) if text[0] == "-" else None
        if flag is None:
            named = _NAMED.match(text) if "=" in text else None
            if named is not None:
                drafts += judge.value(named["value"], named["name"], word.pointer, Where.ENV)
            elif len(text) >= 12 or "$" in text:
                header = _HEADER.match(text) if ": " in text or "{" in text else None
                if (
                    header is not None
                    and "://" not in text[: header.end("name") + 3]
                    and sense_of(header["name"]).sense >= Sense.HINTS
                ):
                    drafts += judge.value(header["value"], header["name"], word.pointer, Where.HEADER)
                elif " " in text and len(text) > 40 and not text.startswith("{"):
                    _judge_line(site, text, word.pointer)
                else:
                    drafts += judge.value(text, "argument", word.pointer, Where.ARGUMENT)
            continue
        name, value, place = flag["name"], flag["value"], word
        if flag["equals"] is None:
            if name in _SWITCHES or index >= total:
                continue
            follower = words[index]
            if _takes_next(name, follower.text):
                value, place = follower.text, follower
                index += 1
            else:
                continue
        if name in _HEADER_FLAGS:
            header = _HEADER.match(value) or _NAMED.match(value)
            if header is not None:
                drafts += judge.value(header["value"], header["name"], place.pointer, Where.HEADER)
            elif index < total and not words[index].text.startswith("-"):
                drafts += judge.value(words[index].text, value, words[index].pointer, Where.HEADER)
                index += 1
        elif name in _ENV_FLAGS:
            named = _NAMED.match(value)
            if named is not None:
                drafts += judge.value(named["value"], named["name"], place.pointer, Where.ENV)
        elif name == "static-oauth-client-info":
            drafts += judge.value(value, "oauthClientInfo", place.pointer, Where.FIELD)
        else:
            named = _NAMED.match(value) if "://" not in value else None
            if named is not None and sense_of(name).sense <= Sense.SILENT:
                drafts += judge.value(named["value"], named["name"], place.pointer, Where.ENV)
            else:
                drafts += judge.value(value, name, place.pointer, Where.FLAG)


def _takes_next(name: str, following: str) -> bool:
    """Whether the next word is this flag's value rather than a word of its own."""
    if following.startswith("-") and not (sense_of(name).sense is Sense.SAYS and is_random(following)):
        return False
    if name in _HEADER_FLAGS or name in _ENV_FLAGS or name == "static-oauth-client-info":
        return True
    return sense_of(name).sense >= Sense.HINTS


def _judge_line(site: _Site, text: str, pointer: str) -> None:
    """A whole command line in one word (`bash -c "…"`), where no finer reading was possible."""
    pieces = [
        Word(piece.strip("\"'"), pointer) for piece in re.findall(r"(?:[^\s\"']|\"[^\"]*\"|'[^']*')+", text)[:500]
    ]
    if len(pieces) > 1:
        _judge_words(site, [p for p in pieces if p.text != text])


# --- addresses, environment, headers ---------------------------------------------------------------------------------


def _address(site: _Site, body: dict[str, Any], prefix: str) -> tuple[str | None, str]:
    first: tuple[str | None, str] = (None, "")
    for key in _present(body, _URL_SET, _URL_KEYS):
        url = body[key]
        if not isinstance(url, str) or not url.strip():
            continue
        url = url.strip()[:8192]
        pointer = f"{prefix}/{key}"
        found, _ = interpolations(url)
        cleaned, drafts = _cleaned_address(site.judge, url, pointer)
        if (found and not drafts and sense_of(found[0].variable).sense >= Sense.SAYS) or (
            "://" not in url and not found and not drafts
        ):
            drafts = site.judge.value(url, "url", pointer, Where.FIELD)
        site.drafts += drafts
        if first[0] is None:
            first = (cleaned, key)
    return first


_SCHEME_BY_HALVES = re.compile(r"(?P<scheme>https?|wss?):[\\/]*(?=[^\\/])", re.IGNORECASE)


def _cleaned_address(judge: Judge, url: str, pointer: str) -> tuple[str, list[Draft]]:
    """The address without its secrets, also where its scheme is missing or not written out as it should be."""
    if "://" in url:
        return judge.address(url, "url", pointer)
    halved = _SCHEME_BY_HALVES.match(url)
    cleaned, drafts = judge.address(
        f"https://{url[halved.end() :] if halved else url}".replace("\\", "/"), "url", pointer
    )
    if not drafts and "…" not in cleaned:
        return url, drafts
    return (halved.group() if halved else "") + cleaned.removeprefix("https://"), drafts


def _environment(site: _Site, body: dict[str, Any], prefix: str) -> None:
    for key in _present(body, _ENV_SET, _ENV_KEYS):
        variables = body[key]
        if not variables:
            continue
        at = f"{prefix}/{key}"
        if isinstance(variables, dict):
            for name, value in variables.items():
                if value is None and site.client == "mcphub" and sense_of(name).sense is Sense.SAYS:
                    _refer(site, f"env:{name}", name, f"{at}/{escape(name)}")
                elif isinstance(value, str | int | float):
                    site.drafts += site.judge.value(value, name, f"{at}/{escape(name)}", Where.ENV)
                elif isinstance(value, dict | list):
                    _fields(site, value, name, f"{at}/{escape(name)}", Where.ENV)
        elif isinstance(variables, list):
            for index, item in enumerate(variables[:_MAX_FIELD_LEAVES]):
                pointer = f"{at}/{index}"
                if isinstance(item, str):
                    named = _NAMED.match(item)
                    if named is not None:
                        site.drafts += site.judge.value(named["value"], named["name"], pointer, Where.ENV)
                    elif key == "env_vars" and sense_of(item).sense is Sense.SAYS:
                        _refer(site, f"env:{item}", item, pointer)
                elif isinstance(item, dict):
                    _fields(site, item, "", pointer, Where.ENV)
    keys = body.get("env_keys")
    if isinstance(keys, list):
        for index, name in enumerate(keys[:_MAX_FIELD_LEAVES]):
            if isinstance(name, str) and sense_of(name).sense >= Sense.HINTS:
                _refer(site, f"keyring:{name}", name, f"{prefix}/env_keys/{index}")


def _headers(site: _Site, body: dict[str, Any], prefix: str) -> None:
    places = [(f"{prefix}/{key}", body[key]) for key in _present(body, _HEADER_SET, _HEADER_KEYS)]
    options = body.get("requestOptions")
    if isinstance(options, dict):
        places.append((f"{prefix}/requestOptions/headers", options.get("headers")))
    for at, headers in places:
        if isinstance(headers, dict):
            for name, value in headers.items():
                site.drafts += site.judge.value(value, name, f"{at}/{escape(name)}", Where.HEADER)
        elif isinstance(headers, list):
            for index, item in enumerate(headers[:_MAX_FIELD_LEAVES]):
                if isinstance(item, dict):
                    _fields(site, item, "", f"{at}/{index}", Where.HEADER)
                elif isinstance(item, str) and (line := _HEADER.match(item)) is not None:
                    site.drafts += site.judge.value(line["value"], line["name"], f"{at}/{index}", Where.HEADER)
        elif isinstance(headers, str):
            site.drafts += site.judge.value(headers, "headers", at, Where.FIELD)
    from_variables = body.get("env_http_headers")
    if isinstance(from_variables, dict):
        for name, variable in from_variables.items():
            if isinstance(variable, str) and max(sense_of(name).sense, sense_of(variable).sense) >= Sense.HINTS:
                _refer(site, f"env:{variable}", name, f"{prefix}/env_http_headers/{escape(name)}")


def _refer(site: _Site, reference: str, name: str, pointer: str) -> None:
    sense = sense_of(name)
    if next(formats.find(reference), None) is not None:
        site.drafts += site.judge.value(reference.partition(":")[2], name, pointer, Where.FIELD)
        return
    site.drafts.append(Draft(pointer, Class.REFERENCE, sense.kind, name, sense.issuer, reference=reference[:300]))


def _env_files(site: _Site, body: dict[str, Any], prefix: str, launch: Launch) -> None:
    """Credentials in the environment files a server is started with, at `/envFile#NAME`."""
    places = list(launch.env_files)
    for key in _present(body, _ENV_FILE_SET, _ENV_FILE_KEYS):
        named = body[key]
        if isinstance(named, str):
            places.append(Word(named, f"{prefix}/{key}"))
        elif isinstance(named, list):
            places += [Word(n, f"{prefix}/{key}/{i}") for i, n in enumerate(named[:8]) if isinstance(n, str)]
    for place in places:
        text = site.read_env_file(place.text) if site.read_env_file is not None else None
        if text is None:
            continue
        for name, value, _line in dotenv(text)[:_MAX_FIELD_LEAVES]:
            site.drafts += site.judge.value(value, name, f"{place.pointer}#{name}", Where.ENV)


# --- everything else in the entry ------------------------------------------------------------------------------------


def _other_fields(site: _Site, body: dict[str, Any], prefix: str) -> None:
    handled = {
        *_URL_KEYS,
        *_ENV_KEYS,
        *_HEADER_KEYS,
        *_ARGS_KEYS,
        "command",
        "cmd",
        "transport",
        "env_keys",
        "env_http_headers",
    }
    for key, value in body.items():
        if key in handled or key in _PLAIN_KEYS or value is None or isinstance(value, bool):
            continue
        pointer = f"{prefix}/{escape(key)}"
        if key == "headersHelper" and isinstance(value, str):
            _refer(site, "command", key, pointer)
        elif key == "platform_overrides" and isinstance(value, dict):
            for platform, override in value.items():
                if isinstance(override, dict):
                    at = f"{pointer}/{escape(platform)}"
                    _command(site, override, at)
                    _environment(site, override, at)
        elif key == "requestOptions" and isinstance(value, dict):
            _fields(site, {k: v for k, v in value.items() if k != "headers"}, key, pointer, Where.FIELD)
        elif key == "secrets" and isinstance(value, list):
            _named_secrets(site, value, pointer)
        else:
            _fields(site, value, key, pointer, Where.FIELD)
    if any(draft.kind is Kind.OAUTH_CLIENT_SECRET for draft in site.drafts):
        _join_client_ids(site, body)


def _fields(site: _Site, tree: object, name: str, pointer: str, where: Where) -> None:
    """Judge every scalar below a field; `value` and `default` take their name from beside or above."""
    budget = _MAX_FIELD_LEAVES
    stack: list[tuple[str, object, str, int]] = [(name, tree, pointer, 0)]
    while stack and budget > 0:
        budget -= 1
        label, node, at, depth = stack.pop()
        if isinstance(node, dict):
            if depth > 30:
                continue
            given = node.get("name") or node.get("key")
            title = given if isinstance(given, str) else label
            for label_of_child, child in node.items():
                key = str(label_of_child)
                if key in _PLAIN_KEYS and not isinstance(child, dict | list) and key != "key":
                    continue
                if key == "key" and "value" in node:
                    continue
                stack.append((title if key in _NAMED_VALUE else key, child, f"{at}/{escape(key)}", depth + 1))
        elif isinstance(node, list):
            if depth <= 30:
                stack += [(label, child, f"{at}/{i}", depth + 1) for i, child in enumerate(node[:_MAX_FIELD_LEAVES])]
        elif isinstance(node, str) and node.strip():
            site.drafts += site.judge.value(node, label, at, where)


def _named_secrets(site: _Site, listed: list[Any], pointer: str) -> None:
    """Secrets by name, kept by Docker or ToolHive: `{"name": …, "env": …}` or `name,target=VARIABLE`."""
    for index, item in enumerate(listed[:_MAX_FIELD_LEAVES]):
        at = f"{pointer}/{index}"
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            name = item["env"] if isinstance(item.get("env"), str) else item["name"]
            _refer(site, f"docker-secret:{item['name']}", name, at)
        elif isinstance(item, str) and item:
            kept, _, target = item.partition(",target=")
            _refer(site, f"secret:{kept}", target or kept, at)


def _join_client_ids(site: _Site, body: dict[str, Any]) -> None:
    """The public half beside an OAuth client secret."""
    for draft in site.drafts:
        if draft.kind is Kind.OAUTH_CLIENT_SECRET and draft.external_id is None:
            for key, value in body.items():
                places = value if isinstance(value, dict) else {key: value}
                for name, candidate in places.items():
                    if name.replace("_", "").lower() in {"clientid", "oauthclientid"} and isinstance(candidate, str):
                        if interpolations(candidate)[0] or is_placeholder(candidate):
                            continue
                        draft.external_id = candidate[:300]


def _docker(site: _Site, body: dict[str, Any], launch: Launch, url: str | None) -> tuple[Launch, str | None]:
    remote = body.get("remote")
    if isinstance(remote, dict) and isinstance(remote.get("url"), str):
        return Launch("docker"), site.judge.address(remote["url"], "url", "/remote/url")[0]
    if isinstance(body.get("image"), str):
        return image("docker", body["image"]), url
    return launch._replace(launcher="docker"), url


def _published(site: _Site, body: dict[str, Any], launch: Launch, url: str | None) -> tuple[Launch, str | None]:
    if isinstance(body.get("image"), str):
        return image("docker", body["image"]), url
    identifier = body.get("identifier") or (
        body.get("name") if "registry_name" in body or "registryType" in body else None
    )
    if not isinstance(identifier, str):
        return launch, url
    registry = str(body.get("registryType") or body.get("registry_type") or body.get("registry_name") or "")
    version = body.get("version") if isinstance(body.get("version"), str) else None
    names = {
        "npm": "npx",
        "pypi": "uvx",
        "oci": "docker",
        "docker": "docker",
        "nuget": "dnx",
        "mcpb": "mcpb",
        "cargo": "cargo",
    }
    if registry in {"oci", "docker"} and version is None:
        return image("docker", identifier), url
    if registry == "docker":
        registry = "oci"
    return Launch(
        names.get(registry, registry or None),
        identifier,
        version,
        bool(version and is_plain(version)),
        registry or None,
    ), url


# --- facts about the entry -------------------------------------------------------------------------------------------


def _transport(site: _Site, body: dict[str, Any], url: str | None, url_key: str, has_command: bool) -> str | None:
    stated = body.get("type") or body.get("transport") or body.get("transportType") or body.get("transport_type")
    remote = body.get("remote")
    if not isinstance(stated, str) and isinstance(remote, dict):
        stated = remote.get("transport_type") or remote.get("transportType") or remote.get("transport")
    known = _TRANSPORTS.get(re.sub(r"[^a-z]", "", stated.lower())) if isinstance(stated, str) else None
    if has_command and not url:
        return "stdio" if known in (None, "stdio") or site.entry.layout != "toolhive" else known
    if url:
        if known is not None and (known != "stdio" or has_command):
            return known
        if url_key == "httpUrl":
            return "http"
        if url.startswith(("ws://", "wss://")):
            return "websocket"
        if has_command:
            return "stdio"
        if url_key == "url" and site.client in _UNTYPED_MEANS_SSE:
            return "sse"
        return "sse" if urlsplit_path(url).rstrip("/").endswith("/sse") else "http"
    if site.entry.layout == "zed" and ("settings" in body or body.get("source") in {"extension", "custom"}):
        return "stdio"
    return known


def urlsplit_path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _disabled(body: dict[str, Any]) -> bool:
    if body.get("disabled") in (True, "true", 1):
        return True
    return any(key in body and body[key] in (False, "false") for key in ("enabled", "isActive"))


def _trust(body: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    facts: list[tuple[str, str]] = []
    for key in _present(body, _RISK_KEYS, _TRUST_KEYS):
        value = body[key]
        if value is None or value is False or value == []:
            continue
        if value is True:
            facts.append((key, "everything"))
        elif isinstance(value, list):
            facts.append((key, "everything" if "*" in value else f"{len(value)} tools"))
        elif isinstance(value, str) and re.fullmatch(r"[a-z-]{2,20}", value):
            facts.append((key, value))
    return tuple(facts)


def _identity(entry: Entry, launch: Launch, url: str | None) -> str:
    """The same for two definitions of one server, whatever their names, versions and credentials."""
    address = launch.bridged_url or url
    if address:
        return f"url:{address_key(address)}"
    if launch.package and launch.registry:
        return package_key(launch.registry, launch.package)
    if launch.launcher == "local":
        return f"local:{launch.command or entry.name}"
    if launch.launcher:
        return f"local:{launch.launcher}:{launch.package or entry.name}"
    return f"name:{entry.name}"


def inputs(tree: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(pointer, id, default) of prompts whose default would be used in a secret's place."""
    listed = tree.get("inputs")
    if isinstance(listed, list):
        for index, item in enumerate(listed[:_MAX_FIELD_LEAVES]):
            if isinstance(item, dict) and isinstance(item.get("default"), str) and item.get("default"):
                identifier = item.get("id") if isinstance(item.get("id"), str) else ""
                name = f"{identifier}_token" if item.get("password") is True else str(identifier)
                yield f"/inputs/{index}/default", name, item["default"]
