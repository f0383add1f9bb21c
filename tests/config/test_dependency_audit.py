"""The audit of dependencies says what is known, and says so when nobody could be asked."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from django.conf import settings

from tests.ports import free_port

LOCK = "harmless==1.0 \\\n    --hash=sha256:00\nleaky==2.1 ; python_version < '3.12' \\\n    --hash=sha256:00\n"


@contextmanager
def advisories(known: dict[str, list[str]], status: int = 200) -> Iterator[str]:
    """A database of advisories that knows these, by package."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            found = [{"vulns": [{"id": each} for each in known.get(one["package"]["name"], [])]} for one in asked]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps({"results": found}).encode())

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def audit(tmp_path: Path):
    def run(database: str, *more: str, accepted: str = "") -> tuple[int, str]:
        (tmp_path / "lock.txt").write_text(LOCK)
        (tmp_path / "accepted").write_text(accepted)
        places = ["--database", database, "--accepted", str(tmp_path / "accepted"), str(tmp_path / "lock.txt")]
        command = [sys.executable, str(settings.BASE_DIR / ".ci" / "audit"), *more, *places]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_known_vulnerability_fails_the_build_and_is_named(audit) -> None:
    with advisories({"leaky": ["GHSA-1"]}) as database:
        code, said = audit(database)
    assert (code, "leaky 2.1: GHSA-1" in said, "harmless" in said) == (1, True, False)


def test_nothing_known_is_said_with_how_many_were_checked(audit) -> None:
    with advisories({}) as database:
        assert audit(database) == (0, "Dependencies: 2 packages checked, no known vulnerabilities.\n")


@pytest.mark.parametrize(("more", "code"), [([], 0), (["--must-reach"], 3)])
def test_a_database_that_cannot_be_asked_is_no_good_news(audit, more: list[str], code: int) -> None:
    found, said = audit(f"http://127.0.0.1:{free_port()}", *more)
    assert (found, "NOT CHECKED" in said) == (code, True)


def test_a_database_that_refuses_is_no_good_news(audit) -> None:
    with advisories({"leaky": ["GHSA-1"]}, status=503) as database:
        code, said = audit(database)
    assert (code, "NOT CHECKED" in said) == (0, True)


def test_an_advisory_is_accepted_until_its_day(audit) -> None:
    with advisories({"leaky": ["GHSA-1"]}) as database:
        assert audit(database, accepted="GHSA-1 9999-12-31 never reached here\n")[0] == 0
        assert audit(database, accepted="GHSA-1 2020-01-01 never reached here\n")[0] == 1
        assert audit(database, accepted="GHSA-1\n")[0] == 1
