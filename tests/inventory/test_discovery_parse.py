import base64
import json
from urllib.parse import quote

import pytest

from inventory.discovery.classify import Judge
from inventory.discovery.model import Class
from inventory.discovery.parse import parse
from tests.inventory.discovery_samples import github_token, noise

KEY = b"k" * 32


def read(content, path="/x/mcp.json", client=None, **options):
    data = (
        content
        if isinstance(content, bytes)
        else (content if isinstance(content, str) else json.dumps(content)).encode()
    )
    return parse(data, path=path, client=client, judge=Judge(KEY), **options)


def names(parsed):
    return [server.name for server in parsed.servers]


STDIO = {"command": "npx", "args": ["-y", "pkg"]}

SHAPES = {
    "mcpServers": ({"mcpServers": {"a": STDIO}}, "/mcpServers/a"),
    "servers with inputs": ({"inputs": [], "servers": {"a": STDIO}}, "/servers/a"),
    "mcp.servers nested": ({"mcp": {"servers": {"a": STDIO}}}, "/mcp/servers/a"),
    "mcp.servers dotted": ({"mcp.servers": {"a": STDIO}}, "/mcp.servers/a"),
    "opencode": ({"mcp": {"a": {"type": "local", "command": ["npx", "-y", "pkg"], "enabled": True}}}, "/mcp/a"),
    "crush": ({"mcp": {"a": {"type": "stdio", **STDIO}}}, "/mcp/a"),
    "context_servers": ({"context_servers": {"a": STDIO}}, "/context_servers/a"),
    "older Zed": (
        {"context_servers": {"a": {"command": {"path": "npx", "args": ["-y", "pkg"]}}}},
        "/context_servers/a",
    ),
    "amp": ({"amp.mcpServers": {"a": STDIO}}, "/amp.mcpServers/a"),
    "projects": ({"projects": {"/home/me/p": {"mcpServers": {"a": STDIO}}}}, "/projects/~1home~1me~1p/mcpServers/a"),
    "flat": ({"a": STDIO}, "/a"),
    "list": ({"mcpServers": [{"name": "a", **STDIO}]}, "/mcpServers/0"),
    "old Continue": (
        {"experimental": {"modelContextProtocolServers": [{"name": "a", "transport": {"type": "stdio", **STDIO}}]}},
        "/experimental/modelContextProtocolServers/0",
    ),
    "Goose": ({"extensions": {"a": {"type": "stdio", "cmd": "npx", "args": ["-y", "pkg"]}}}, "/extensions/a"),
    "Goose recipe": (
        {"extensions": [{"name": "a", "type": "stdio", "cmd": "npx", "args": ["-y", "pkg"]}]},
        "/extensions/0",
    ),
    "manifest": ({"name": "a", "server": {"type": "node", "mcp_config": STDIO}}, "/server/mcp_config"),
    "Kiro powers": ({"powers": {"mcpServers": {"a": STDIO}}}, "/powers/mcpServers/a"),
    "workspace": ({"folders": [], "settings": {"mcp": {"servers": {"a": STDIO}}}}, "/settings/mcp/servers/a"),
    "dev container": (
        {"image": "x", "customizations": {"vscode": {"mcp": {"servers": {"a": STDIO}}}}},
        "/customizations/vscode/mcp/servers/a",
    ),
    "Cline transport": ({"mcpServers": {"a": {"transport": {"type": "stdio", **STDIO}}}}, "/mcpServers/a"),
    "bare server": ({"name": "a", **STDIO}, ""),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_its_server(shape):
    tree, pointer = SHAPES[shape]
    parsed = read(tree)
    assert parsed.error is None
    (server,) = parsed.servers
    assert (server.name, server.pointer, server.launcher, server.package, server.transport) == (
        "a",
        pointer,
        "npx",
        "pkg",
        "stdio",
    )


def test_a_pointer_leads_to_the_servers_own_object():
    for tree, pointer in SHAPES.values():
        node = tree
        for part in pointer.split("/")[1:]:
            node = node[int(part)] if isinstance(node, list) else node[part.replace("~1", "/").replace("~0", "~")]
        assert isinstance(node, dict)


def test_a_docker_registry_is_read():
    parsed = read(
        "registry:\n  a:\n    image: mcp/a@sha256:"
        + "ab" * 32
        + "\n    secrets:\n      - {name: a.token, env: A_TOKEN}\n"
        "  b:\n    remote: {url: https://b.example/mcp, transport_type: sse}\n",
        "/x/catalog.yaml",
    )
    a, b = parsed.servers
    assert (a.launcher, a.package, a.pinned) == ("docker", "mcp/a", True)
    assert [(c.pointer, c.class_, c.reference) for c in a.credentials] == [
        ("/secrets/0", Class.REFERENCE, "docker-secret:a.token")
    ]
    assert (b.url, b.transport) == ("https://b.example/mcp", "sse")


def test_a_registry_document_is_read():
    secret = noise(40)
    tree = {
        "name": "io.example/a",
        "packages": [
            {
                "registryType": "npm",
                "identifier": "@a/b",
                "version": "1.0.0",
                "environmentVariables": [
                    {"name": "API_KEY", "isSecret": True, "value": secret},
                    {"name": "API_TOKEN", "isSecret": True},
                ],
            }
        ],
        "remotes": [
            {
                "type": "streamable-http",
                "url": "https://a.example/mcp",
                "headers": [{"name": "X-API-Key", "isSecret": True, "value": "{api_key}"}],
            }
        ],
    }
    package, remote = read(tree, "/x/server.json").servers
    assert (package.launcher, package.package, package.version, package.pinned) == ("npx", "@a/b", "1.0.0", True)
    assert [(c.pointer, c.class_) for c in package.credentials] == [("/environmentVariables/0/value", Class.LITERAL)]
    assert (remote.transport, remote.url) == ("http", "https://a.example/mcp")
    assert [c.class_ for c in remote.credentials] == [Class.PLACEHOLDER]


def test_toml_tables_and_arrays_of_tables_are_read():
    tables = read(
        '[mcp_servers.a]\ncommand = "npx"\nargs = ["-y", "pkg"]\nbearer_token_env_var = "A_TOKEN"\n'
        'env_vars = ["B_TOKEN", "LANG"]\n'
        '[mcp_servers.a.env_http_headers]\nX-Api-Key = "C_KEY"\n',
        "/x/config.toml",
    )
    (server,) = tables.servers
    assert {(c.pointer, c.reference) for c in server.credentials} == {
        ("/bearer_token_env_var", "env:A_TOKEN"),
        ("/env_vars/0", "env:B_TOKEN"),
        ("/env_http_headers/X-Api-Key", "env:C_KEY"),
    }
    array = read(
        '[[mcp_servers]]\nname = "a"\nurl = "https://a.example/mcp"\ntransport = "streamable-http"\n', "/x/config.toml"
    )
    assert [(s.name, s.transport) for s in array.servers] == [("a", "http")]


def test_goose_leaves_its_built_in_extensions_out_and_keeps_names_of_kept_secrets():
    parsed = read(
        "extensions:\n  dev: {type: builtin, name: developer}\n"
        "  a: {type: stdio, cmd: uvx, args: [pkg], env_keys: [A_TOKEN], enabled: false}\n",
        "/x/config.yaml",
    )
    (server,) = parsed.servers
    assert server.disabled
    assert [c.reference for c in server.credentials] == ["keyring:A_TOKEN"]


def test_librechats_permissions_are_no_servers():
    assert names(
        read(
            "interface:\n  mcpServers: {use: true}\nmcpServers:\n  a: {type: sse, url: 'https://a.example/sse'}\n",
            "/x/librechat.yaml",
        )
    ) == ["a"]


def test_two_shapes_in_one_file_are_both_read():
    assert names(read({"mcpServers": {"a": STDIO}, "servers": {"b": STDIO}})) == ["a", "b"]


@pytest.mark.parametrize(
    "tree",
    [
        {"servers": [{"url": "https://api.example.com"}], "openapi": "3.1.0"},
        {"name": "pkg", "version": "1"},
        {},
        [],
        3,
        None,
        {"scripts": {"a": {"command": 1}}, "name": "x"},
        {"editor.fontSize": 12},
    ],
)
def test_what_is_no_configuration_has_no_servers(tree):
    assert read(tree).servers == ()


def test_one_bad_entry_does_not_discard_its_siblings():
    parsed = read(
        {
            "mcpServers": {
                "bad": "text",
                "worse": 3,
                "empty": {},
                "odd": {"type": "streamable-http"},
                "good": STDIO,
                "none": None,
            }
        }
    )
    assert "good" in names(parsed)
    assert {e.pointer for e in parsed.entry_errors} == {
        "/mcpServers/bad",
        "/mcpServers/worse",
        "/mcpServers/empty",
        "/mcpServers/odd",
    }


@pytest.mark.parametrize(
    ("body", "transport"),
    [
        ({"command": "x"}, "stdio"),
        ({"type": "stdio", "command": "x"}, "stdio"),
        ({"type": "local", "command": ["x"]}, "stdio"),
        *[
            ({"type": t, "url": "https://a.example/mcp"}, "http")
            for t in ("http", "streamable-http", "streamableHttp", "streamable_http", "streamable", "streamable-https")
        ],
        ({"httpUrl": "https://a.example/mcp"}, "http"),
        ({"type": "sse", "url": "https://a.example/x"}, "sse"),
        ({"url": "https://a.example/sse"}, "sse"),
        ({"transport": "sse", "serverUrl": "https://a.example/x"}, "sse"),
        ({"transportType": "sse", "url": "https://a.example/x"}, "sse"),
        ({"type": "ws", "url": "wss://a.example"}, "websocket"),
        ({"url": "wss://a.example"}, "websocket"),
        ({"type": "remote", "url": "https://a.example/mcp"}, "http"),
        ({"url": "https://a.example/mcp"}, "http"),
        ({"type": "quantum", "url": "https://a.example/mcp"}, "http"),
        ({"uri": "https://a.example/mcp"}, "http"),
    ],
)
def test_every_spelling_of_a_transport_is_understood(body, transport):
    assert read({"mcpServers": {"a": body}}).servers[0].transport == transport


def test_an_untyped_url_means_sse_to_gemini():
    assert (
        read({"mcpServers": {"a": {"url": "https://a.example/x"}}}, client="gemini-cli").servers[0].transport == "sse"
    )


@pytest.mark.parametrize("body", [{"disabled": True}, {"enabled": False}, {"isActive": False}, {"disabled": "true"}])
def test_every_off_switch_is_understood(body):
    assert read({"mcpServers": {"a": {**STDIO, **body}}}).servers[0].disabled


@pytest.mark.parametrize(
    "extra",
    [
        {"mcp": {"excluded": ["a"]}},
        {"mcp": {"allowed": ["b"]}},
        {"disabledMcpjsonServers": ["a"]},
        {"disabledMcpServers": ["a"]},
    ],
)
def test_a_list_elsewhere_in_the_file_switches_off(extra):
    assert read({"mcpServers": {"a": STDIO}, **extra}).servers[0].disabled


def test_what_runs_unasked_is_kept_as_a_fact():
    facts = dict(
        read({"mcpServers": {"a": {**STDIO, "autoApprove": ["x", "y"], "trust": True, "alwaysAllow": ["*"]}}})
        .servers[0]
        .trust
    )
    assert facts == {"autoApprove": "2 tools", "trust": "everything", "alwaysAllow": "everything"}


PLACES = {
    "/env/API_KEY": {"env": {"API_KEY": "@"}},
    "/environment/API_KEY": {"environment": {"API_KEY": "@"}},
    "/envs/API_KEY": {"envs": {"API_KEY": "@"}},
    "/env/0": {"env": ["API_KEY=@"]},
    "/headers/X-API-Key": {"headers": {"X-API-Key": "@"}},
    "/headers/Authorization": {"headers": {"Authorization": "Bearer @"}},
    "/http_headers/X-API-Key": {"http_headers": {"X-API-Key": "@"}},
    "/requestOptions/headers/Authorization": {"requestOptions": {"headers": {"Authorization": "Bearer @"}}},
    "/oauth_headers/Authorization": {"oauth_headers": {"Authorization": "Bearer @"}},
    "/args/1": {"args": ["--api-key", "@"]},
    "/args/0": {"args": ["--api-key=@"]},
    "/args/2": {"args": ["x", "y", "API_KEY=@"]},
    "/args/3": {
        "command": "npx",
        "args": ["mcp-remote", "https://a.example/mcp", "--header", "Authorization: Bearer @"],
    },
    "/args/4": {"command": "mcp-proxy", "args": ["https://a.example/mcp", "x", "--headers", "X-API-Key", "@"]},
    "/args/5": {"command": "docker", "args": ["run", "-i", "--rm", "--name", "-e", "API_KEY=@", "img"], "x": 1},
    "/args/6": {"command": "docker", "args": ["run", "-i", "--rm", "-v", "/a:/b", "-e", "API_KEY=@", "img"]},
    "/command": {"command": "npx pkg --api-key @"},
    "/command/3": {"command": ["npx", "pkg", "--token", "@"]},
    "/url": {"url": "https://a.example/mcp?api_key=@"},
    "/serverUrl": {"serverUrl": "https://a.example/mcp?token=@"},
    "/httpUrl": {"httpUrl": "https://user:@@a.example/mcp"},
    "/uri": {"uri": "https://a.example/mcp?key=@"},
    "/oauth/clientSecret": {"oauth": {"clientId": "id", "clientSecret": "@"}},
    "/auth/CLIENT_SECRET": {"auth": {"CLIENT_ID": "id", "CLIENT_SECRET": "@"}},
    "/oauthClient/clientSecret": {"oauthClient": {"clientSecret": "@"}},
    "/oauth_client_secret": {"oauth_client_secret": "@"},
    "/apiKey": {"apiKey": "@"},
    "/apiKey/key": {"apiKey": {"source": "admin", "key": "@", "authorization_type": "bearer"}},
    "/bearer_token": {"bearer_token": "@"},
    "/settings/api_key": {"settings": {"api_key": "@"}},
    "/settings/deep/er/token": {"settings": {"deep": {"er": {"token": "@"}}}},
    "/customUserVars/API_KEY/default": {
        "customUserVars": {"API_KEY": {"title": "Key", "description": "Your key", "default": "@"}}
    },
    "/transport/env/API_KEY": {"transport": {"type": "stdio", "command": "x", "env": {"API_KEY": "@"}}},
    "/command/env/API_KEY": {"command": {"path": "x", "args": [], "env": {"API_KEY": "@"}}},
    "/oauth/tokens/access_token": {"oauth": {"tokens": {"access_token": "@"}}},
    "/platform_overrides/win32/env/API_KEY": {"platform_overrides": {"win32": {"env": {"API_KEY": "@"}}}},
}


def _planted(node, secret):
    if isinstance(node, dict):
        return {k: _planted(v, secret) for k, v in node.items()}
    if isinstance(node, list):
        return [_planted(v, secret) for v in node]
    if isinstance(node, str):
        return (
            node.replace("@@", f"{secret}@").replace("@", secret, 0 if "@@" in node else -1)
            if "@@" in node
            else node.replace("@", secret)
        )
    return node


@pytest.mark.parametrize("pointer", PLACES)
@pytest.mark.parametrize("make", [lambda: noise(40), github_token], ids=["unknown", "known"])
def test_a_secret_is_found_at_every_place(pointer, make):
    secret = make()
    body = {"command": "x", **_planted(PLACES[pointer], secret)}
    if "url" in pointer.lower() or pointer == "/uri":
        del body["command"]
    parsed = read({"mcpServers": {"a": body}})
    literals = [c for c in parsed.servers[0].credentials if c.class_ is Class.LITERAL]
    assert [c.pointer for c in literals] == [pointer]
    assert parsed.credentials == ()
    assert secret not in repr(parsed)


def test_a_passed_through_variable_is_no_secret():
    assert (
        read({"mcpServers": {"a": {"command": "docker", "args": ["run", "-i", "-e", "GITHUB_TOKEN", "img"]}}})
        .servers[0]
        .credentials
        == ()
    )


def test_an_oauth_secret_knows_its_client_id():
    (found,) = (
        read(
            {
                "mcpServers": {
                    "a": {"url": "https://a.example/mcp", "oauth": {"clientId": "client-7", "clientSecret": noise(40)}}
                }
            }
        )
        .servers[0]
        .credentials
    )
    assert found.external_id == "client-7"


def test_an_environment_file_is_read_too():
    secret = noise(40)
    asked = []

    def env_file(path):
        asked.append(path)
        return f"# comment\nexport API_KEY='{secret}'\nLOG_LEVEL=info\n"

    tree = {
        "servers": {
            "a": {**STDIO, "envFile": "${workspaceFolder}/.env"},
            "b": {"command": "docker", "args": ["run", "--env-file", "b.env", "img"]},
        }
    }
    a, b = read(tree, read_env_file=env_file).servers
    assert asked == ["${workspaceFolder}/.env", "b.env"]
    assert [c.pointer for c in a.credentials] == ["/envFile#API_KEY"]
    assert [c.pointer for c in b.credentials] == ["/args/2#API_KEY"]


def test_a_prompts_default_can_be_a_secret():
    tree = {
        "inputs": [{"id": "k", "type": "promptString", "password": True, "default": noise(40)}],
        "servers": {"a": STDIO},
    }
    assert [c.pointer for c in read(tree).credentials] == ["/inputs/0/default"]


ENCODINGS = {
    "UTF-8": lambda t: t.encode(),
    "UTF-8 with a mark": lambda t: t.encode("utf-8-sig"),
    "UTF-16 with a mark": lambda t: t.encode("utf-16"),
    "UTF-16 little": lambda t: t.encode("utf-16-le"),
    "UTF-16 big": lambda t: t.encode("utf-16-be"),
    "UTF-32 with a mark": lambda t: t.encode("utf-32"),
    "UTF-32 little": lambda t: t.encode("utf-32-le"),
    "UTF-32 big": lambda t: t.encode("utf-32-be"),
    "Windows line ends": lambda t: t.replace("\n", "\r\n").encode(),
    "trailing zeros": lambda t: t.encode() + b"\x00\x00",
    "tabs": lambda t: t.replace("  ", "\t").encode(),
    "a broken byte": lambda t: t.replace("pkg", "p\udcff").encode("utf-8", "surrogateescape"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_read(encoding):
    assert names(read(ENCODINGS[encoding](json.dumps({"mcpServers": {"a": STDIO}}, indent=2)))) == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        '// c\n{"mcpServers": {"a": {"command": "x"}}}',
        '{"mcpServers": {"a": {"command": "x",},},}',
        '{/* c */ "mcpServers": {"a": {"command": "x"}}}',
        "{mcpServers: {a: {command: 'x'}}}",
        '{"mcpServers": {"a": {"command": "x"}}} // end',
        '{"mcpServers": {"a": {"command": "y"}, "a": {"command": "x"}}}',
        '{"mcpServers": {"a": {"command": "x", "args": null, "env": null}}}',
        '{"mcpServers": {"a": {"command": "x", "env": {"N": 1, "B": true, "Z": null}}}}',
    ],
)
def test_what_people_write_is_tolerated(text):
    parsed = read(text)
    assert (names(parsed), parsed.error) == (["a"], None)


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("/x/mcp.json", '{\n"a": [1,\n2\n', None),
        ("/x/c.toml", "a = 1\nb = = 2\n", 2),
        ("/x/c.yaml", "a: 1\nb: [1\nc: 2\n", 3),
    ],
)
def test_a_file_that_does_not_parse_is_reported_with_its_line(path, text, line):
    parsed = read(text, path)
    assert parsed.error
    assert parsed.servers == ()
    if line is not None:
        assert parsed.error_line == line


def test_a_file_that_does_not_parse_still_gives_its_secrets():
    known, unknown, password = github_token(), noise(40), noise(20)
    text = f'{{\n"mcpServers": {{\n "env": {{"GITHUB_TOKEN": "{known}",\n "API_KEY": "{unknown}"\n "DB": "postgres://a:{password}@h/d"\n'
    parsed = read(text)
    assert parsed.error
    assert {c.pointer for c in parsed.credentials} == {"line:3", "line:4", "line:5"}
    assert not any(s in repr(parsed) for s in (known, unknown, password))


def test_a_secret_in_a_comment_is_found():
    parsed = read('{\n// "GITHUB_TOKEN": "' + github_token() + '"\n"mcpServers": {}}')
    assert [c.pointer for c in parsed.credentials] == ["line:2"]


def test_a_template_gives_its_secrets_but_no_live_servers():
    parsed = read({"mcpServers": {"a": {"command": "x", "env": {"API_KEY": noise(40)}}}}, "/x/mcp.json.example")
    assert parsed.servers == ()
    assert len(parsed.credentials) == 1


BOMBS = {
    "brackets": ("/x/mcp.json", "[" * 200_000),
    "objects": ("/x/mcp.json", '{"a":' * 50_000),
    "YAML brackets": ("/x/c.yaml", "[" * 100_000),
    "YAML dashes": ("/x/c.yaml", "- " * 100_000),
    "TOML brackets": ("/x/c.toml", "a = " + "[" * 100_000),
    "aliases": (
        "/x/c.yaml",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    ),
    "merged aliases": (
        "/x/c.yaml",
        "a: &a {x: 1}\n"
        + "".join(
            f"{b}: &{b} {{<<: [{','.join(['*' + a] * 9)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ),
    ),
    "itself": ("/x/c.yaml", "a: &a\n  b: *a\n"),
    "digits": ("/x/mcp.json", '{"a": ' + "9" * 100_000 + "}"),
    "size": ("/x/mcp.json", "[" + "1," * 5_000_000 + "1]"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_hostile_file_is_refused_in_bounded_time(bomb):
    path, text = BOMBS[bomb]
    parsed = read(text, path)
    assert parsed.error
    assert len(parsed.error) < 120


def test_install_links_in_a_page_are_read():
    secret = noise(40)
    config = base64.b64encode(
        json.dumps({"command": "npx", "args": ["-y", "pkg"], "env": {"API_KEY": secret}}).encode()
    ).decode()
    remote = quote(json.dumps({"name": "b", "url": f"https://b.example/mcp?api_key={secret}"}))
    page = (
        f"# Install\n\n[Add](cursor://anysphere.cursor-deeplink/mcp/install?name=a&config={config})\n"
        f"[VS Code](https://insiders.vscode.dev/redirect/mcp/install?name=b&config={remote}) "
        f"[x](vscode:mcp/install?{remote})\n"
        f"[LM](lmstudio://add_mcp?name=c&config={quote(config)})\n[web](https://cursor.com/en/install-mcp?name=d&config={quote(config)})\n"
    )
    parsed = read(page, "/x/README.md")
    assert names(parsed) == ["a", "b", "b", "c", "d"]
    assert all(len(s.credentials) == 1 for s in parsed.servers)
    assert secret not in repr(parsed)


def test_front_matter_of_an_agent_file_is_read():
    assert names(
        read(
            "---\nname: x\nmcp-servers:\n  a:\n    type: local\n    command: npx\n    args: [pkg]\n---\nText\n",
            "/x/agents/a.md",
        )
    ) == ["a"]


def test_added_servers_of_a_shell_file_are_read():
    text = f"#!/bin/sh\nmcp add a --env API_KEY={noise(40)} -- npx -y pkg\n"
    text += "mcp add b --type http https://b.example/mcp\n# mcp is fun\n"
    a, b = read(text, "/x/crushrc").servers
    assert (a.name, a.package, len(a.credentials)) == ("a", "pkg", 1)
    assert (b.name, b.url, b.transport) == ("b", "https://b.example/mcp", "http")


def test_a_given_environment_file_gives_its_secrets_by_line():
    parsed = read(f"A=1\n\nAPI_KEY={noise(40)}\nOTHER=${{X}}\n", "/x/.env")
    assert (parsed.format, [c.pointer for c in parsed.credentials]) == ("dotenv", ["line:3"])


def test_one_server_has_one_identity_however_it_is_written():
    def identity(body):
        return read({"mcpServers": {"a": body}}).servers[0].identity_key

    assert identity({"command": "npx", "args": ["-y", "@A/b@1.0.0"]}) == identity(
        {"command": "cmd", "args": ["/c", "npx", "@a/b"]}
    )
    assert identity({"command": "uvx", "args": ["My_Pkg==1"]}) == identity(
        {"command": "uv", "args": ["tool", "run", "my-pkg"]}
    )
    assert identity({"url": "https://A.example:443/mcp/"}) == identity(
        {"command": "npx", "args": ["mcp-remote", f"https://a.example/mcp?token={noise(40)}"]}
    )
    assert identity({"command": "docker", "args": ["run", "mcp/x:1.0"]}) == identity(
        {"command": "docker", "args": ["run", "docker.io/mcp/x"]}
    )
    assert identity({"command": "npx", "args": ["a"]}) != identity({"command": "uvx", "args": ["a"]})
