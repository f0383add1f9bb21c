"""What two alternating logins, files and client configuration promise."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from providers.base import CredentialRef, Delivered, Secret
from providers.contract import Outage, ProviderContract, ProviderPlace, SinkContract, SinkPlace
from providers.files import FileSink
from providers.folders import Folders
from providers.literals import document, find
from providers.mcp_config import ConfigSink
from providers.postgres_logins import Logins
from tests.clusters import PASSWORD, Cluster, started

NUMBERS = count(1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started() as made:
        made.role("operator", "CREATEROLE", groups=("pg_signal_backend",))
        yield made


class TestAlternatingLogins(ProviderContract):
    @pytest.fixture
    def place(self, cluster: Cluster) -> ProviderPlace:
        stem = f"app{next(NUMBERS)}"
        pair = [f"{stem}_a", f"{stem}_b"]
        for name in pair:
            cluster.role(name)
            grant = "GRANT {} TO operator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
            cluster.admin.execute(sql.SQL(grant).format(sql.Identifier(name)))
        cluster.admin.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(pair[1])))

        def usable() -> set[str]:
            rows = cluster.admin.execute(
                "SELECT rolname FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL AND rolname = ANY(%s)",
                [pair],
            )
            return {name for (name,) in rows}

        @contextmanager
        def failing(_outage: Outage) -> Iterator[None]:
            cluster.admin.execute("ALTER ROLE operator NOLOGIN")
            yield
            cluster.admin.execute("ALTER ROLE operator LOGIN")

        def connect() -> Logins:
            return Logins(cluster.target("operator"))

        return ProviderPlace(
            provider=connect(),
            again=connect,
            ref=CredentialRef(identity=f"postgres:1:{pair[0]}", kind="database_password", external_id=pair[0]),
            external_id=pair[0],
            secret=Secret(PASSWORD),
            usable=usable,
            failing=failing,
            outages=frozenset({Outage.DENIED}),
        )

    def test_an_open_session_does_not_outlive_its_login(self, place: ProviderPlace, cluster: Cluster) -> None:
        session = psycopg.connect(**cluster.target(place.external_id).parameters())
        place.provider.destroy(place.ref, place.external_id)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")


def old() -> Delivered:
    return Delivered(secret=Secret(f"before-{uuid4().hex}"), external_id="id-before")


class TestWholeFile(SinkContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> SinkPlace:
        path, before = tmp_path / "token", old()
        path.write_text(before.secret.reveal())
        return SinkPlace(
            sink=FileSink(Folders([tmp_path])),
            again=lambda: FileSink(Folders([tmp_path])),
            location=f"file://{path}",
            before=before,
            reading=lambda: Delivered(secret=Secret(path.read_text())),
        )


class TestNewFile(SinkContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> SinkPlace:
        path = tmp_path / "token"
        return SinkPlace(
            sink=FileSink(Folders([tmp_path])),
            location=f"file://{path}",
            before=None,
            reading=lambda: Delivered(secret=Secret(path.read_text())) if path.exists() else None,
            missing=f"file://{tmp_path}/nowhere/token",
        )


class TestEnvironmentFile(SinkContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> SinkPlace:
        path, before, sink = tmp_path / ".env", old(), FileSink(Folders([tmp_path]))
        path.write_text(f"A=1\nTOKEN={before.secret.reveal()}\nTOKEN_ID='id-before'\n")
        location = f"file://{path}#TOKEN,TOKEN_ID"
        return SinkPlace(
            sink=sink,
            location=location,
            before=before,
            reading=lambda: FileSink(Folders([tmp_path])).read(location),
            keeps_external_id=True,
        )


class TestJsonFile(SinkContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> SinkPlace:
        path, location = tmp_path / "app.json", f"file://{tmp_path}/app.json#TOKEN,ID"
        path.write_text('{"A": 1}')
        return SinkPlace(
            sink=FileSink(Folders([tmp_path])),
            location=location,
            before=None,
            reading=lambda: FileSink(Folders([tmp_path])).read(location),
            keeps_external_id=True,
        )


class TestClientConfiguration(SinkContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> SinkPlace:
        path, before, pointer = tmp_path / "mcp.json", old(), "/mcpServers/a/env/TOKEN"
        secret = before.secret.reveal()
        path.write_text(f'{{ // kept\n"mcpServers": {{"a": {{"env": {{"TOKEN": "{secret}",}}}}}}}}')

        def reading() -> Delivered:
            found = find(document(path.read_bytes(), "mcp.json"), pointer)
            assert found is not None
            return Delivered(secret=Secret(found.value))

        return SinkPlace(
            sink=ConfigSink(Folders([tmp_path])),
            again=lambda: ConfigSink(Folders([tmp_path])),
            location=f"file://{path}#{pointer}",
            before=before,
            reading=reading,
            missing=f"file://{tmp_path}/other.json#{pointer}",
        )
