"""Where the parts of the demo estate are: chosen at the first start and kept, because addresses are identities."""

import json
import os
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from demo.servers import HOST, NAMES, Setup

FILE = "demo.json"
HEADS = "halden-chain-heads"  # a bucket
HEADS_KEY = "chain-heads"  # the secret of whoever may add to it
FIRST_PORT, LAST_PORT = 9_400, 9_900


@dataclass(frozen=True, kw_only=True)
class Places:
    """One demo estate under `home`. Its secrets lie in files of their own that only the owner may read."""

    home: Path
    issuer_port: int
    cloud_port: int
    server_port: int

    @property
    def servers(self) -> Setup:
        return Setup(port_base=self.server_port, issuer=self.issuer)

    @property
    def issuer(self) -> str:
        return f"http://{HOST}:{self.issuer_port}"

    @property
    def cloud(self) -> str:
        return f"http://{HOST}:{self.cloud_port}"

    @property
    def receiver_port(self) -> int:
        """Whom webhooks tell; the port behind those of the servers."""
        return self.server_port + len(NAMES)

    @property
    def authorization_server(self) -> Path:
        return self.home / "authorization-server"

    @property
    def database(self) -> Path:
        return self.home / "billing-db"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def machine(self) -> Path:
        """The home folder of somebody who works at the company."""
        return self.home / "halden"

    @property
    def change(self) -> Path:
        """While this file is there, a tool of the search server is not the one that was approved."""
        return self.home / "change-a-tool"

    def begin_heads(self) -> None:
        """Where chain heads go from this start on: the demo's cloud forgets its buckets when it ends."""
        self._heads_prefix.write_text(f"since-{datetime.now(tz=UTC):%Y-%m-%dT%H%M%SZ}")
        self.secret(HEADS_KEY, f"AKIA{secrets.token_hex(8).upper()}:{secrets.token_urlsafe(30)}")

    @property
    def heads(self) -> str:
        """The address of the bucket for the settings. Governance for a day: a demo is not kept for longer."""
        prefix = self._heads_prefix.read_text() if self._heads_prefix.exists() else "before"
        return f"s3://{HEADS}/{prefix}?region=eu-north-1&mode=governance&days=1&endpoint={self.cloud}"

    @property
    def _heads_prefix(self) -> Path:
        return self.home / "chain-heads-prefix"

    def secret(self, name: str, value: str | None = None) -> Path:
        """The file of one secret, made with `value` or by chance where it is missing."""
        path = self.secrets / name
        if not path.exists():
            self.secrets.mkdir(mode=0o700, exist_ok=True)
            draft = path.with_suffix(".new")
            draft.touch(0o600)
            draft.write_text(value or secrets.token_urlsafe(24))
            draft.replace(path)
        return path


def places(home: Path) -> Places:
    """The demo estate under `home`, with ports that were free when it was first started."""
    path = home / FILE
    if path.exists():
        return Places(home=home, **json.loads(path.read_text()))
    issuer, cloud, *servers = _free(3 + len(NAMES))
    ports = {"issuer_port": issuer, "cloud_port": cloud, "server_port": servers[0]}
    path.write_text(json.dumps(ports))
    return Places(home=home, **ports)


def _free(number: int) -> range:
    """That many ports in a row on which nothing listens."""
    for first in range(FIRST_PORT, LAST_PORT, number):
        if not any(_is_taken(port) for port in range(first, first + number)):
            return range(first, first + number)
    raise SystemExit(f"The demo needs {number} free ports in a row between {FIRST_PORT} and {LAST_PORT}.")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def default_home(of_keyreeve: Path) -> Path:
    """Beside the home of the real Keyreeve, never inside it."""
    given = os.environ.get("KEYREEVE_HOME", "").strip()
    return Path(given).expanduser().absolute() if given else of_keyreeve.with_name(f"{of_keyreeve.name}-demo")
