"""Reads files: this machine's client configuration, or whatever folder or file is given. Nothing is ever executed."""

# Thousands of paths pass through here; `os.path` on text costs a fraction of what `Path` does.
# ruff: noqa: PTH100, PTH117, PTH118, PTH119, PTH120

from __future__ import annotations

import errno
import gc
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from multiprocessing import current_process, get_context
from operator import attrgetter
from pathlib import Path

from inventory.discovery import clients
from inventory.discovery.catalogue import Catalogue
from inventory.discovery.classify import Judge, pair_up
from inventory.discovery.decode import MAX_FILE_BYTES, ParseError, decode, to_text
from inventory.discovery.manifests import manifest_in
from inventory.discovery.model import FoundFile, FoundManifest
from inventory.discovery.parse import Parsed, format_of, is_template, parse, token_store
from inventory.discovery.servers import ServerDraft, finish

Progress = Callable[[int], None]
"""Told after every file how many were looked at so far."""

_by_name = attrgetter("name")
_REMEMBERING = frozenset({"claude-code", "codex"})  # clients whose own files name projects
_MAX_GLOB_HITS = 2_000
_MAX_GLOB_DEPTH = 16
_MAX_SWEEP_DEPTH = 64
_MAX_PARENTS = 12
_PARALLEL_FROM = 1_500
_CHUNK = 250
_DEEPLINKS = (b"install-mcp", b"mcp/install", b"add_mcp", b"mcp%2Finstall")
_ENV_FILE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Target:
    """One file to read."""

    path: str
    client: str | None
    is_token_store: bool = False
    is_given: bool = False
    """Named by the caller: reported whatever is in it."""
    inside: str | None = None
    """The swept folder, which a link may not lead out of."""
    is_link: bool = False
    blocked: str | None = None
    """Why the folder at this path could not be looked into; there is nothing to read then."""


@dataclass(frozen=True, slots=True)
class _Settings:
    key: bytes
    cache_dir: str | None
    home: str


def looked_at(
    *, home: Path, system: str, environ: Mapping[str, str], root: Path = Path("/"), working_folder: Path | None = None
) -> list[str]:
    """Where a scan of this machine looks, for telling somebody who has nothing there."""
    listed = [str(place) for place in clients.places(home, system, environ, root)]
    if working_folder is not None:
        listed += [str(folder / "…") for folder in _with_parents(working_folder, home)]
    return list(dict.fromkeys(listed))


def scan(
    paths: Sequence[Path] | None,
    *,
    key: bytes,
    home: Path,
    system: str,
    environ: Mapping[str, str],
    cache_dir: Path | None,
    progress: Progress | None = None,
    root: Path = Path("/"),
    working_folder: Path | None = None,
) -> Iterator[FoundFile]:
    """What configuration there is: under `paths`, or on this machine when they are None.

    `environ` moves clients' folders (`CODEX_HOME`, `XDG_CONFIG_HOME`); give an empty one for a home that is not the
    caller's own. `cache_dir` is for the compiled rules of the scanner library; with None it is not asked. The order of
    the results is that of the targets. One unreadable or broken file never ends a scan.
    """
    settings = _Settings(key, str(cache_dir) if cache_dir is not None else None, str(home))
    if paths is not None:
        targets: Iterable[_Target] = _given(paths)
        results = _read_all(targets, settings)
    else:
        results = _machine(settings, home, system, environ, root, working_folder)
    for count, found in enumerate(results, 1):
        if progress is not None:
            progress(count)
        if found is not None:
            yield found


# --- which files -----------------------------------------------------------------------------------------------------


def _machine(  # noqa: PLR0917 (what `scan` was given)
    settings: _Settings, home: Path, system: str, environ: Mapping[str, str], root: Path, working_folder: Path | None
) -> Iterator[FoundFile | None]:
    """The clients' own places first; what they remember as projects decides where to look next."""
    reader = _reader(settings)
    seen: set[str] = set()
    projects: dict[str, None] = {}
    forgotten: list[str] = []
    for place in clients.places(home, system, environ, root):
        for path in _expand(place):
            if _once(_path_of(path), seen):
                found = reader.read(_target(path, place.client, place.is_token_store))
                if found is not None:
                    projects.update(dict.fromkeys(found.projects))
                    is_state = place.client in _REMEMBERING and not (place.pattern or place.is_token_store)
                    if found.error and is_state:
                        forgotten.append(found.path)
                yield found
    for place in clients.workspace_states(home, system, environ, root):
        for path in _expand(place):
            state = reader.read(_target(path, place.client))
            if state is not None:
                projects.update(dict.fromkeys(state.projects))
                if state.error:
                    forgotten.append(state.path)
                if state.error and _once(state.path, seen):
                    yield state
    if forgotten:
        # Projects may lie anywhere, so what any of them held before was not looked for.
        reason = f"The projects that {forgotten[0]} names could not be looked for."
        yield reader.read(_target(_Blocked(home.anchor, reason)))
    if working_folder is not None:
        projects.update((str(folder), None) for folder in _with_parents(working_folder, home))
    for project in projects:
        folder = Path(project)
        if folder.is_absolute() and folder not in (home, root):
            for path in _project_files(folder):
                if _once(_path_of(path), seen):
                    yield reader.read(_target(path, clients.client_of(_path_of(path))))


def _with_parents(folder: Path, home: Path) -> Iterator[Path]:
    """The folder and those above it, up to but without the home folder or the root."""
    for current in islice((folder, *folder.parents), _MAX_PARENTS):
        if current in (home, current.parent):
            return
        yield current


@dataclass(frozen=True, slots=True)
class _Blocked:
    """A folder that hides what is in it. What was seen there before is not gone: it could not be looked for."""

    path: str
    reason: str


def _path_of(found: str | _Blocked) -> str:
    return found if isinstance(found, str) else found.path


def _target(found: str | _Blocked, client: str | None = None, is_token_store: bool = False) -> _Target:
    if isinstance(found, _Blocked):
        return _Target(found.path, client, blocked=found.reason)
    return _Target(found, client, is_token_store)


def _there(path: Path) -> Iterator[str | _Blocked]:
    """The path if it is there; the folder above it that forbids to look; nothing if it is not there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        yield _Blocked(_nearest(path.parent), f"The folder cannot be entered: {_reason(error)}")
        return
    yield str(path)


def _nearest(folder: Path) -> str:
    """The lowest folder on the way to `folder` that shows itself."""
    while folder != folder.parent:
        try:
            os.lstat(folder)
        except OSError:
            folder = folder.parent
        else:
            break
    return str(folder)


def _project_files(folder: Path) -> Iterator[str | _Blocked]:
    for client in clients.CLIENTS:
        for pattern in client.project:
            if pattern == "server.json" or pattern.startswith("*."):
                continue
            if "*" not in pattern:
                yield from _there(folder / pattern)
            else:
                fixed = pattern.partition("*")[0].rpartition("/")[0]
                yield from _first_of(folder / fixed, pattern[len(fixed) :].lstrip("/"))


def _expand(place: clients.Place) -> Iterator[str | _Blocked]:
    return _first_of(place.base, place.pattern) if place.pattern else _there(place.base)


def _first_of(base: Path, pattern: str) -> Iterator[str | _Blocked]:
    """What fits the pattern, up to a bound, and word of it where the bound was met."""
    hits = _glob(base, pattern)
    yield from islice(hits, _MAX_GLOB_HITS)
    if next(hits, None) is not None:
        yield _Blocked(str(base), f"Only the first {_MAX_GLOB_HITS} files in it were looked at.")


def _listing(folder: Path) -> list[os.DirEntry[str]] | _Blocked:
    """What is in the folder, by name; nothing if it is not there."""
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=_by_name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        return _Blocked(_nearest(folder), f"The folder cannot be read: {_reason(error)}")


def _glob(base: Path, pattern: str) -> Iterator[str | _Blocked]:
    """Files below `base`; `**` goes down some levels and never through a link."""
    head, _, rest = pattern.partition("/")
    if head == "**":
        yield from _glob_any(base, rest, 0)
        return
    items = _listing(base)
    if isinstance(items, _Blocked):
        yield items
        return
    matcher = _matcher(head)
    for item in items:
        if not matcher(item.name):
            continue
        if rest:
            try:
                is_folder = item.is_dir()
            except OSError as error:
                yield _Blocked(item.path, f"The folder cannot be entered: {_reason(error)}")
                continue
            if is_folder:
                yield from _glob(Path(item.path), rest) if "*" in rest else _there(Path(item.path) / rest)
        elif not _is_folder(item):
            yield item.path


def _glob_any(base: Path, rest: str, depth: int) -> Iterator[str | _Blocked]:
    items = _listing(base)
    if isinstance(items, _Blocked):
        yield items
        return
    if not items:
        return
    yield from _there(base / rest)
    below = [i.path for i in items if i.name not in clients.SKIPPED_FOLDERS and i.is_dir(follow_symlinks=False)]
    if below and depth >= _MAX_GLOB_DEPTH:
        yield _Blocked(str(base), f"Folders more than {_MAX_GLOB_DEPTH} levels down were not looked into.")
        return
    for folder in below:
        yield from _glob_any(Path(folder), rest, depth + 1)


def _matcher(pattern: str) -> Callable[[str], bool]:
    before, star, after = pattern.partition("*")
    if not star:
        return lambda name: name == pattern
    return lambda name: len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:
        return False


def _once(path: str, seen: set[str]) -> bool:
    try:
        real = os.path.realpath(path)
    except OSError:
        real = path
    if real in seen:
        return False
    seen.add(real)
    return True


def _given(paths: Sequence[Path]) -> Iterator[_Target]:
    seen: set[str] = set()
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112 (`Path.is_dir` raises where it may not look)
            for target in _sweep(str(path)):
                if len(paths) == 1 or _once(target.path, seen):
                    yield target
        elif _once(str(path), seen):
            yield _Target(str(path), clients.client_of(str(path.absolute())), is_given=True)


def _sweep(top: str) -> Iterator[_Target]:
    """Files of known names below a folder. Links to folders are not followed, so there are no loops."""
    inside = os.path.realpath(top)
    pending = [(top, os.path.basename(inside), 0)]
    while pending:
        folder, name, depth = pending.pop()
        try:
            with os.scandir(folder) as listing:
                items = sorted(listing, key=_by_name)
        except OSError as error:
            yield _target(_Blocked(folder, f"The folder cannot be read: {_reason(error)}"))
            continue
        below = []
        for item in items:
            try:
                is_folder = item.is_dir(follow_symlinks=False)
            except OSError as error:
                yield _target(_Blocked(item.path, _reason(error)))
                continue
            if is_folder:
                if item.name in clients.SKIPPED_FOLDERS:
                    continue
                if depth < _MAX_SWEEP_DEPTH:
                    below.append((item.path, item.name, depth + 1))
                else:
                    reason = f"Folders more than {_MAX_SWEEP_DEPTH} levels down were not looked into."
                    yield _target(_Blocked(item.path, reason))
            elif clients.is_swept(item.name, name):
                yield _Target(item.path, clients.client_of(item.path), inside=inside, is_link=item.is_symlink())
        pending += reversed(below)


# --- reading them ----------------------------------------------------------------------------------------------------


def _read_all(targets: Iterable[_Target], settings: _Settings) -> Iterator[FoundFile | None]:
    """One process for ordinary folders; as many as there are cores once a folder proves large."""
    stream = iter(targets)
    first = list(islice(stream, _PARALLEL_FROM))
    workers = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    # A daemonic process, such as a Celery prefork worker, may not have children.
    if len(first) < _PARALLEL_FROM or workers < 2 or current_process().daemon:
        reader = _reader(settings)
        for target in first:
            yield reader.read(target)
        for target in stream:
            yield reader.read(target)
        return
    yield from _read_in_parallel(first, stream, settings, workers)


def _read_in_parallel(
    first: list[_Target], stream: Iterator[_Target], settings: _Settings, workers: int
) -> Iterator[FoundFile | None]:
    remaining = _chained(first, stream)
    with ProcessPoolExecutor(workers, mp_context=get_context("fork" if os.name == "posix" else "spawn")) as pool:
        running: list[tuple[list[_Target], object]] = []
        try:
            while True:
                while len(running) < workers * 3 and (chunk := list(islice(remaining, _CHUNK))):
                    running.append((chunk, pool.submit(_read_chunk, chunk, settings)))
                if not running:
                    return
                chunk, future = running.pop(0)
                yield from future.result()  # type: ignore[attr-defined]
        except BrokenProcessPool:
            # A child was killed, out of memory perhaps: its share is read here instead.
            reader = _reader(settings)
            for lost in [chunk, *(c for c, _ in running), list(remaining)]:
                for target in lost:
                    yield reader.read(target)


def _chained(first: list[_Target], stream: Iterator[_Target]) -> Iterator[_Target]:
    yield from first
    yield from stream


def _read_chunk(chunk: list[_Target], settings: _Settings) -> list[FoundFile | None]:
    # Nothing here forms cycles, so a child saves the collector's walks over what it inherited.
    gc.disable()
    reader = _child_reader(settings)
    return [reader.read(target) for target in chunk]


@lru_cache(maxsize=1)
def _child_reader(settings: _Settings) -> _FileReader:
    """A child reads many chunks of one scan, and ends with it."""
    return _reader(settings)


def _reader(settings: _Settings) -> _FileReader:
    catalogue = Catalogue(Path(settings.cache_dir)) if settings.cache_dir is not None else None
    return _FileReader(Judge(settings.key, catalogue), settings.home)


class _Unreadable(Exception):
    """A file that cannot be read, with the reason in plain words."""


class _FileReader:
    """Reads single files."""

    def __init__(self, judge: Judge, home: str) -> None:
        self._judge = judge
        self._home = home
        self._docker_enabled: dict[str, frozenset[str] | None] = {}

    def read(self, target: _Target) -> FoundFile | None:
        """What is in the file; None when it holds nothing of MCP and nobody asked for it by name."""
        if target.blocked is not None:
            return FoundFile(target.path, target.client, None, target.blocked)
        name = os.path.basename(target.path)
        template = is_template(name)
        promised = format_of(name)
        try:
            data, status = _contents(target.path, target.inside if target.is_link else None)
        except _Unreadable as reason:
            return FoundFile(
                target.path,
                target.client,
                None if promised == "unknown" else promised,
                str(reason),
                is_template=template,
            )
        mode = stat.S_IMODE(status.st_mode)
        modified = datetime.fromtimestamp(status.st_mtime, tz=UTC)
        if target.is_token_store:
            return self._tokens(target, data, mode, modified)
        shared = not target.is_given and clients.is_shared(name)
        if shared and not _mentions_mcp(data, name) and not _is_cut_off(data, promised):
            return None
        parsed = parse(
            data,
            path=target.path,
            client=target.client,
            judge=self._judge,
            format_=promised,
            read_env_file=_EnvFiles(target.path, self._home, target.inside),
        )
        if target.client == "docker-mcp":
            parsed = self._only_enabled(target.path, parsed)
        manifest = _manifest(data) if target.client == "mcp-registry" and not parsed.error else None
        if shared and not (
            parsed.servers
            or manifest
            or parsed.projects
            or parsed.entry_errors
            or parsed.error  # what it held may still be there: to say nothing would be to say that it is gone
            or (template and parsed.credentials)
        ):
            return None
        return FoundFile(
            path=target.path,
            client=target.client,
            format=parsed.format,
            error=parsed.error,
            error_line=parsed.error_line,
            servers=parsed.servers,
            credentials=parsed.credentials,
            entry_errors=parsed.entry_errors,
            mode=mode,
            modified_at=modified,
            is_template=template,
            manifest=manifest,
            projects=parsed.projects,
        )

    def _tokens(self, target: _Target, data: bytes, mode: int, modified: datetime) -> FoundFile | None:
        """That tokens are there, for which server, how old and how long they last; never their content."""
        error, servers = None, []
        try:
            tree = decode(to_text(data), format_of(os.path.basename(target.path))).tree
        except ParseError as problem:
            # Encrypted stores are no JSON; that they exist is all there is to say.
            tree, error = None, problem.reason if target.path.endswith((".json", ".yaml")) else None
        for name, url, drafts in token_store(tree, modified=modified.timestamp(), judge=self._judge):
            pointer = drafts[0].pointer.rpartition("/")[0]
            for draft in drafts:
                draft.pointer = draft.pointer[len(pointer) :]
            facts = {
                "name": name or url or os.path.basename(target.path),
                "transport": "http" if url else None,
                "file": target.path,
                "pointer": pointer,
                "client": target.client,
                "url": url,
                "identity_key": f"url:{url}" if url else f"token-store:{target.client}",
            }
            servers.append(finish(ServerDraft(facts, pair_up(drafts)), self._judge))
        if not servers and error is None and target.path.endswith((".json", ".yaml")):
            return None
        return FoundFile(
            target.path, target.client, "token-store", error, servers=tuple(servers), mode=mode, modified_at=modified
        )

    def _only_enabled(self, path: str, parsed: Parsed) -> Parsed:
        """A Docker catalogue lists what could be installed; the registry file beside it says what is."""
        if os.path.basename(path) == "registry.yaml" or "/catalog" not in path.replace(os.sep, "/"):
            return parsed
        folder = os.path.dirname(path)
        folder = os.path.dirname(folder) if os.path.basename(folder) == "catalogs" else folder
        if folder not in self._docker_enabled:
            self._docker_enabled[folder] = _registry_names(os.path.join(folder, "registry.yaml"))
        enabled = self._docker_enabled[folder]
        if enabled is None:
            return replace(parsed, servers=tuple(replace(server, disabled=True) for server in parsed.servers))
        return replace(parsed, servers=tuple(server for server in parsed.servers if server.name in enabled))


def _manifest(data: bytes) -> FoundManifest | None:
    try:
        return manifest_in(decode(to_text(data), "json").tree)
    except ParseError:
        return None  # it was read otherwise, so it is no manifest


def _registry_names(path: str) -> frozenset[str] | None:
    try:
        data, _ = _contents(path, None)
        tree = decode(to_text(data), "yaml").tree
    except (_Unreadable, ParseError):
        return None
    registry = tree.get("registry") if isinstance(tree, dict) else None
    return frozenset(str(name) for name in registry) if isinstance(registry, dict) else None


def _mentions_mcp(data: bytes, name: str) -> bool:
    """Whether a file of many purposes has anything for us, judged before it is parsed."""
    lowered = name.lower()
    if lowered.endswith(".md"):
        return any(mark in data for mark in _DEEPLINKS) or (data.startswith(b"---") and b"mcp" in data[:8192])
    if lowered == "server.json":
        return b"remotes" in data or b"packages" in data
    if b"\x00" in data[:8]:
        return True
    return (
        b"mcp" in data or b"MCP" in data or b"context_servers" in data or b"extensions:" in data or b'"servers"' in data
    )


def _is_cut_off(data: bytes, format_: str) -> bool:
    """Whether a JSON file seems to have lost its end, and with it perhaps what it said of MCP."""
    return format_ == "json" and (end := data.rstrip()[-1:]) != b"" and end not in b"}]"


def _contents(path: str, inside: str | None) -> tuple[bytes, os.stat_result]:
    """A regular file's bytes, opened without ever waiting: a pipe or a device is refused before it is read."""
    try:
        if inside is not None:
            real = os.path.realpath(path, strict=True)
            if os.path.commonpath([inside, real]) != inside:
                raise _Unreadable("A link that leads out of the folder; it was not followed.")
        flags = (
            os.O_RDONLY
            | getattr(os, "O_NONBLOCK", 0)
            | getattr(os, "O_NOCTTY", 0)
            | getattr(os, "O_CLOEXEC", 0)
            | getattr(os, "O_BINARY", 0)
        )
        descriptor = os.open(path, flags)
    except ValueError:
        raise _Unreadable("The path is not a valid file name.") from None
    except OSError as error:
        raise _Unreadable(_reason(error)) from None
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise _Unreadable("This is not a regular file.")
        if before.st_size > MAX_FILE_BYTES:
            raise _Unreadable(f"The file is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB.")
        for _ in range(3):
            data = _read_descriptor(descriptor)
            after = os.fstat(descriptor)
            if (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size):
                return data, after
            before = after
            os.lseek(descriptor, 0, os.SEEK_SET)
        raise _Unreadable("The file kept changing while it was read.")
    except OSError as error:
        raise _Unreadable(_reason(error)) from None
    finally:
        os.close(descriptor)


def read_within(path: str, places: Iterable[str]) -> bytes | None:
    """A file's bytes, if it lies in one of these folders or is one of these files, its links followed; else None."""
    for place in places:
        try:
            return _contents(path, os.path.realpath(place))[0]
        except (_Unreadable, ValueError):
            continue
    return None


def _read_descriptor(descriptor: int) -> bytes:
    data = os.read(descriptor, 65_536)
    if len(data) < 65_536:
        return data
    pieces, size = [data], len(data)
    while data and size <= MAX_FILE_BYTES:
        data = os.read(descriptor, 1 << 20)
        pieces.append(data)
        size += len(data)
    return b"".join(pieces)[: MAX_FILE_BYTES + 1]


_REASONS = {
    errno.EACCES: "Permission denied.",
    errno.EPERM: "Permission denied.",
    errno.ENOENT: "There is no such file; a link may lead nowhere.",
    errno.ELOOP: "Links lead in a circle.",
    errno.EISDIR: "This is a folder.",
    errno.ENXIO: "This is not a regular file.",
    errno.ENAMETOOLONG: "The name is too long.",
    errno.EIO: "The disk reported a read error.",
}


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0, "The operating system refused to read it.")


class _EnvFiles:
    """Reads the environment files that a configuration names, relative to it, from the same kinds of place only."""

    def __init__(self, config: str, home: str, inside: str | None) -> None:
        self._folder = os.path.dirname(os.path.abspath(config))
        self._home = home
        self._inside = inside

    def __call__(self, named: str) -> str | None:
        base = self._folder
        # A client's own folder inside a project (`.vscode`) stands for the project.
        project = os.path.dirname(base) if os.path.basename(base).startswith(".") else base
        for variable in ("${workspaceFolder}", "${workspaceRoot}", "${CLAUDE_PROJECT_DIR}"):
            named = named.replace(variable, project)
        for variable in ("${userHome}", "${HOME}", "$HOME"):
            named = named.replace(variable, self._home)
        if named.startswith("~/"):
            named = os.path.join(self._home, named[2:])
        if "$" in named or not named or "\x00" in named or len(named) > 4096:
            return None
        candidates = [named] if os.path.isabs(named) else [os.path.join(project, named), os.path.join(base, named)]
        for candidate in candidates:
            if (
                self._inside is not None
                and os.path.commonpath([self._inside, os.path.realpath(candidate)]) != self._inside
            ):
                continue
            try:
                data, status = _contents(candidate, None)
            except _Unreadable:
                continue
            if status.st_size <= _ENV_FILE_BYTES:
                return to_text(data)
        return None
