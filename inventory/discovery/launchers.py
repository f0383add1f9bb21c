"""From a command line to what it starts: launcher, package, version, and the remote server behind a bridge."""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from typing import NamedTuple

from inventory.discovery.values import is_url
from inventory.discovery.vocabulary import word_set

_MAX_PROGRAM = 1_024
MAX_QUOTED = 16_384  # characters of a command line whose quotes are honoured


class Word(NamedTuple):
    """One word of a command line and the pointer of the value it stands in."""

    text: str
    pointer: str


class Launch(NamedTuple):
    """What a command line starts."""

    launcher: str | None = None
    package: str | None = None
    version: str | None = None
    pinned: bool | None = None
    registry: str | None = None
    """`npm`, `pypi`, `oci`, `jsr`, `go`, `maven`, `nuget`, `git` or None: where the package comes from."""
    command: str | None = None
    bridged_url: str | None = None
    bridged_transport: str | None = None
    env_files: tuple[Word, ...] = ()


_EXACT = re.compile(r"v?\d+(?:\.\d+)*(?:[-+.]?[A-Za-z0-9][A-Za-z0-9.+-]*)?\Z")
_EXACT_TAG = re.compile(r"v?\d+\.\d+(?:\.\d+)?(?:[-+.][A-Za-z0-9.+-]+)?\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_SUFFIX = re.compile(r"\.(?:exe|cmd|bat|ps1)\Z", re.IGNORECASE)

_SHELLS = frozenset({"bash", "sh", "zsh", "dash", "fish", "ksh"})
_POWERSHELLS = frozenset({"powershell", "pwsh"})
_PLAIN_LAUNCHERS = frozenset({"npx", "uvx", "docker", "node", "python", "python3", "uv", "bunx", "pnpm", "deno"})
# Wrappers that end at `--`, or at their first word that is no option.
_TO_DOUBLE_DASH = {
    "op": "run",
    "doppler": "run",
    "dotenvx": "run",
    "dotenv": "",
    "mise": "exec",
    "infisical": "run",
    "aws-vault": "exec",
    "teller": "run",
    "chamber": "exec",
    "vault-env": "",
    "envchain": "",
    "with-env": "",
    "sops": "exec-env",
    "conda": "run",
    "poetry": "run",
    "pdm": "run",
    "hatch": "run",
    "rye": "run",
    "pixi": "run",
    "asdf": "exec",
}
_PLAIN_WRAPPERS = word_set("sudo nice nohup time exec envmcp caffeinate setsid stdbuf arch unbuffer command")
_WRAPPER_VALUE_FLAGS = word_set(
    "-n -u -g --user --group --adjustment -i0 -o -oL -e --env-file -f --project --config -p -c --env --name -C --chdir"
)

_NODE_RUNNERS = {
    "npx": (),
    "bunx": (),
    "pnpx": (),
    "npm": ("exec", "x"),
    "pnpm": ("dlx", "exec"),
    "yarn": ("dlx",),
    "bun": ("x",),
}
_NODE_VALUE_FLAGS = frozenset(
    {
        "-c",
        "--call",
        "-w",
        "--workspace",
        "--registry",
        "--cache",
        "--prefix",
        "--userconfig",
        "--loglevel",
        "--node-options",
        "--shell",
    }
)
_UV_VALUE_FLAGS = word_set(
    "-p --python --index-url -i --extra-index-url --index --default-index --directory --project --with -w "
    "--with-editable --with-requirements --cache-dir --config-file --find-links -f --constraint -c --constraints "
    "--overrides --env-file --link-mode --refresh-package --upgrade-package -P --resolution --prerelease "
    "--keyring-provider --color --extra --group --only-group --no-group --package --exclude-newer"
)
_PIPX_VALUE_FLAGS = frozenset({"--python", "--index-url", "-i", "--pip-args", "--spec"})
_CONTAINER_VALUE_FLAGS = word_set(
    "-e --env --env-file -v --volume --mount --name --network --net -p --publish -u --user -w --workdir "
    "--entrypoint -h --hostname -l --label --platform --add-host --cap-add --cap-drop --cpus -m --memory "
    "--memory-swap --pull --restart --security-opt --tmpfs --ulimit --device --dns --gpus --ip --ipc --pid "
    "--runtime --shm-size --stop-signal --log-driver --log-opt --link --volumes-from --userns --uts --secret "
    "--expose --group-add --cidfile --cgroupns -a --attach --stop-timeout --health-cmd --annotation "
    "--network-alias --sysctl --authfile --pids-limit --label-file --isolation"
)
_SCRIPT_RUNNERS = word_set("node tsx ts-node php ruby perl lua Rscript rscript swift dart elixir nodejs")
_SCRIPT_VALUE_FLAGS = word_set(
    "-r --require --import --loader --experimental-loader --env-file -e --eval -C --conditions "
    "--max-old-space-size -d --tsconfig"
)
_PYTHON = re.compile(r"(?:python|pypy|py)(?:\d+(?:\.\d+)*)?\Z")
_BRIDGES = word_set(
    "mcp-remote mcp-remote-client supergateway mcp-proxy fastmcp mcp-remote-go mcp-front @sparfenyuk/mcp-proxy "
    "mcp-remote-proxy @modelcontextprotocol/inspector mcp-stdio-proxy @punkpeye/mcp-proxy"
)


def basename(program: str) -> str:
    """A program's name without folder and Windows suffix; only the end of a very long one is kept."""
    return _basename(program if len(program) <= _MAX_PROGRAM else program.rstrip()[-_MAX_PROGRAM:])


@lru_cache(maxsize=1024)
def _basename(program: str) -> str:
    return _SUFFIX.sub("", re.split(r"[\\/]", program.strip().strip("\"'"))[-1])


def words_of(text: str, pointer: str) -> list[Word]:
    """A command line as words; a line that a shell would refuse is split at blanks."""
    if len(text) > MAX_QUOTED:  # shlex takes a word apart letter by letter
        return [Word(part, pointer) for part in text.split()]
    try:
        parts = (
            shlex.split(text, posix=True) if "\\" not in text else shlex.split(text.replace("\\", "\\\\"), posix=True)
        )
    except ValueError:
        parts = text.split()
    return [Word(part, pointer) for part in parts]


def unwrap(words: list[Word]) -> list[Word]:
    """The command line inside `cmd /c`, `bash -c "…"`, `env K=V`, `sudo`, `op run --` and the like."""
    for _ in range(8):
        if not words:
            return words
        inner = _unwrapped_once(words)
        if inner is None or inner == words:
            return words
        words = inner
    return words


def _unwrapped_once(words: list[Word]) -> list[Word] | None:
    if words[0].text in _PLAIN_LAUNCHERS:
        return None
    name, rest = basename(words[0].text).lower(), words[1:]
    if " " in words[0].text.strip() and not re.match(r"(?:[A-Za-z]:)?[\\/]", words[0].text):
        return words_of(words[0].text, words[0].pointer) + rest
    if name == "cmd":
        for index, word in enumerate(rest):
            if word.text.lower() in {"/c", "/k", "-c", "//c"}:
                return _respread(rest[index + 1 :])
    elif name in _POWERSHELLS:
        for index, word in enumerate(rest):
            if word.text.lower() in {"-command", "-c", "/c", "/command"}:
                return [w for w in _respread(rest[index + 1 :]) if w.text != "&"]
    elif name in _SHELLS:
        for index, word in enumerate(rest):
            if re.fullmatch(r"-[a-z]*c", word.text) and index + 1 < len(rest):
                return _last_command(words_of(rest[index + 1].text, rest[index + 1].pointer))
    elif name == "wsl":
        return _after_options(rest, {"-d", "--distribution", "-u", "--user", "--cd"}, {"--", "-e", "--exec"})
    elif name == "env":
        return _skip_assignments(_after_options(rest, {"-u", "-C", "--chdir", "--unset"}, {"--"}))
    elif name in _TO_DOUBLE_DASH:
        verb = _TO_DOUBLE_DASH[name]
        if not verb or any(w.text == verb for w in rest[:4]):
            ends = [i for i, w in enumerate(rest) if w.text == "--"]
            if ends:
                return rest[ends[0] + 1 :]
            start = next((i + 1 for i, w in enumerate(rest) if w.text == verb), 0)
            return _after_options(rest[start:], _WRAPPER_VALUE_FLAGS, set())
    elif name == "direnv" and rest and rest[0].text == "exec":
        return rest[2:]
    elif name == "nix" and rest and rest[0].text in {"run", "shell"}:
        ends = [i for i, w in enumerate(rest) if w.text in {"--", "-c", "--command"}]
        return rest[ends[0] + 1 :] if ends and rest[0].text == "shell" else None
    elif name in _PLAIN_WRAPPERS:
        return _skip_assignments(_after_options(rest, _WRAPPER_VALUE_FLAGS, {"--"}))
    elif _ASSIGNMENT.match(words[0].text):
        return _skip_assignments(words)
    return None


def _respread(rest: list[Word]) -> list[Word]:
    return words_of(rest[0].text, rest[0].pointer) if len(rest) == 1 else rest


def _last_command(words: list[Word]) -> list[Word]:
    """What a shell line finally runs: `cd /x && source .env && exec node server.js`."""
    start = 0
    for index, word in enumerate(words):
        if word.text in {"&&", ";", "||"} or word.text.endswith(";"):
            start = index + 1
        elif word.text in {"|", ">", "2>", "2>&1", "<"}:
            return words[start:index] or words
    return words[start:] or words


def _after_options(words: list[Word], with_value: set[str] | frozenset[str], enders: set[str]) -> list[Word]:
    index = 0
    while index < len(words) and words[index].text.startswith("-"):
        text = words[index].text
        index += 2 if text in with_value else 1
        if text in enders:
            break
    return words[index:]


def _skip_assignments(words: list[Word]) -> list[Word]:
    index = 0
    while index < len(words) and _ASSIGNMENT.match(words[index].text):
        index += 1
    return words[index:]


def identify(words: list[Word]) -> Launch:
    """What an (unwrapped) command line starts."""
    if not words or not words[0].text.strip():
        return Launch()
    command = basename(words[0].text)
    name, rest = command.lower(), words[1:]
    texts = [w.text for w in rest]
    env_files = _env_files(rest)
    launch = _identified(name, command, texts)
    bridge = _bridge(launch, command, texts)
    return launch._replace(command=command, bridged_url=bridge[0], bridged_transport=bridge[1], env_files=env_files)


def _identified(name: str, command: str, args: list[str]) -> Launch:
    verb = args[0] if args else ""
    if name in _NODE_RUNNERS:
        verbs = _NODE_RUNNERS[name]
        if not verbs:
            return _node(name, args)
        if verb in verbs:
            return _node(f"{name} {verb}", args[1:])
        if name == "bun":
            return _script("bun", args[1:] if verb == "run" else args)
        return Launch(name, " ".join(args[:2]) or None)
    if name == "uvx":
        return _uv("uvx", args)
    if name == "uv":
        if verb == "tool" and args[1:2] == ["run"]:
            return _uv("uv tool run", args[2:])
        index = next((i for i, a in enumerate(args) if a == "run"), None)
        return _uv_run(args[:index] + args[index + 1 :]) if index is not None else Launch("uv")
    if name == "pipx" and verb == "run":
        spec = _flag_value(args[1:], {"--spec"})
        return _python_package("pipx", spec or _first_positional(args[1:], _PIPX_VALUE_FLAGS))
    if name in {"docker", "podman", "nerdctl", "finch", "container"}:
        return _container(name, args)
    if _PYTHON.match(name):
        return _python(args)
    if name in _SCRIPT_RUNNERS:
        return _script(name, args)
    if name == "deno":
        return _specifier(
            "deno",
            _first_positional(args[1:] if verb == "run" else args, frozenset({"--config", "-c", "--import-map"})),
        )
    if name in {"java", "jbang"}:
        if name == "java":
            jar = _flag_value(args, {"-jar"})
            return (
                Launch("java", basename(jar))
                if jar
                else Launch("java", _first_positional(args, frozenset({"-cp", "-classpath"})))
            )
        return _maven(_first_positional(args, frozenset()))
    if name == "go" and verb == "run":
        return _go(_first_positional(args[1:], frozenset({"-C", "-mod", "-tags"})))
    if name == "dotnet":
        project = _flag_value(args, {"--project"})
        return Launch(
            "dotnet",
            basename(project) if project else _first_positional(args[1:] if verb == "run" else args, frozenset()),
        )
    if name == "dnx":
        return _versioned("dnx", "nuget", _first_positional(args, frozenset({"--source", "--version"})))
    if name == "nix":
        return Launch("nix", _first_positional(args[1:], frozenset()), pinned=False)
    return Launch("local", command)


def _node(launcher: str, args: list[str]) -> Launch:
    spec = _flag_value(args, {"-p", "--package"}) or _first_positional(args, _NODE_VALUE_FLAGS)
    return _npm_spec(launcher, spec)


def _npm_spec(launcher: str, spec: str | None) -> Launch:
    if not spec:
        return Launch(launcher)
    if spec.startswith(("./", "../", "/", "~", "file:")) or re.match(r"[A-Za-z]:[\\/]", spec):
        return Launch(launcher, spec)
    if re.match(r"(?:github|gitlab|bitbucket|git\+\w+|git|https?|ssh):", spec) or is_url(spec):
        return _git_spec(launcher, spec)
    at = spec.rfind("@")
    package, version = (spec[:at], spec[at + 1 :]) if at > 0 else (spec, "")
    if "/" in package and not package.startswith("@"):
        return Launch(launcher, package, version or None, False, "git")
    return Launch(
        launcher, package, version or None, bool(version and _EXACT.match(version) and version.count(".") >= 2), "npm"
    )


def _git_spec(launcher: str, spec: str) -> Launch:
    """A repository or archive by URL: only a full commit pins it."""
    bare = re.sub(r"(://)[^/@\s]*@", r"\1", spec)
    body, _, ref = bare.partition("#")
    if not ref:
        tail = body.rpartition("/")[2]
        if "@" in tail:
            cut = body.rfind("@")
            body, ref = body[:cut], body[cut + 1 :]
    return Launch(launcher, body.partition("?")[0], ref or None, _COMMIT.match(ref) is not None, "git")


def _uv(launcher: str, args: list[str]) -> Launch:
    spec = _flag_value(args, {"--from"}) or _first_positional(args, _UV_VALUE_FLAGS | {"--from"})
    return _python_package(launcher, spec)


def _uv_run(args: list[str]) -> Launch:
    target = _first_positional(args, _UV_VALUE_FLAGS | {"-m", "--module"})
    module = _flag_value(args, {"-m", "--module"})
    if module:
        return Launch("uv", module)
    if target and _PYTHON.match(basename(target).lower()):
        return Launch("uv", _python(args[args.index(target) + 1 :]).package)
    if target in {"mcp", "fastmcp"}:
        tail = args[len(args) - args[::-1].index(target) :]
        return Launch("uv", _first_positional(tail[1:] if tail[:1] == ["run"] else tail, frozenset()) or target)
    return Launch("uv", target or _flag_value(args, {"--directory", "--project"}))


def _python_package(launcher: str, spec: str | None) -> Launch:
    if not spec:
        return Launch(launcher)
    if spec.startswith(("./", "../", "/", "~")) or re.match(r"[A-Za-z]:[\\/]", spec) or spec == ".":
        return Launch(launcher, spec)
    if spec.startswith(("git+", "http://", "https://", "git://")):
        return _git_spec(launcher, spec)
    if " @ " in spec:
        return _git_spec(launcher, spec.partition(" @ ")[2])
    match = re.match(
        r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<extras>\[[^\]]*\])?\s*(?P<op>===?|@|~=|>=|<=|>|<|!=)?\s*(?P<version>[^\s;,]*)",
        spec,
    )
    if match is None:
        return Launch(launcher, spec)
    version = match["version"] or None
    exact = (
        match["op"] in {"==", "===", "@"}
        and version is not None
        and _EXACT.match(version) is not None
        and "*" not in version
    )
    return Launch(launcher, match["name"], version, exact, "pypi")


def _python(args: list[str]) -> Launch:
    for index, arg in enumerate(args):
        if arg == "-m" and index + 1 < len(args):
            return Launch("python", args[index + 1])
        if arg == "-c":
            return Launch("python")
        if not arg.startswith("-"):
            return Launch("python", basename(arg))
    return Launch("python")


def _script(launcher: str, args: list[str]) -> Launch:
    script = _first_positional(args, _SCRIPT_VALUE_FLAGS)
    return Launch(launcher, basename(script) if script else None)


def _specifier(launcher: str, spec: str | None) -> Launch:
    if not spec:
        return Launch(launcher)
    for registry in ("npm", "jsr"):
        if spec.startswith(f"{registry}:"):
            found = _npm_spec(launcher, spec[4:].lstrip("/"))
            return Launch(launcher, found.package, found.version, found.pinned, registry)
    if is_url(spec):
        return Launch(launcher, spec.partition("?")[0], pinned=bool(re.search(r"@v?\d+\.\d+\.\d+", spec)))
    return Launch(launcher, basename(spec))


def _maven(spec: str | None) -> Launch:
    if spec and spec.count(":") >= 2:
        group, artifact, version = spec.split(":")[:3]
        return Launch("jbang", f"{group}:{artifact}", version, bool(_EXACT.match(version)), "maven")
    return Launch("jbang", spec, pinned=False if spec and "@" in spec else None)


def _go(spec: str | None) -> Launch:
    if not spec or spec.startswith((".", "/")):
        return Launch("go", spec)
    package, _, version = spec.partition("@")
    return Launch("go", package, version or None, bool(version and _EXACT_TAG.match(version)), "go")


def _versioned(launcher: str, registry: str, spec: str | None) -> Launch:
    if not spec:
        return Launch(launcher)
    package, _, version = spec.partition("@")
    return Launch(launcher, package, version or None, bool(version and _EXACT.match(version)), registry)


def _container(name: str, args: list[str]) -> Launch:
    verb = args[0] if args else ""
    rest = args[1:]
    if verb == "container" and rest:
        verb, rest = rest[0], rest[1:]
    if verb == "run":
        return image(name, _first_positional(rest, _CONTAINER_VALUE_FLAGS))
    if verb == "exec":
        return Launch(name, _first_positional(rest, _CONTAINER_VALUE_FLAGS | {"--detach-keys"}))
    if verb == "mcp":
        return Launch(name, "mcp gateway" if "gateway" in rest[:2] else "mcp")
    if verb == "compose":
        index = next((i for i, a in enumerate(rest) if a in {"run", "exec"}), None)
        return Launch(
            f"{name} compose",
            _first_positional(rest[index + 1 :], _CONTAINER_VALUE_FLAGS) if index is not None else None,
        )
    return Launch(name)


def image(launcher: str, spec: str | None) -> Launch:
    """A container image: a digest or an exact version tag pins it."""
    if not spec:
        return Launch(launcher)
    body, at, digest = spec.partition("@")
    head, colon, tag = body.rpartition(":")
    if colon and "/" not in tag:
        package = head
    else:
        package, tag = body, ""
    if at:
        return Launch(launcher, package, digest, digest.startswith("sha256:"), "oci")
    return Launch(launcher, package, tag or None, bool(_EXACT_TAG.match(tag)), "oci")


def _first_positional(args: list[str], with_value: frozenset[str] | set[str]) -> str | None:
    index = 0
    while index < len(args):
        arg = args[index]
        if arg == "--":
            return args[index + 1] if index + 1 < len(args) else None
        if not arg.startswith("-") or arg == "-":
            return arg
        index += 2 if arg in with_value else 1
    return None


def _flag_value(args: list[str], flags: set[str]) -> str | None:
    for index, arg in enumerate(args):
        if arg in flags:
            return args[index + 1] if index + 1 < len(args) else None
        head, equals, tail = arg.partition("=")
        if equals and head in flags:
            return tail
        if arg == "--":
            return None
        if (
            not arg.startswith("-")
            and "--from" not in flags
            and "-p" not in flags
            and "--project" not in flags
            and "--spec" not in flags
        ):
            continue
    return None


def _env_files(words: list[Word]) -> tuple[Word, ...]:
    found = []
    for index, word in enumerate(words):
        if word.text in {"--env-file", "--envfile", "--env-file-if-exists"} and index + 1 < len(words):
            found.append(words[index + 1])
        elif word.text.startswith(("--env-file=", "--envfile=", "--env-file-if-exists=")):
            found.append(Word(word.text.partition("=")[2], word.pointer))
    return tuple(found[:8])


def _bridge(launch: Launch, command: str, args: list[str]) -> tuple[str | None, str | None]:
    """The remote server behind a local bridge, with its transport where the bridge names it."""
    program = launch.package if launch.registry in {"npm", "pypi", "oci"} else command
    plain = (program or "").lower()
    if (
        plain not in _BRIDGES
        and basename(plain) not in _BRIDGES
        and not any(basename(a).split("@")[0] in _BRIDGES for a in args[:4])
    ):
        return None, None
    transport = None
    for index, arg in enumerate(args):
        value = args[index + 1] if index + 1 < len(args) else ""
        if arg in {"--sse", "--streamableHttp", "--streamable-http"}:
            transport = "sse" if arg == "--sse" else "http"
        elif arg == "--transport" and value:
            transport = (
                "sse" if value.startswith("sse") else "http" if value.startswith(("http", "stream")) else transport
            )
    for arg in args:
        if arg.startswith(("http://", "https://", "ws://", "wss://")):
            return arg, transport
    return None, transport
