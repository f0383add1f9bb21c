"""Secret references: what they read, and everything that they must not."""

import os
import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Secret
from providers.errors import Permanent, ProviderError, Refused
from providers.references import MAX_SECRET, Reference, ReferenceKind, References, is_bound, parse_reference

HOST = "mcp.example.com"


@pytest.fixture
def secret() -> str:
    return secrets.token_urlsafe(24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    made.mkdir()
    return made


def read(references: References, text: str, *, bound_to: str = HOST, host: str = HOST) -> str:
    return references.resolve(text, bound_to=bound_to, host=host).reveal()


# ── Variables ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("listed", ["MCP_TOKEN", "MCP_*", "M*"])
def test_a_listed_variable_is_read(listed, secret):
    references = References(variables=[listed], environ={"MCP_TOKEN": secret})
    assert read(references, "env://MCP_TOKEN") == secret


@pytest.mark.parametrize("listed", ["", "MCP_TOKEN2", "mcp_*", "MCP_TOKE", "OTHER_*"])
def test_a_variable_that_is_not_listed_is_refused(listed, secret):
    references = References(variables=[listed] if listed else [], environ={"MCP_TOKEN": secret})
    with pytest.raises(Refused, match="MCP_TOKEN is not among KEYREEVE_REFERENCE_VARIABLES"):
        read(references, "env://MCP_TOKEN")


@pytest.mark.parametrize("name", ["KEYREEVE_SECRET_KEY", "DATABASE_URL"])
def test_a_pattern_does_not_open_our_own_secrets(name, secret):
    references = References(variables=["K*", "D*", "KEYREEVE_*"], environ={name: secret})
    with pytest.raises(Refused):
        read(references, f"env://{name}")


def test_our_own_variable_is_read_when_its_name_is_listed(secret):
    references = References(variables=["DATABASE_URL"], environ={"DATABASE_URL": secret})
    assert read(references, "env://DATABASE_URL") == secret


@pytest.mark.parametrize("environ", [{}, {"MCP_TOKEN": " \n"}])
def test_a_variable_without_a_value_holds_no_secret(environ):
    with pytest.raises(Permanent, match="env://MCP_TOKEN holds no secret"):
        read(References(variables=["MCP_TOKEN"], environ=environ), "env://MCP_TOKEN")


@pytest.mark.parametrize("name", ["*", "", "MCP-*", "*_TOKEN", "M*P", "A B"])
def test_an_entry_that_is_no_name_stops_with_a_sentence(name):
    with pytest.raises(Permanent, match="neither the name of a variable"):
        References(variables=[name])


# ── Files ──────────────────────────────────────────────────────────────────────────────────────


def test_a_file_in_a_listed_folder_is_read_without_its_last_line_end(folder, secret):
    (folder / "deep er").mkdir()
    (folder / "deep er" / "token").write_text(f"{secret}\n")
    assert read(References([folder]), f"file://{folder}/deep%20er/token") == secret


def test_a_value_of_a_json_file_is_read(folder, secret):
    (folder / "all.json").write_text(f'{{"other": 1, "to ken": "{secret}"}}')
    assert read(References([folder]), f"file://{folder}/all.json#to ken") == secret


@pytest.mark.parametrize("line", ["TOKEN={}", "export TOKEN = '{}'", 'A=1\nTOKEN=old\nTOKEN="{}"\nB=2', "TOKEN={}\r"])
def test_a_value_of_an_environment_file_is_read(folder, secret, line):
    (folder / "all.env").write_text(line.format(secret))
    assert read(References([folder]), f"file://{folder}/all.env#TOKEN") == secret


@pytest.mark.parametrize(
    "content", ['{"other": "x"}', '{"key": null}', '{"key": true}', '{"key": {"a": "b"}}', "{", "x=1"]
)
def test_a_key_that_leads_to_no_text_is_said(folder, content):
    (folder / "all").write_text(content)
    with pytest.raises(Permanent, match="#key holds no secret"):
        read(References([folder]), f"file://{folder}/all#key")


def test_a_mounted_secret_is_read_through_the_links_of_its_own_folder(folder, secret):
    (folder / "..2026").mkdir()
    (folder / "..2026" / "token").write_text(secret)
    (folder / "..data").symlink_to("..2026")
    (folder / "token").symlink_to("..data/token")
    assert read(References([folder]), f"file://{folder}/token") == secret


def test_a_listed_folder_may_be_a_link_itself(folder, secret, tmp_path):
    (folder / "token").write_text(secret)
    (tmp_path / "link").symlink_to(folder)
    assert read(References([tmp_path / "link"]), f"file://{tmp_path}/link/token") == secret


@pytest.mark.parametrize("listed", [False, True])
def test_a_file_outside_is_refused(folder, secret, tmp_path, listed):
    (tmp_path / "secrets-too").mkdir()
    (tmp_path / "secrets-too" / "token").write_text(secret)
    with pytest.raises(Refused, match="lies in no folder of KEYREEVE_REFERENCE_FOLDERS"):
        read(References([folder] if listed else []), f"file://{tmp_path}/secrets-too/token")


@pytest.mark.parametrize("through", ["file", "folder"])
def test_a_link_does_not_lead_out_of_a_folder(folder, secret, tmp_path, through):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "token").write_text(secret)
    (folder / "file").symlink_to(tmp_path / "private" / "token")
    (folder / "folder").symlink_to(tmp_path / "private")
    path = f"{folder}/file" if through == "file" else f"{folder}/folder/token"
    with pytest.raises(Refused):
        read(References([folder]), f"file://{path}")


def test_a_link_put_in_between_looking_and_reading_is_not_followed(folder, secret, tmp_path, monkeypatch):
    (tmp_path / "private").write_text(secret)
    (folder / "token").write_text("harmless")
    references = References([folder])
    looked = os.open

    def swap_then_open(path, *args, **kwargs):
        if path == "token":
            (folder / "token").unlink()
            (folder / "token").symlink_to(tmp_path / "private")
        return looked(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", swap_then_open)
    with pytest.raises(Permanent, match="cannot be read"):
        read(references, f"file://{folder}/token")


def test_the_folder_itself_is_no_secret(folder):
    with pytest.raises(Refused):
        read(References([folder]), f"file://{folder}")


def test_a_folder_inside_is_no_file(folder):
    (folder / "inner").mkdir()
    with pytest.raises(Permanent, match="is not a file"):
        read(References([folder]), f"file://{folder}/inner")


def test_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(Permanent, match="is not a file"):
        read(References([folder]), f"file://{folder}/pipe")


def test_a_circle_of_links_is_said(folder):
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    with pytest.raises(ProviderError):
        read(References([folder]), f"file://{folder}/a")


def test_a_missing_file_is_said(folder):
    with pytest.raises(Permanent, match="cannot be read: no such file"):
        read(References([folder]), f"file://{folder}/none")


def test_a_file_larger_than_a_secret_is_said(folder):
    (folder / "large").write_bytes(b"x" * (MAX_SECRET + 1))
    with pytest.raises(Permanent, match="is larger than"):
        read(References([folder]), f"file://{folder}/large")


def test_a_file_that_is_no_text_is_said_without_its_content(folder):
    (folder / "binary").write_bytes(b"\xffsecret-part")
    with pytest.raises(Permanent, match="is not text") as caught:
        read(References([folder]), f"file://{folder}/binary")
    assert caught.value.__cause__ is None
    assert "secret-part" not in repr(caught.value)


@pytest.mark.parametrize("folder", ["/", "relative", "."])
def test_an_entry_that_is_no_folder_of_secrets_stops_with_a_sentence(folder):
    with pytest.raises(Permanent, match="is not the whole path of a folder"):
        References([Path(folder)])


# ── AWS ────────────────────────────────────────────────────────────────────────────────────────

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mcp/token-AbCdEf"


@pytest.mark.parametrize("name", ["mcp/token", ARN])
def test_a_secret_of_aws_is_read_by_its_name(name, secret):
    asked = []

    def aws(given: str) -> Secret:
        asked.append(given)
        return Secret(secret)

    assert read(References(aws=aws), f"aws-sm://{name}") == secret
    assert asked == [name]


def test_a_key_of_a_secret_of_aws_is_read(secret):
    references = References(aws=lambda _: Secret(f'{{"password": "{secret}"}}'))
    assert read(references, "aws-sm://db/main#password") == secret


def test_a_secret_of_aws_is_refused_where_nothing_reads_it():
    with pytest.raises(Refused, match="cannot be read here"):
        read(References(), "aws-sm://mcp/token")


# ── Binding ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("host", "bound_to"),
    [
        ("mcp.example.com", "MCP.example.com."),
        ("mcp.example.com:8443", "mcp.example.com"),
        ("mcp.example.com:8443", "mcp.example.com:8443"),
        ("[::1]:80", "[0:0:0:0:0:0:0:1]"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_a_secret_goes_to_the_host_it_is_bound_to(host, bound_to):
    assert is_bound(host, bound_to)


@pytest.mark.parametrize(
    ("host", "bound_to"),
    [
        ("evil.example", "mcp.example.com"),
        ("mcp.example.com.evil.example", "mcp.example.com"),
        ("sub.mcp.example.com", "mcp.example.com"),
        ("mcp.example.com", "mcp.example.com:8443"),
        ("mcp.example.com:443", "mcp.example.com:8443"),
        ("mcp.example.com", ""),
        ("", ""),
        ("a@mcp.example.com", "mcp.example.com"),
        ("2130706433", "127.0.0.1"),
    ],
)
def test_a_secret_goes_to_no_other_host(host, bound_to, secret):
    references = References(variables=["MCP_TOKEN"], environ={"MCP_TOKEN": secret})
    with pytest.raises(Refused, match="bound to another host") as caught:
        read(references, "env://MCP_TOKEN", host=host, bound_to=bound_to)
    assert secret not in repr(caught.value)


# ── Text ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("env://MCP_TOKEN", Reference(ReferenceKind.VARIABLE, "MCP_TOKEN")),
        (" file:///run/secrets/a%23b#key ", Reference(ReferenceKind.FILE, "/run/secrets/a#b", "key")),
        (f"aws-sm://{ARN}#password", Reference(ReferenceKind.AWS_SECRET, ARN, "password")),
    ],
)
def test_a_reference_is_read_from_its_text(text, reference):
    assert parse_reference(text) == reference
    assert str(reference) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        *("", "MCP_TOKEN", "${env:MCP_TOKEN}", "ENV://MCP_TOKEN", "vault://a", "env:MCP_TOKEN", "env://", "env://A B"),
        *("env://A#b", "env://A=B", "file://", "file:///", "file://host/x", "file:///a/../b", "file:///a/%2e%2e/b"),
        *("file:///a/./b", "file:///a%00b", "file:///a/", "file:///a#", "aws-sm://", "aws-sm://a b", "aws-sm://a#\n"),
        *("file:///a#b#c", "env://" + "A" * 300, "aws-sm://" + "a" * 3000),
    ],
)
def test_what_is_no_reference_is_said(text):
    with pytest.raises(Permanent, match=r"reference"):
        parse_reference(text)


@pytest.mark.parametrize("before", ["", "env://", "file://", "aws-sm:// ", "env://A#"])
def test_a_secret_put_in_place_of_a_reference_is_not_repeated(before, secret):
    with pytest.raises(Permanent) as caught:
        parse_reference(f"{before}-{secret}")
    assert secret not in repr(caught.value)


@given(st.text(max_size=60) | st.from_regex(r"(env|file|aws-sm)://.{0,40}", fullmatch=True))
def test_any_text_that_is_a_reference_is_one_in_its_one_spelling_too(text):
    try:
        reference = parse_reference(text)
    except Permanent:
        return
    assert parse_reference(str(reference)) == reference


@given(st.lists(st.sampled_from(["a", "..", ".", "", "secrets", "%2e%2e", "%2f..", "..%2f"]), max_size=6))
def test_no_path_leads_out_of_a_folder(parts):
    references = References([Path("/srv/secrets")])
    try:
        found = references.check("file:///srv/secrets/" + "/".join(parts))
    except ProviderError:
        return
    assert Path(os.path.normpath(found.place)).is_relative_to("/srv/secrets")


def test_a_secret_does_not_show_itself(secret):
    found = References(variables=["A"], environ={"A": secret}).resolve("env://A", bound_to=HOST, host=HOST)
    assert secret not in f"{found} {found!r} {found:>40}"
