import pytest

from inventory.discovery.launchers import Word, identify, unwrap, words_of


def launch(line):
    return identify(unwrap(words_of(line, "/command")))


@pytest.mark.parametrize(
    ("line", "launcher", "package", "version", "pinned"),
    [
        ("npx -y @modelcontextprotocol/server-github", "npx", "@modelcontextprotocol/server-github", None, False),
        ("npx -y some-server@1.2.3", "npx", "some-server", "1.2.3", True),
        ("npx some-server@latest", "npx", "some-server", "latest", False),
        ("npx some-server@^1.2.0", "npx", "some-server", "^1.2.0", False),
        ("npx -p @a/b@2.0.0 run-b", "npx", "@a/b", "2.0.0", True),
        ("npx --package=@a/b run-b", "npx", "@a/b", None, False),
        ("npx github:owner/repo#main", "npx", "github:owner/repo", "main", False),
        ("npx github:owner/repo#" + "ab" * 20, "npx", "github:owner/repo", "ab" * 20, True),
        ("npm exec -- @a/b@1.0.0", "npm exec", "@a/b", "1.0.0", True),
        ("pnpm dlx some-server@1.0.0", "pnpm dlx", "some-server", "1.0.0", True),
        ("yarn dlx some-server", "yarn dlx", "some-server", None, False),
        ("bunx --bun some-server", "bunx", "some-server", None, False),
        ("bun x some-server", "bun x", "some-server", None, False),
        ("uvx mcp-server-git==1.2", "uvx", "mcp-server-git", "1.2", True),
        ("uvx mcp-server-git@latest", "uvx", "mcp-server-git", "latest", False),
        ("uvx --python 3.12 mcp-server-git", "uvx", "mcp-server-git", None, False),
        ("uvx --from git+https://github.com/a/b@main run-b", "uvx", "git+https://github.com/a/b", "main", False),
        ("uvx --from mcp-x[cli]==1.0 run-x", "uvx", "mcp-x", "1.0", True),
        ("uv tool run mcp-x==1.0", "uv tool run", "mcp-x", "1.0", True),
        ("uv --directory /srv/x run server.py", "uv", "server.py", None, None),
        ("uv run --with mcp mcp run file.py", "uv", "file.py", None, None),
        ("pipx run --spec tool==1.0 tool", "pipx", "tool", "1.0", True),
        ("python3 -m my_server", "python", "my_server", None, None),
        ("/usr/bin/python3.12 /srv/server.py", "python", "server.py", None, None),
        ("node --import tsx /srv/index.ts", "node", "index.ts", None, None),
        ("deno run -A --allow-net=x npm:foo@1.0.0", "deno", "foo", "1.0.0", True),
        ("deno run jsr:@a/b", "deno", "@a/b", None, False),
        ("java -jar /srv/server.jar", "java", "server.jar", None, None),
        ("jbang io.q:server:1.0.0", "jbang", "io.q:server", "1.0.0", True),
        ("go run github.com/a/b@v1.2.3", "go", "github.com/a/b", "v1.2.3", True),
        ("go run github.com/a/b@latest", "go", "github.com/a/b", "latest", False),
        ("docker run -i --rm -e A -e B=c ghcr.io/o/img:v1.2.3 stdio", "docker", "ghcr.io/o/img", "v1.2.3", True),
        ("docker run -i --rm img", "docker", "img", None, False),
        ("docker run --name x --network=host -v /a:/b img:latest", "docker", "img", "latest", False),
        (
            "podman run localhost:5000/img@sha256:" + "ab" * 32,
            "podman",
            "localhost:5000/img",
            "sha256:" + "ab" * 32,
            True,
        ),
        ("docker exec -i my-container cmd", "docker", "my-container", None, None),
        ("docker mcp gateway run --servers a", "docker", "mcp gateway", None, None),
        ("/opt/bin/github-mcp-server stdio", "local", "github-mcp-server", None, None),
    ],
)
def test_a_command_line_names_its_package(line, launcher, package, version, pinned):
    found = launch(line)
    assert (found.launcher, found.package, found.version, found.pinned) == (launcher, package, version, pinned)


@pytest.mark.parametrize(
    "line",
    [
        "cmd /c npx -y the-server@1.0.0",
        "cmd.exe /C npx -y the-server@1.0.0",
        'cmd /c "npx -y the-server@1.0.0"',
        "powershell -Command npx -y the-server@1.0.0",
        "wsl.exe -d Ubuntu -- npx -y the-server@1.0.0",
        "bash -c 'npx -y the-server@1.0.0'",
        "zsh -lc 'cd /srv && A=b exec npx -y the-server@1.0.0'",
        "env A=b C=d npx -y the-server@1.0.0",
        "sudo -u me npx -y the-server@1.0.0",
        "nice -n 5 npx -y the-server@1.0.0",
        "op run --env-file=.env -- npx -y the-server@1.0.0",
        "doppler run -- npx -y the-server@1.0.0",
        "dotenvx run -f .env -- npx -y the-server@1.0.0",
        "envmcp npx -y the-server@1.0.0",
        "mise exec -- npx -y the-server@1.0.0",
        "direnv exec . npx -y the-server@1.0.0",
        "arch -arm64 npx -y the-server@1.0.0",
        "sudo env A=b bash -c 'npx -y the-server@1.0.0'",
        "/usr/local/bin/npx -y the-server@1.0.0",
    ],
)
def test_a_wrapper_is_taken_off(line):
    found = launch(line)
    assert (found.launcher, found.package, found.version) == ("npx", "the-server", "1.0.0")


def test_a_windows_path_with_blanks_is_one_program():
    words = [Word(r"C:\Program Files\nodejs\npx.cmd", "/command"), Word("-y", "/args/0"), Word("the-server", "/args/1")]
    found = identify(unwrap(words))
    assert (found.launcher, found.package) == ("npx", "the-server")


@pytest.mark.parametrize(
    ("line", "transport"),
    [
        ("npx -y mcp-remote https://mcp.example.com/mcp", None),
        ("npx mcp-remote@0.1.2 https://mcp.example.com/mcp 8080 --transport sse-only", "sse"),
        ("npx -y supergateway --streamableHttp https://mcp.example.com/mcp", "http"),
        ("npx -y supergateway --sse https://mcp.example.com/mcp", "sse"),
        ("mcp-proxy https://mcp.example.com/mcp --headers K V", None),
        ("uvx mcp-proxy --transport streamablehttp https://mcp.example.com/mcp", "http"),
        ("fastmcp run https://mcp.example.com/mcp", None),
    ],
)
def test_a_bridge_gives_away_the_server_behind_it(line, transport):
    found = launch(line)
    assert (found.bridged_url, found.bridged_transport) == ("https://mcp.example.com/mcp", transport)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "   ",
        "npx",
        "docker",
        "docker run",
        "uvx --from",
        "bash -c",
        "env",
        "sudo",
        "cmd /c",
        "op run --",
        "'unclosed",
    ],
)
def test_half_a_command_line_is_no_error(line):
    launch(line)
