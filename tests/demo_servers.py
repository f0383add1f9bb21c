"""The demo MCP servers as a process of their own, behind the demo authorization server."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.servers import NAMES, Setup
from tests.authorization_server import ROOT, AuthorizationServer
from tests.ports import free_ports


@dataclass(frozen=True)
class DemoServers:
    """Running servers, by name. `static_key` is what the billing server takes; `change` changes a tool while there."""

    setup: Setup
    static_key: str
    change: Path

    def url(self, name: str) -> str:
        return self.setup.url(name)


@contextmanager
def running(folder: Path, issuer: AuthorizationServer) -> Iterator[DemoServers]:
    key, change, base = secrets.token_urlsafe(24), folder / "change", free_ports(len(NAMES))
    command = [sys.executable, "-m", "demo.servers", "--port-base", str(base), "--issuer", issuer.issuer]
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        "KEYREEVE_DEMO_STATIC_KEY": key,
    }
    with subprocess.Popen(
        [*command, "--change", str(change)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for _ in NAMES:
                assert process.stdout.readline()
            yield DemoServers(Setup(port_base=base, issuer=issuer.issuer), key, change)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def demo_servers(
    tmp_path_factory: pytest.TempPathFactory, authorization_server: AuthorizationServer
) -> Iterator[DemoServers]:
    with running(tmp_path_factory.mktemp("demo-servers"), authorization_server) as servers:
        yield servers
