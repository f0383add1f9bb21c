"""`manage.py up` as a person would run it: a process of its own, in an empty folder, ended by Ctrl-C."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from config.embedded import EmbeddedPostgres
from config.roles import APPLICATION
from config.supervisor import end_leftovers
from tests.config.test_supervisor import marked
from tests.embedded import short_folder
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
RUNNING = "Ctrl-C ends it."


class Keyreeve:
    """One folder, one port, and the command as often as it is started there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.output = home / "output"
        self.process: subprocess.Popen[bytes] | None = None
        person = home / "person"
        (person / ".cursor").mkdir(parents=True)
        server = {"command": "npx", "args": ["-y", "@example/mcp"], "env": {"EXAMPLE_TOKEN": "${env:EXAMPLE_TOKEN}"}}
        (person / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": {"example": server}}))
        ours = ("DATABASE_URL", "KEYREEVE_", "DJANGO_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "HOME": str(person),
            "KEYREEVE_HOME": str(home / "data"),
            "KEYREEVE_STATIC_ROOT": str(home / "static"),
            "KEYREEVE_PORT": str(self.port),
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Returns when it says that it runs."""
        with self.output.open("wb") as output:
            self.process = process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + 180
        while RUNNING not in self.said():
            assert process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.1)
        return process

    def said(self) -> str:
        return self.output.read_text()

    def get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    def refusal(self, **environment: str) -> tuple[int, str]:
        """Exit code and words of another start that must not succeed."""
        done = subprocess.run(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr

    def roles(self) -> set[str]:
        """By which roles anybody is connected to the database."""
        with psycopg.connect(EmbeddedPostgres(self.home / "data" / "pg").conninfo("postgres")) as session:
            found = session.execute("SELECT usename FROM pg_stat_activity WHERE datname = 'keyreeve'").fetchall()
        return {name for (name,) in found}

    def remains(self) -> list[psutil.Process]:
        """Whatever still runs from the folder, parts and database alike."""
        database = EmbeddedPostgres(self.home / "data" / "pg")
        return marked(self.home / "data") + ([psutil.Process()] if database.is_running() else [])


@pytest.fixture(scope="module")
def keyreeve() -> Iterator[Keyreeve]:
    """One Keyreeve that a test may find running or ended, and leaves as it likes."""
    one = Keyreeve(short_folder())
    yield one
    if one.process is not None:
        one.process.kill()
        one.process.wait()
    end_leftovers(one.home / "data")
    EmbeddedPostgres(one.home / "data" / "pg").stop()
    shutil.rmtree(one.home, ignore_errors=True)


def test_an_empty_folder_becomes_a_running_keyreeve_and_ends_without_a_trace(keyreeve):
    process = keyreeve.start()
    assert keyreeve.get("/healthz") == keyreeve.get("/readyz") == 200
    assert "1 server, 1 client, 1 credential" in keyreeve.said()

    assert keyreeve.roles() == {APPLICATION}

    path = re.search(r"/sign-in/\?\S+", keyreeve.said())
    assert path is not None
    assert keyreeve.get(path[0]) == 200

    code, words = keyreeve.refusal(KEYREEVE_PORT=str(free_port()))
    assert (code, "already running" in words) == (3, True)
    code, words = keyreeve.refusal(KEYREEVE_HOME=str(keyreeve.home / "other"))
    assert (code, "cannot be used" in words) == (3, True)

    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0
    assert not keyreeve.remains()
    assert "Traceback" not in keyreeve.said()


@pytest.mark.long
def test_a_killed_keyreeve_leaves_nothing_that_keeps_the_next_from_starting(keyreeve):
    process = keyreeve.start()
    database = int((keyreeve.home / "data" / "pg" / "postmaster.pid").read_text().partition("\n")[0])
    process.kill()
    process.wait()

    process = keyreeve.start()
    assert "did not end properly" in keyreeve.said()
    assert "Its database was still running" in keyreeve.said()
    assert psutil.pid_exists(database)
    assert keyreeve.get("/readyz") == 200

    process.terminate()
    assert process.wait(40) == 0
    assert not keyreeve.remains()
