import json
import os
import platform
import sys
import threading
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from inventory.discovery import clients
from inventory.discovery import scan as scanning
from inventory.discovery.clients import CLIENTS, TOKEN_STORES
from inventory.discovery.keys import create_fingerprint_key, fingerprint_key
from inventory.discovery.model import Class, FoundServer, Kind
from inventory.discovery.scan import looked_at, scan
from tests.inventory.discovery_samples import github_token, noise

KEY = b"k" * 32
STDIO = {"command": "npx", "args": ["-y", "pkg"]}
STANDARD = json.dumps({"mcpServers": {"a": STDIO}})
SYSTEMS = {"mac": "Darwin", "linux": "Linux", "win": "Windows"}
CONTENT = {
    "vscode": json.dumps({"servers": {"a": STDIO}}),
    "zed": json.dumps({"context_servers": {"a": STDIO}}),
    "amp": json.dumps({"amp.mcpServers": {"a": STDIO}}),
    "opencode": json.dumps({"mcp": {"a": {"type": "local", "command": ["npx", "-y", "pkg"]}}}),
    "kilo-code": json.dumps({"mcp": {"a": {"type": "local", "command": ["npx", "-y", "pkg"]}}}),
    "openclaw": json.dumps({"mcp": {"servers": {"a": STDIO}}}),
    "codex": '[mcp_servers.a]\ncommand = "npx"\nargs = ["-y", "pkg"]\n',
    "grok-build": '[mcp_servers.a]\ncommand = "npx"\nargs = ["-y", "pkg"]\n',
    "mistral-vibe": '[[mcp_servers]]\nname = "a"\ncommand = "npx"\nargs = ["-y", "pkg"]\n',
    "continue": "mcpServers:\n  - {name: a, command: npx, args: [-y, pkg]}\n",
    "goose": "extensions:\n  a: {type: stdio, cmd: npx, args: [-y, pkg]}\n",
    "hermes": "mcp_servers:\n  a: {command: npx, args: [-y, pkg]}\n",
    "librechat": "mcpServers:\n  a: {command: npx, args: [-y, pkg]}\n",
    "docker-mcp": "registry:\n  a: {image: mcp/a}\n",
    "toolhive": json.dumps({"name": "a", "image": "mcp/a", "transport": "stdio", "schema_version": "1"}),
    "claude-extensions": json.dumps({"name": "a", "mcp_config": {}, "server": {"mcp_config": STDIO}}),
    "crush": json.dumps({"mcp": {"a": {"type": "stdio", **STDIO}}}),
    "mcp-registry": json.dumps(
        {"name": "a", "packages": [{"registryType": "npm", "identifier": "pkg", "version": "1.0.0"}]}
    ),
    "copilot-agent": "---\nmcp-servers:\n  a: {command: npx, args: [pkg]}\n---\n",
}


def _content(slug, path):
    if path.endswith("crushrc"):
        return "mcp add a -- npx -y pkg\n"
    if path.endswith(".json") and slug in {"continue", "codex"}:
        return STANDARD
    if path == "catalog.json":
        return json.dumps({"registry": {"a": {"image": "mcp/a"}}})
    return CONTENT.get(slug, STANDARD)


def _rows():
    for client in CLIENTS:
        for place in client.places:
            yield client.slug, place


def put(path, content=STANDARD):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def everything(paths=None, *, home, system="Linux", environ=None, **options):
    options.setdefault("root", home / "root")
    return list(scan(paths, key=KEY, home=home, system=system, environ=environ or {}, cache_dir=None, **options))


def servers(found):
    return [server for file in found for server in file.servers]


@pytest.mark.parametrize(("slug", "place"), list(_rows()), ids=lambda value: value.replace("/", "|"))
def test_every_place_of_every_client_is_found(tmp_path, slug, place):
    only, _, rest = place.partition(":")
    systems = [SYSTEMS[only]] if only in SYSTEMS else ["Linux", "Darwin", "Windows"]
    place = rest if only in SYSTEMS else place
    for system in systems:
        home = tmp_path / system / "home"
        environ = {}
        head, _, tail = place.partition("/")
        if head.startswith("$"):
            base = tmp_path / system / "moved"
            environ[head[1:]] = str(base if tail else base / "file")
            path = base / tail if tail else base / "file"
        else:
            path = clients.folders(home, system, environ, home / "root")[head.strip("<>")] / tail
        path = Path(
            str(path)
            .replace("**", "some/folder")
            .replace("Claude_*", "Claude_x")
            .replace("*.config.toml", "p.config.toml")
            .replace("json*", "jsonc")
            .replace("/*/", "/one/")
            .replace("/*.", "/one.")
        )
        put(path, _content(slug, path.name))
        found = servers(everything(home=home, system=system, environ=environ))
        assert [(s.client, s.name, s.file) for s in found if s.file == str(path)], f"{system}: {path}"
        assert found[0].client == slug


def test_no_place_is_named_twice():
    named = [place for _, place in _rows()]
    assert len(named) == len(set(named))


def test_a_clients_folder_can_be_moved(tmp_path):
    put(tmp_path / "elsewhere/config.toml", CONTENT["codex"])
    assert (
        servers(everything(home=tmp_path / "h", environ={"CODEX_HOME": str(tmp_path / "elsewhere")}))[0].client
        == "codex"
    )
    assert everything(home=tmp_path / "h", environ={"CODEX_HOME": "relative"}) == []


def test_projects_that_a_client_remembers_are_searched(tmp_path):
    home = tmp_path / "h"
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    put(home / ".claude.json", json.dumps({"mcpServers": {}, "projects": {str(one): {}}}))
    put(home / ".codex/config.toml", f'mcp = 1\n[projects."{two}"]\ntrust_level = "trusted"\n')
    put(home / ".config/Code/User/workspaceStorage/ab12/workspace.json", json.dumps({"folder": three.as_uri()}))
    put(one / ".mcp.json")
    put(two / ".cursor/mcp.json")
    put(three / ".vscode/mcp.json", CONTENT["vscode"])
    assert {s.client for s in servers(everything(home=home))} == {"claude-code", "cursor", "vscode"}


def test_the_working_folder_and_those_above_it_are_searched(tmp_path):
    home = tmp_path / "h"
    put(home / "src/repo/.mcp.json")
    inner = home / "src/repo/deep/er"
    inner.mkdir(parents=True)
    assert len(servers(everything(home=home, working_folder=inner))) == 1


def test_a_machine_without_configuration_is_told_where_was_looked(tmp_path):
    assert everything(home=tmp_path) == []
    listed = looked_at(home=tmp_path, system=platform.system(), environ={}, root=tmp_path)
    assert str(tmp_path / ".cursor/mcp.json") in listed
    assert len(listed) > 60


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        (".mcp.json", "claude-code"),
        (".cursor/mcp.json", "cursor"),
        (".vscode/mcp.json", "vscode"),
        (".gemini/settings.json", "gemini-cli"),
        (".codex/config.toml", "codex"),
        ("opencode.json", "opencode"),
        (".roo/mcp.json", "roo-code"),
        (".kiro/settings/mcp.json", "kiro"),
        (".amazonq/mcp.json", "amazon-q"),
        (".continue/mcpServers/x.yaml", "continue"),
        ("claude_desktop_config.json", "claude-desktop"),
        ("mcp.json", None),
        ("tools.mcp.json", None),
        (".zed/settings.json", "zed"),
        ("librechat.yaml", "librechat"),
        (".crush.json", "crush"),
        (".trae/mcp.json", "trae"),
        (".junie/mcp/mcp.json", "junie"),
        (".qwen/settings.json", "qwen-code"),
        (".factory/mcp.json", "factory"),
        ("goose/config.yaml", "goose"),
        (".devcontainer/devcontainer.json", "vscode"),
        ("deep/er/.amp/settings.json", "amp"),
        ("server.json", "mcp-registry"),
        (".github/agents/x.md", "copilot-agent"),
        (".vs/mcp.json", "visual-studio"),
        (".warp/.mcp.json", "warp"),
        ("x.code-workspace", "vscode"),
    ],
)
def test_a_sweep_knows_a_repositorys_files(tmp_path, name, slug):
    content = (
        json.dumps({"settings": {"mcp": {"servers": {"a": STDIO}}}})
        if name.endswith("workspace")
        else _content(slug, name)
    )
    if name.endswith("devcontainer.json"):
        content = json.dumps({"customizations": {"vscode": {"mcp": {"servers": {"a": STDIO}}}}})
    put(tmp_path / "repo" / name, content)
    (file,) = everything([tmp_path / "repo"], home=tmp_path)
    assert file.client == slug
    assert [s.name for s in file.servers] == ["a"]


def test_a_sweep_leaves_other_peoples_folders_and_files_alone(tmp_path):
    for skipped in (".git", "node_modules", ".venv", "deep/node_modules/x"):
        put(tmp_path / skipped / ".mcp.json")
    put(tmp_path / "settings.json", "{}")
    put(tmp_path / ".vscode/settings.json", json.dumps({"editor.fontSize": 12}))
    put(tmp_path / "package.json", STANDARD)
    put(tmp_path / "README.md", "# nothing here\n")
    assert everything([tmp_path], home=tmp_path) == []


def test_a_given_file_is_read_whatever_its_name(tmp_path):
    path = put(tmp_path / "whatever.txt")
    toml = put(tmp_path / "strange", CONTENT["codex"])
    assert [f.format for f in everything([path, toml], home=tmp_path)] == ["json", "toml"]
    assert len(servers(everything([path, toml, path], home=tmp_path))) == 2


def test_a_template_is_swept_for_secrets_only(tmp_path):
    put(
        tmp_path / "mcp.json.example",
        json.dumps({"mcpServers": {"a": {"command": "x", "env": {"API_KEY": noise(40)}}}}),
    )
    (file,) = everything([tmp_path], home=tmp_path)
    assert (file.is_template, file.servers, len(file.credentials)) == (True, (), 1)


def test_links_in_a_circle_end(tmp_path):
    put(tmp_path / "a/mcp.json")
    (tmp_path / "a/again").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a/.mcp.json").symlink_to(tmp_path / "a/.mcp.json")
    found = everything([tmp_path], home=tmp_path)
    assert len(servers(found)) == 1
    assert [f.error for f in found if f.error]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    put(tmp_path / "outside/mcp.json")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/mcp.json").symlink_to(tmp_path / "outside/mcp.json")
    (file,) = everything([tmp_path / "repo"], home=tmp_path)
    assert "leads out" in (file.error or "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "mcp.json")
    started = time.monotonic()
    for paths in ([tmp_path], [tmp_path / "mcp.json"]):
        (file,) = everything(paths, home=tmp_path)
        assert file.error == "This is not a regular file."
    assert time.monotonic() - started < 5


def test_a_device_is_refused(tmp_path):
    (file,) = everything([Path("/dev/zero")], home=tmp_path)
    assert file.error == "This is not a regular file."


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_reported(tmp_path):
    put(tmp_path / "mcp.json").chmod(0)
    (file,) = everything([tmp_path], home=tmp_path)
    assert file.error == "Permission denied."


def test_a_file_that_went_away_is_reported_and_ends_nothing(tmp_path):
    (tmp_path / "mcp.json").symlink_to(tmp_path / "gone")
    put(tmp_path / ".mcp.json")
    found = everything([tmp_path], home=tmp_path)
    assert len(servers(found)) == 1
    assert "no such file" in next(f.error for f in found if f.error)


def test_a_huge_file_is_reported_and_not_read(tmp_path):
    with (tmp_path / "mcp.json").open("wb") as handle:
        handle.truncate(1 << 34)
    (file,) = everything([tmp_path], home=tmp_path)
    assert "larger than 8 MiB" in (file.error or "")


def test_a_file_that_changes_meanwhile_is_read_whole_or_reported(tmp_path):
    path, stop = tmp_path / "mcp.json", threading.Event()
    path.write_text(STANDARD)

    def rewrite():
        while not stop.is_set():
            path.write_text(STANDARD + " " * 50)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(50):
            (file,) = everything([path], home=tmp_path)
            assert file.error or len(file.servers) == 1
    finally:
        stop.set()
        writer.join()


def test_mode_and_time_are_kept(tmp_path):
    put(tmp_path / "mcp.json").chmod(0o640)
    (file,) = everything([tmp_path], home=tmp_path)
    assert file.mode == 0o640
    assert file.modified_at is not None
    assert file.modified_at.tzinfo is not None


def test_an_environment_file_beside_the_configuration_is_read(tmp_path):
    put(tmp_path / "repo/.env", f"API_KEY={noise(40)}\n")
    put(
        tmp_path / "repo/.vscode/mcp.json",
        json.dumps({"servers": {"a": {**STDIO, "envFile": "${workspaceFolder}/.env"}}}),
    )
    (server,) = servers(everything([tmp_path / "repo"], home=tmp_path))
    assert [c.pointer for c in server.credentials] == ["/envFile#API_KEY"]


def test_a_swept_repository_cannot_have_other_files_read(tmp_path):
    put(tmp_path / "secret.env", f"API_KEY={noise(40)}\n")
    put(tmp_path / "repo/mcp.json", json.dumps({"mcpServers": {"a": {**STDIO, "envFile": "../secret.env"}}}))
    (server,) = servers(everything([tmp_path / "repo"], home=tmp_path))
    assert server.credentials == ()


def test_only_enabled_servers_of_a_docker_catalogue_count(tmp_path):
    put(tmp_path / ".docker/mcp/registry.yaml", "registry:\n  a: {ref: ''}\n")
    put(tmp_path / ".docker/mcp/catalogs/docker-mcp.yaml", "registry:\n  a: {image: mcp/a}\n  b: {image: mcp/b}\n")
    assert [(s.name, s.package) for s in servers(everything(home=tmp_path))] == [("a", None), ("a", "mcp/a")]


def test_many_files_are_read_by_several_processes_in_the_same_order(tmp_path, monkeypatch):
    for number in range(60):
        put(
            tmp_path / f"p{number:03}/mcp.json",
            json.dumps({"mcpServers": {f"s{number}": {**STDIO, "env": {"API_KEY": noise(32)}}}}),
        )
    alone = everything([tmp_path], home=tmp_path)
    monkeypatch.setattr(scanning, "_PARALLEL_FROM", 20)
    monkeypatch.setattr(scanning, "_CHUNK", 7)
    assert everything([tmp_path], home=tmp_path) == alone
    assert len(alone) == 60


def _scan_in_a_child(folder, answers):
    scanning._PARALLEL_FROM = 2
    answers.put(len(everything([folder], home=folder)))


def test_a_worker_that_may_have_no_children_reads_alone(tmp_path):
    for number in range(10):
        put(tmp_path / f"p{number}/mcp.json")
    context = get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_scan_in_a_child, args=(tmp_path, answers), daemon=True)
    child.start()
    assert answers.get(timeout=30) == 10
    child.join()


def test_progress_counts_files(tmp_path):
    for number in range(3):
        put(tmp_path / f"p{number}/mcp.json")
    seen = []
    everything([tmp_path], home=tmp_path, progress=seen.append)
    assert seen == [1, 2, 3]


# --- token stores ----------------------------------------------------------------------------------------------------


def test_every_token_store_belongs_to_a_client_with_a_name():
    assert {store.slug for store in TOKEN_STORES} - {client.slug for client in CLIENTS} == {"mcp-remote", "fastmcp"}


STORES = {
    ".mcp-auth/mcp-remote-0.1.2/abc_tokens.json": lambda a, r: {
        "access_token": a,
        "refresh_token": r,
        "expires_in": 3600,
        "token_type": "Bearer",
    },
    ".claude/.credentials.json": lambda a, r: {
        "mcpOAuth": {
            "x|1": {
                "serverName": "x",
                "serverUrl": "https://x.example/mcp",
                "accessToken": a,
                "refreshToken": r,
                "expiresAt": 1900000000000,
                "clientId": "c1",
            }
        }
    },
    ".codex/.credentials.json": lambda a, r: {
        "x|1": {
            "server_name": "x",
            "server_url": "https://x.example/mcp",
            "access_token": a,
            "refresh_token": r,
            "expires_at": 1900000000,
        }
    },
    ".gemini/mcp-oauth-tokens.json": lambda a, r: [
        {
            "serverName": "x",
            "mcpServerUrl": "https://x.example/mcp",
            "token": {"accessToken": a, "refreshToken": r, "expiresAt": 1900000000000},
        }
    ],
    ".local/share/opencode/mcp-auth.json": lambda a, r: {
        "x": {
            "serverUrl": "https://x.example/mcp",
            "tokens": {"accessToken": a, "refreshToken": r, "expiresAt": 1900000000},
        }
    },
    ".fastmcp/oauth-mcp-client-cache/https_x_tokens.json": lambda a, r: {
        "access_token": a,
        "refresh_token": r,
        "expires_in": 60,
    },
    ".amp/oauth/x.json": lambda a, r: {
        "https://x.example/mcp": {"access_token": a, "refresh_token": r, "expires_at": 1900000000}
    },
}


@pytest.mark.parametrize("place", STORES)
def test_a_token_store_tells_of_its_tokens_and_never_shows_them(tmp_path, place):
    access, refresh = noise(48), noise(48)
    path = put(tmp_path / place, json.dumps(STORES[place](access, refresh)))
    path.chmod(0o600)
    (file,) = everything(home=tmp_path)
    assert (file.format, file.mode) == ("token-store", 0o600)
    (server,) = file.servers
    kinds = {c.kind: c for c in server.credentials}
    assert set(kinds) == {Kind.OAUTH_ACCESS_TOKEN, Kind.OAUTH_REFRESH_TOKEN}
    assert kinds[Kind.OAUTH_ACCESS_TOKEN].expires_at is not None
    assert all(c.class_ is Class.LITERAL for c in server.credentials)
    assert access not in repr(file)
    assert refresh not in repr(file)
    if "x.example" in path.read_text():
        assert server.url == "https://x.example/mcp"


def test_an_encrypted_token_store_is_seen(tmp_path):
    path = put(tmp_path / ".local/share/toolhive/secrets_encrypted", "x")
    path.write_bytes(os.urandom(200))
    (file,) = everything(home=tmp_path)
    assert (file.format, file.client, file.error) == ("token-store", "toolhive", None)


# --- the key ---------------------------------------------------------------------------------------------------------


def test_a_fingerprint_key_is_made_once_and_private(tmp_path):
    assert fingerprint_key(tmp_path, None)[1] is False
    made = create_fingerprint_key(tmp_path / "new")
    assert create_fingerprint_key(tmp_path / "new") == made
    assert fingerprint_key(tmp_path / "new", None) == (made, True)
    assert fingerprint_key(tmp_path / "new", b"configured-key-x") == (b"configured-key-x", True)
    assert (tmp_path / "new/fingerprint.key").stat().st_mode & 0o777 == 0o600


def test_found_objects_have_no_room_for_a_secret(tmp_path):
    token = github_token()
    put(
        tmp_path / "mcp.json",
        json.dumps(
            {
                "mcpServers": {
                    token: {"command": token, "args": [token], "env": {token: token}, "url": f"https://x/{token}"}
                }
            }
        ),
    )
    found = everything([tmp_path], home=tmp_path)
    assert token not in repr(found)
    assert isinstance(found[0].servers[0], FoundServer)
