"""A file's bytes to its servers and credentials. Whatever is wrong with the bytes, this returns."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from inventory.discovery import formats, values
from inventory.discovery.classify import Draft, Judge, Where, decode_base64, pair_up
from inventory.discovery.decode import MAX_FILE_BYTES, ParseError, decode, dotenv, to_text
from inventory.discovery.launchers import MAX_QUOTED
from inventory.discovery.model import Class, EntryError, FoundCredential, FoundServer, Kind
from inventory.discovery.names import Sense, sense_of
from inventory.discovery.servers import EnvFileReader, ServerDraft, build, finish, inputs
from inventory.discovery.shapes import Entry, entries, escape

__all__ = ["MAX_FILE_BYTES", "ParseError", "Parsed", "format_of", "parse"]

MAX_SERVERS = 5_000
_MAX_LOOSE = 1_000
_TEMPLATE_SUFFIX = re.compile(r"\.(?:example|sample|template|tmpl|tpl|dist|default)(?=\.|$)", re.IGNORECASE)
_FORMATS = {
    "json": "json",
    "jsonc": "json",
    "json5": "json",
    "code-workspace": "json",
    "toml": "toml",
    "yaml": "yaml",
    "yml": "yaml",
    "env": "dotenv",
    "md": "markdown",
    "mdx": "markdown",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one file says."""

    format: str | None
    error: str | None = None
    error_line: int | None = None
    servers: tuple[FoundServer, ...] = ()
    credentials: tuple[FoundCredential, ...] = ()
    entry_errors: tuple[EntryError, ...] = ()
    projects: tuple[str, ...] = ()


@lru_cache(maxsize=1024)
def is_template(name: str) -> bool:
    """Whether a file name marks something to copy and fill in."""
    return _TEMPLATE_SUFFIX.search(name) is not None


@lru_cache(maxsize=1024)
def format_of(name: str) -> str:
    """The format a file's name promises, `unknown` when it promises none."""
    bare = _TEMPLATE_SUFFIX.sub("", name.lower())
    if bare.endswith("crushrc"):
        return "shell"
    if bare == ".env" or bare.startswith(".env."):
        return "dotenv"
    return _FORMATS.get(bare.rpartition(".")[2], "unknown")


def parse(
    data: bytes,
    *,
    path: str,
    client: str | None,
    judge: Judge,
    format_: str | None = None,
    read_env_file: EnvFileReader | None = None,
) -> Parsed:
    """Servers and credentials of one file's bytes; a file that does not parse still gives the secrets in its text."""
    name = re.split(r"[\\/]", path)[-1]
    format_ = format_ or format_of(name)
    template = is_template(name)
    if len(data) > MAX_FILE_BYTES:
        return Parsed(
            format_ if format_ != "unknown" else None, f"The file is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB."
        )
    text = to_text(data)
    reader = _Reader(path, client, judge, read_env_file)
    if format_ in ("markdown", "shell", "dotenv"):
        return reader.lines(text, format_, live=not template)
    try:
        decoded = decode(text, format_)
    except ParseError as error:
        if format_ == "unknown" and _looks_like_dotenv(text):
            return reader.lines(text, "dotenv", live=False)
        loose = reader.unparsable(text)
        known = None if format_ == "unknown" else format_
        return Parsed(known, error.reason, error.line, credentials=reader.freeze(loose))
    return reader.tree(decoded.tree, text, decoded.format, live=not template)


def _looks_like_dotenv(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return (
        bool(lines) and sum(1 for line in lines if re.match(r"\s*(?:export )?[A-Z][A-Z0-9_]*=", line)) > len(lines) / 2
    )


class _Reader:
    """Reads one file."""

    def __init__(self, path: str, client: str | None, judge: Judge, read_env_file: EnvFileReader | None) -> None:
        self._path, self._client, self._judge, self._read_env_file = path, client, judge, read_env_file

    def tree(self, tree: Any, text: str, format_: str, *, live: bool) -> Parsed:
        with self._judge.expecting(text, format_) as matches:
            return self._tree(tree, text, format_, matches, live=live)

    def _tree(self, tree: Any, text: str, format_: str, matches: list[formats.Match], *, live: bool) -> Parsed:
        found: list[ServerDraft] = []
        errors: list[EntryError] = []
        off = _switched_off(tree)
        for item in entries(tree):
            if len(found) + len(errors) >= MAX_SERVERS:
                errors.append(EntryError("", f"Only the first {MAX_SERVERS} entries were read."))
                break
            if isinstance(item, EntryError):
                errors.append(item)
            elif not item.body:
                errors.append(EntryError(item.pointer, "The entry is empty."))
            else:
                server = self._build(item)
                if not (
                    server.facts["url"]
                    or server.facts["launcher"]
                    or (item.layout == "zed" and server.facts["transport"])
                ):
                    errors.append(EntryError(item.pointer, "The entry names neither a command nor a URL."))
                if _is_off(item.name, off):
                    server.facts["disabled"] = True
                found.append(server)
        loose: list[Draft] = []
        if isinstance(tree, dict):
            for pointer, name, default in inputs(tree):
                loose += [
                    d for d in self._judge.value(default, name, pointer, Where.FIELD) if d.class_ is Class.LITERAL
                ]
            loose += self._user_config(tree)
        if matches:
            seen = {d.secret for server in found for d in server.drafts} | {d.secret for d in loose}
            loose += self._in_text(text, matches, seen)
        self._settle(found)
        loose = self._judge.settle(loose)
        if not live:
            loose += [d for server in found for d in server.drafts if d.class_ is Class.LITERAL]
        servers = tuple([finish(server, self._judge) for server in found]) if live else ()
        safe_errors = tuple([EntryError(_safe(e.pointer), e.reason) for e in errors])
        return Parsed(format_, None, None, servers, self.freeze(loose), safe_errors, tuple(_projects(tree)))

    def lines(self, text: str, format_: str, *, live: bool) -> Parsed:
        """Formats in which every line stands for itself."""
        matches = list(formats.find(text))
        if format_ == "dotenv":
            drafts: list[Draft] = []
            for name, value, line in dotenv(text)[:_MAX_LOOSE]:
                drafts += self._judge.value(value, name, f"line:{line}", Where.ENV)
            drafts = [d for d in pair_up(drafts) if d.class_ is Class.LITERAL]
            drafts += self._in_text(text, matches, {d.secret for d in drafts})
            return Parsed("dotenv", credentials=self.freeze(self._judge.settle(drafts)))
        found = [self._build(e) for e in (_deeplinks(text) if format_ == "markdown" else _shell_entries(text))]
        if format_ == "markdown":
            found += self._front_matter(text)
        self._settle(found)
        seen = {d.secret for server in found for d in server.drafts}
        loose = self._in_text(text, matches, seen)
        servers = tuple([finish(server, self._judge) for server in found]) if live else ()
        return Parsed(format_, servers=servers, credentials=self.freeze(loose))

    def unparsable(self, text: str) -> list[Draft]:
        """Secrets in a text of which nothing else is known: by their format, or by the name in front of them."""
        drafts: list[Draft] = []
        for match in list(_ASSIGNED.finditer(text[:MAX_FILE_BYTES]))[:_MAX_LOOSE]:
            name = match["quoted"] or match["bare"]
            value = (
                match["double"]
                if match["double"] is not None
                else match["single"]
                if match["single"] is not None
                else match["plain"]
            )
            if name and value and (sense_of(name).sense is Sense.SAYS or "://" in value):
                at = f"line:{text.count(chr(10), 0, match.start()) + 1}"
                drafts += [d for d in self._judge.value(value, name, at, Where.FIELD) if d.class_ is Class.LITERAL]
        drafts = pair_up(drafts)
        drafts += self._in_text(text, list(formats.find(text)), {d.secret for d in drafts})
        return self._judge.settle(drafts)

    def freeze(self, drafts: list[Draft]) -> tuple[FoundCredential, ...]:
        """Credentials of the file itself, each secret once per place."""
        frozen: dict[tuple[str, str | None], FoundCredential] = {}
        for draft in drafts:
            if draft.class_ is Class.LITERAL and not draft.is_guess:
                credential = draft.freeze(self._judge.key)
                frozen.setdefault((credential.pointer, credential.fingerprint), credential)
        return tuple(frozen.values())

    def _build(self, entry: Entry) -> ServerDraft:
        return build(entry, file=self._path, client=self._client, judge=self._judge, read_env_file=self._read_env_file)

    def _settle(self, servers: list[ServerDraft]) -> None:
        """One question to the catalogue for the whole file."""
        flat = [d for server in servers for d in server.drafts]
        if not flat:
            return
        settled = self._judge.settle(flat)
        if len(settled) < len(flat):
            kept = {id(d) for d in settled}
            for server in servers:
                server.drafts = [d for d in server.drafts if id(d) in kept]

    def _in_text(self, text: str, matches: list[formats.Match], seen: set[str]) -> list[Draft]:
        """Known formats anywhere in the text: in comments, in other settings, under keys that were given twice."""
        drafts: list[Draft] = []
        unseen = [m for m in matches if text[m.start : m.end] not in seen]
        for draft, start in self._judge.in_text(text, unseen):
            if len(drafts) >= _MAX_LOOSE:
                break
            if draft.secret not in seen:
                seen.add(draft.secret)
                draft.pointer = f"line:{text.count(chr(10), 0, start) + 1}"
                drafts.append(draft)
        return drafts

    def _user_config(self, tree: dict[str, Any]) -> list[Draft]:
        """Defaults that an extension's manifest gives to its sensitive settings."""
        config = tree.get("user_config")
        drafts: list[Draft] = []
        if isinstance(config, dict):
            for name, item in list(config.items())[:_MAX_LOOSE]:
                if isinstance(item, dict) and isinstance(item.get("default"), str):
                    label = f"{name}_token" if item.get("sensitive") is True else str(name)
                    drafts += self._judge.value(
                        item["default"], label, f"/user_config/{escape(name)}/default", Where.FIELD
                    )
        return [d for d in drafts if d.class_ is Class.LITERAL]

    def _front_matter(self, text: str) -> list[ServerDraft]:
        match = re.match(r"---\r?\n(.*?)\r?\n---(?:\r?\n|\Z)", text[:200_000], re.DOTALL)
        if match is None or "mcp" not in match[1]:
            return []
        try:
            tree = decode(match[1], "yaml").tree
        except ParseError:
            return []
        return [self._build(e) for e in entries(tree) if isinstance(e, Entry) and e.body]


_ASSIGNED = re.compile(
    r"(?:\"(?P<quoted>[A-Za-z_-][A-Za-z0-9_.-]{1,80})\"|(?P<bare>[A-Za-z_][A-Za-z0-9_.-]{1,80}))"
    r"[ \t]{0,8}[:=][ \t]{0,8}"
    r"(?:\"(?P<double>[^\"\n]{1,4096})|'(?P<single>[^'\n]{1,4096})|(?P<plain>[^\s\"',;{}\[\]]{1,4096}))"
)

# --- install links ---------------------------------------------------------------------------------------------------

_LINK = re.compile(
    r"(?:cursor://[^\s\"'<>)]{0,200}?install\?|https?://(?:www\.)?cursor\.com/[^\s\"'<>)]{0,200}?install-mcp\?|"
    r"https?://[^\s\"'<>)]{0,200}?install-mcp\?|lmstudio://add_mcp\?|https?://lmstudio\.ai/install-mcp\?)"
    r"(?P<query>[^\s\"'<>)]+)"
    r"|(?:(?:vscode|vscode-insiders|vsweb\+mcp|vscodium):(?://)?mcp/install\?|"
    r"https?://(?:insiders\.)?vscode\.dev/redirect(?:/mcp/install\?|\?url=vscode(?:-insiders)?%3Amcp/install%3F)|vsweb\+mcp:[^\s\"'<>)]{0,200}?\?)"
    r"(?P<encoded>[^\s\"'<>)]+)",
    re.IGNORECASE,
)


def _deeplinks(text: str) -> Iterator[Entry]:
    """Servers in the install links of a page: the link carries a whole server entry, credentials included."""
    if "mcp" not in text:
        return
    for count, match in enumerate(_LINK.finditer(text)):
        if count >= 200:
            return
        line = text.count("\n", 0, match.start()) + 1
        query = match["query"] or match["encoded"]
        given = dict(part.partition("=")[::2] for part in query.replace("&amp;", "&").split("&"))
        config = given.get("config", query if match["encoded"] else "")
        body = _link_config(str(config))
        if body is not None:
            name = unquote(given.get("name", "")) or str(body.get("name") or "server")
            yield Entry(name, body, f"line:{line}")


def _link_config(config: str) -> dict[str, Any] | None:
    plain = unquote(unquote(config))
    for candidate in (plain, decode_base64(plain.replace(" ", "+")) or ""):
        if candidate.startswith("{"):
            try:
                tree = json.loads(candidate)
            except (ValueError, RecursionError):
                continue
            if isinstance(tree, dict) and ("command" in tree or "url" in tree):
                return tree
            if isinstance(tree, dict) and len(tree) == 1:
                inner = next(iter(tree.values()))
                return inner if isinstance(inner, dict) else None
    return None


# --- shell configuration ---------------------------------------------------------------------------------------------

_MCP_ADD = re.compile(r"^[ \t]*(?:[a-z]+[ \t]+)?mcp[ \t]+add(?:-json)?[ \t]+(?P<rest>.+)$", re.MULTILINE)


def _shell_words(line: str) -> list[str]:
    if len(line) > MAX_QUOTED:
        return line.split()
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()


def _shell_entries(text: str) -> Iterator[Entry]:
    """Servers added by `mcp add …` lines: name, options, then `--` and a command, or a URL."""
    joined = re.sub(r"\\\n", "  ", text)
    for match in _MCP_ADD.finditer(joined):
        words = _shell_words(match["rest"])
        body: dict[str, Any] = {"env": {}, "headers": {}}
        plain: list[str] = []
        index = 0
        while index < len(words):
            word = words[index]
            index += 1
            if word == "--":
                body["command"], body["args"] = (words[index] if index < len(words) else ""), words[index + 1 :]
                break
            flag, equals, value = word.partition("=")
            if not word.startswith("-") or (plain[1:] and not body.get("url")):
                plain.append(word)
                continue
            if not equals and index < len(words) and not words[index].startswith("-"):
                value = words[index]
                index += 1
            if flag in {"-e", "--env"}:
                name, _, setting = value.partition("=")
                body["env"][name] = setting
            elif flag in {"-H", "--header"}:
                name, _, setting = value.partition(":")
                body["headers"][name.strip()] = setting.strip()
            elif flag in {"-t", "--transport", "--type"}:
                body["type"] = value
            elif flag == "--url":
                body["url"] = value
            elif flag == "--command":
                body["command"] = value
            elif flag in {"--arg", "--args"}:
                body.setdefault("args", []).append(value)
        if not plain:
            continue
        if len(plain) > 1 and "command" not in body and "url" not in body:
            if values.is_url(plain[1]):
                body["url"] = plain[1]
            else:
                body["command"], body["args"] = plain[1], plain[2:]
        if body.get("command") or body.get("url"):
            yield Entry(plain[0], body, f"line:{joined.count(chr(10), 0, match.start()) + 1}")


# --- facts about the file --------------------------------------------------------------------------------------------


def _switched_off(tree: object) -> dict[str, frozenset[str]]:
    """Servers that lists elsewhere in the file turn off: by name, or all but some."""
    if not isinstance(tree, dict):
        return {}
    off: dict[str, frozenset[str]] = {}
    mcp = tree.get("mcp")
    sources = [(tree, "disabledMcpServers", "off"), (tree, "disabledMcpjsonServers", "off")]
    if isinstance(mcp, dict):
        sources += [(mcp, "excluded", "off"), (mcp, "allowed", "only")]
    for holder, key, effect in sources:
        listed = holder.get(key)
        if isinstance(listed, list) and listed:
            off[effect] = off.get(effect, frozenset()) | {name for name in listed if isinstance(name, str)}
    return off


def _is_off(name: str, off: dict[str, frozenset[str]]) -> bool:
    return name in off.get("off", ()) or ("only" in off and name not in off["only"])


def _projects(tree: object) -> Iterator[str]:
    """Folders that a client's own state names as projects."""
    if not isinstance(tree, dict):
        return
    projects = tree.get("projects")
    if isinstance(projects, dict):
        for path in list(projects)[:20_000]:
            if isinstance(path, str) and values.is_path(path):
                yield path
    for key in ("folder", "workspace", "configuration"):
        uri = tree.get(key)
        if isinstance(uri, str) and uri.startswith("file://"):
            yield unquote(uri[7:])


def _safe(pointer: str) -> str:
    return "…" if next(formats.find(pointer), None) is not None else pointer


def token_store(tree: object, *, modified: float, judge: Judge) -> Iterator[tuple[str, str | None, list[Draft]]]:
    """(server, URL, credentials) of a client's own token store, by whichever names it uses."""
    if not isinstance(tree, dict | list):
        return
    groups: dict[int, tuple[str, str | None, list[Draft]]] = {}
    stack: list[tuple[object, str, str, str | None, int]] = [(tree, "", "", None, 0)]
    budget = 50_000
    while stack and budget > 0:
        budget -= 1
        node, at, name, url, depth = stack.pop()
        if depth > 12:
            continue
        if isinstance(node, list):
            stack += [(child, f"{at}/{i}", name, url, depth + 1) for i, child in enumerate(node[:5_000])]
            continue
        if not isinstance(node, dict):
            continue
        url = next(
            (
                node[k]
                for k in ("serverUrl", "server_url", "mcpServerUrl", "resource", "url", "serverURL")
                if isinstance(node.get(k), str) and "://" in node[k]
            ),
            url,
        )
        named = next(
            (node[k] for k in ("serverName", "server_name", "mcpServerName") if isinstance(node.get(k), str)), None
        )
        name = named or name
        drafts = list(_tokens(node, at, modified, judge))
        if drafts:
            groups[id(node)] = (name, url, drafts)
        for key, child in node.items():
            if isinstance(child, dict | list):
                inner_url = key if isinstance(key, str) and key.startswith(("http://", "https://")) else url
                generic = key in {
                    "token",
                    "tokens",
                    "mcpOAuth",
                    "data",
                    "servers",
                    "credentials",
                    "clientInformation",
                    "clientInfo",
                    "oauth",
                }
                stack.append(
                    (child, f"{at}/{escape(key)}", name if generic and name else str(key), inner_url, depth + 1)
                )
    for name, url, drafts in groups.values():
        cleaned = judge.address(url, "url", "")[0] if url else None
        yield name, cleaned, drafts


_TOKEN_FIELDS = {
    "accesstoken": Kind.OAUTH_ACCESS_TOKEN,
    "refreshtoken": Kind.OAUTH_REFRESH_TOKEN,
    "clientsecret": Kind.OAUTH_CLIENT_SECRET,
    "registrationaccesstoken": Kind.REGISTRATION_TOKEN,
    "idtoken": Kind.OAUTH_ACCESS_TOKEN,
    "access": Kind.OAUTH_ACCESS_TOKEN,
    "refresh": Kind.OAUTH_REFRESH_TOKEN,
    "token": Kind.OAUTH_ACCESS_TOKEN,
    "apikey": Kind.API_KEY,
    "key": Kind.API_KEY,
}


def _tokens(node: dict[str, Any], at: str, modified: float, judge: Judge) -> Iterator[Draft]:
    expiry = next(
        (
            formats.instant(node[k])
            for k in ("expires_at", "expiresAt", "expires", "expiry", "exp", "expiry_date")
            if formats.instant(node.get(k)) is not None
        ),
        None,
    )
    if expiry is None:
        seconds = node.get("expires_in", node.get("expiresIn"))
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < 1e9:
            expiry = formats.instant(modified + seconds)
    client_id = next((node[k] for k in ("client_id", "clientId") if isinstance(node.get(k), str)), None)
    for field, value in node.items():
        kind = _TOKEN_FIELDS.get(str(field).replace("_", "").replace("-", "").lower())
        if kind is None or not isinstance(value, str) or len(value) < 8 or values.is_placeholder(value):
            continue
        if len(str(field)) < 8 and not values.is_random(value) and not any(formats.find(value)):
            continue
        draft = Draft(f"{at}/{escape(field)}", Class.LITERAL, kind, str(field), secret=value, external_id=client_id)
        claims = formats.jwt_claims(value) if value.startswith("eyJ") else None
        if claims is not None:
            draft.issued_at, draft.expires_at, draft.issuer = claims.issued_at, claims.expires_at, claims.issuer
        else:
            match = next(iter(judge.in_text(value)), None)
            draft.issuer = match[0].issuer if match else None
        if kind is Kind.OAUTH_ACCESS_TOKEN:
            draft.expires_at = draft.expires_at or expiry
        yield draft
