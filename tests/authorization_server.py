"""The demo authorization server as a process of its own, for every test that needs a real one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class AuthorizationServer:
    """A running server: its addresses, and the files that hold what is needed to use it."""

    folder: Path
    places: dict[str, Any]

    @property
    def issuer(self) -> str:
        return str(self.places["issuer"])

    def secret(self, name: str) -> str:
        """What one of `files` holds."""
        return Path(self.places["files"][name]).read_text()

    def token(self, name: str) -> str:
        return Path(self.places["tokens"][name]).read_text()

    def registration_token(self, client_id: str) -> str:
        return (Path(self.places["registrations"]) / client_id).read_text()

    def register(self, **metadata: Any) -> dict[str, Any]:
        """Register a client as any program on the network may (RFC 7591). The answer holds its secrets."""
        document = {"redirect_uris": ["http://127.0.0.1:33001/callback"], "token_endpoint_auth_method": "none"}
        answer = httpx2.post(self.places["registration_endpoint"], json={**document, **metadata})
        assert answer.status_code == 201
        return dict(answer.json())

    def deregister(self, registered: dict[str, Any]) -> None:
        """Take a registration back (RFC 7592)."""
        bearer = {"Authorization": f"Bearer {registered['registration_access_token']}"}
        assert httpx2.delete(registered["registration_client_uri"], headers=bearer).status_code == 204


@contextmanager
def running(folder: Path, *options: str) -> Iterator[AuthorizationServer]:
    """A server over that folder, on a free port, until the block ends. A second one continues where the first ended."""
    command = [sys.executable, "-m", "demo.authorization_server", "--data", str(folder), *options]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield AuthorizationServer(folder, json.loads(process.stdout.readline()))
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def authorization_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    """One server for all tests of a process. What a test registers there, it takes back."""
    with running(tmp_path_factory.mktemp("authorization-server")) as server:
        yield server


@pytest.fixture(scope="session")
def lax_authorization_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    """One that offers what the best current practice forbids."""
    with running(tmp_path_factory.mktemp("lax-authorization-server"), "--lax") as server:
        yield server
