"""What must hold for any input at all."""

import json
import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.discovery.classify import Judge, Where
from inventory.discovery.launchers import identify, unwrap, words_of
from inventory.discovery.parse import parse
from tests.examples import examples
from tests.inventory.discovery_samples import github_token, noise

KEY = b"k" * 32
LIMITS = settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = ["mcp.json", "config.toml", "config.yaml", "README.md", "crushrc", ".env", "unknown"]

KEYS = st.sampled_from(
    [
        "mcpServers",
        "servers",
        "mcp",
        "command",
        "args",
        "env",
        "url",
        "headers",
        "type",
        "Authorization",
        "API_KEY",
        "oauth",
        "transport",
        "extensions",
        "registry",
        "projects",
        "context_servers",
        "inputs",
        "default",
        "value",
        "name",
        "a/b",
        "~",
        "",
        "settings",
        "disabled",
        "secrets",
        "packages",
        "envFile",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(
        [
            "npx",
            "-y",
            "--api-key",
            "${X}",
            "${X:-y}",
            "https://a.example/mcp?token=x",
            "postgres://a:b@c/d",
            "Basic eA==",
            "{}",
            "[",
            "$(",
            "{{",
            "eyJ",
            "--header",
            "-e",
            "A=B",
            "bash",
            "-c",
            "docker",
            "run",
            "\ud800",
            "\x00",
        ]
    )
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=6),
    max_leaves=30,
)


def read(data, name="mcp.json"):
    return parse(data, path=f"/x/{name}", client=None, judge=Judge(KEY))


@LIMITS
@given(st.binary(max_size=400), st.sampled_from(NAMES))
def test_any_bytes_are_survived(data, name):
    read(data, name)


@LIMITS
@given(TREES)
def test_any_json_is_survived(tree):
    read(json.dumps(tree).encode("utf-8", "replace"))


@LIMITS
@given(TREES, st.integers(0, 400))
def test_a_document_cut_anywhere_is_survived(tree, cut):
    read(json.dumps({"mcpServers": {"a": tree}}).encode("utf-8", "replace")[:cut])


@LIMITS
@given(st.dictionaries(KEYS, TREES, max_size=8))
def test_any_server_entry_is_survived_with_its_sibling(body):
    found = read(
        json.dumps({"mcpServers": {"odd": body, "good": {"command": "npx", "args": ["pkg"]}}}).encode(
            "utf-8", "replace"
        )
    )
    assert "good" in [server.name for server in found.servers]


@LIMITS
@given(
    st.text(max_size=300),
    st.sampled_from(["API_KEY", "SETTING", "url", "Authorization", "DATABASE_URL", "OTEL_HEADERS"]),
    st.sampled_from(list(Where)),
)
def test_any_value_is_classified_the_same_twice(value, name, where):
    judge = Judge(KEY)
    first = judge.value(value, name, "/p", where)
    assert judge.value(value, name, "/p", where) == first == Judge(KEY).value(value, name, "/p", where)


@LIMITS
@given(st.text(alphabet=string.printable, max_size=200))
def test_any_command_line_is_survived(line):
    identify(unwrap(words_of(line, "/command")))


def _plant(node, secret):
    if isinstance(node, dict):
        return {key: _plant(value, secret) for key, value in node.items()}
    if isinstance(node, list):
        return [_plant(v, secret) for v in node]
    if isinstance(node, str) and len(node) % 3:
        return f"{node}={secret}"
    return secret if node is None or isinstance(node, str) else node


@LIMITS
@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=8))
def test_a_known_secret_planted_anywhere_never_comes_out(body):
    secret = github_token()
    found = read(
        json.dumps(
            {"mcpServers": {f"n {secret}": _plant(body, secret), "b": _plant(body, secret)}, secret: [secret]}
        ).encode("utf-8", "replace")
    )
    assert secret not in repr(found)


@LIMITS
@given(
    st.dictionaries(
        st.sampled_from(["API_KEY", "ACME_TOKEN", "DB_PASSWORD", "CLIENT_SECRET"]),
        st.sampled_from(["{}", "Bearer {}", "postgres://u:{}@h/d", "${{X:-{}}}"]),
        min_size=1,
    )
)
def test_an_unknown_secret_under_a_telling_name_never_comes_out(fields):
    secrets = {name: noise(32) for name in fields}
    env = {
        name: template.replace("{{", "{").replace("}}", "}").replace("{}", secrets[name])
        for name, template in fields.items()
    }
    args = [part for name, secret in secrets.items() for part in (f"--{name.lower().replace('_', '-')}", secret)]
    tree = {
        "mcpServers": {
            "a": {
                "command": "npx",
                "args": args,
                "env": env,
                "headers": env,
                "oauth": env,
                "url": "https://h/mcp?" + "&".join(f"{n}={s}" for n, s in secrets.items()),
            }
        }
    }
    text = json.dumps(tree, indent=1)
    for document in (text, text[:-3], "// c\n" + text):
        assert not [s for s in secrets.values() if s in repr(read(document.encode()))]
