"""The contract of `manage.py discover` with scripts, without any database."""

import io
import json
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from django.test import override_settings

from inventory.management.commands.discover import Command
from tests.inventory.discovery_samples import github_token

ROOT = Path(__file__).resolve().parents[2]


def by_itself(*arguments, home, **environ):
    """The command as people run it, in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KEYREEVE_", "DATABASE_"))}
    environment |= {
        "HOME": str(home),
        "KEYREEVE_HOME": str(home / "keyreeve"),
        "KEYREEVE_SECRET_KEY": "only-for-tests",
        "COLUMNS": "200",
        **environ,
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "discover", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=home,
        env=environment,
        timeout=60,
        check=False,
    )


def discover(*arguments, home, **environ):
    """The command in this process, from the words of its line to its exit code."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    own = override_settings(KEYREEVE_HOME=home / "keyreeve", FINGERPRINT_KEY=None)
    with pytest.MonkeyPatch.context() as patch, own, chdir(home), redirect_stdout(out), redirect_stderr(err):
        for name, value in {"HOME": str(home), "COLUMNS": "200", **environ}.items():
            patch.setenv(name, value)
        try:
            Command(stdout=out, stderr=err).run_from_argv(["manage.py", "discover", *map(str, arguments)])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture
def home(tmp_path):
    (tmp_path / "keyreeve").mkdir()
    return tmp_path


@pytest.fixture
def secret(home):
    """A repository with one literal, one reference and one placeholder."""
    value = github_token()
    tree = {
        "mcpServers": {
            "a": {
                "command": "npx",
                "args": ["-y", "pkg@1.0.0"],
                "env": {"GITHUB_TOKEN": value, "API_KEY": "${API_KEY}", "OTHER_TOKEN": "<token>"},
            }
        }
    }
    (home / "repo").mkdir()
    (home / "repo/.mcp.json").write_text(json.dumps(tree))
    (home / "repo/mcp.json").write_text('{"mcpServers": {')
    return value


def test_json_on_stdout_is_one_document_with_the_promised_keys(home, secret):
    done = by_itself(home / "repo", "--format", "json", home=home)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    good, broken = sorted(document["files"], key=lambda f: bool(f["error"]))
    assert {"path", "client", "format", "error"} <= good.keys()
    assert broken["error"]
    (server,) = document["servers"]
    assert {
        "name",
        "transport",
        "launcher",
        "package",
        "url",
        "disabled",
        "file",
        "pointer",
        "credentials",
    } <= server.keys()
    assert [(c["pointer"], c["class"]) for c in server["credentials"]] == [
        ("/env/GITHUB_TOKEN", "literal"),
        ("/env/API_KEY", "reference"),
        ("/env/OTHER_TOKEN", "placeholder"),
    ]
    literal = server["credentials"][0]
    assert (literal["kind"], literal["hint"]) == ("personal_access_token", f"ghp_…{secret[-4:]}")
    assert literal["fingerprint"].startswith("kf1:")
    assert secret not in done.stdout + done.stderr


def test_text_shows_places_and_never_secrets(home, secret):
    done = discover(home / "repo", home=home)
    assert "/env/GITHUB_TOKEN" in done.stdout
    assert "1 literals, 1 references, 1 placeholders" in done.stdout
    assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(("fail_on", "code"), [("none", 0), ("low", 1), ("medium", 1), ("high", 1), ("critical", 0)])
def test_the_exit_code_follows_the_worst_finding(home, secret, fail_on, code):
    assert discover(home / "repo", "--fail-on", fail_on, home=home).returncode == code


def test_a_clean_folder_is_fine_at_every_level(home):
    (home / "clean").mkdir()
    assert discover(home / "clean", "--fail-on", "low", home=home).returncode == 0


@pytest.mark.parametrize("arguments", [["/there/is/no/such/path"], ["--no-such-option"], ["--format", "xml"]])
def test_wrong_usage_ends_with_two_and_says_why(home, arguments):
    done = discover(*arguments, home=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_a_full_disk_or_closed_pipe_is_a_failure(home, secret):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "discover", str(home / "repo"), "--format", "json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(home), "KEYREEVE_HOME": str(home / "keyreeve")},
            cwd=home,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3
    assert secret not in done.stderr


def test_a_machine_without_configuration_is_told_where_was_looked(home):
    done = discover("--format", "json", home=home, XDG_CONFIG_HOME=str(home / "config"))
    assert done.returncode == 0
    assert json.loads(done.stdout)["servers"] == []
    assert ".cursor/mcp.json" in done.stderr


def test_a_kept_key_gives_lasting_fingerprints_and_none_is_said_to_be_for_this_run(home, secret):
    without = discover(home / "repo", "--format", "json", home=home)
    assert "this run only" in without.stderr
    (home / "keyreeve/fingerprint.key").write_text("ab" * 32)
    prints = [
        json.loads(discover(home / "repo", "--format", "json", home=home).stdout)["servers"][0]["credentials"][0][
            "fingerprint"
        ]
        for _ in range(2)
    ]
    assert prints[0] == prints[1]


HOSTILE = "a\\u001b]0;title\\u0007\\u202eb [bold]\\ud800"


def test_a_name_that_orders_the_terminal_about_is_only_shown(home):
    (home / ".mcp.json").write_text(f'{{"mcpServers": {{"{HOSTILE}": {{"command": "npx"}}}}}}')
    done = discover(home, home=home)
    assert done.returncode == 0
    assert "a�]0;title��b [bold]�" in done.stdout


def test_a_name_with_half_a_character_is_json_all_the_same(home):
    (home / ".mcp.json").write_text(f'{{"mcpServers": {{"{HOSTILE}": {{"command": "npx"}}}}}}')
    done = discover(home, "--format", "json", home=home)
    assert json.loads(done.stdout)["servers"][0]["name"] == json.loads(f'"{HOSTILE}"')
