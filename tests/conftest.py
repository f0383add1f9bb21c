"""What more than one package of tests uses."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations
from pytest_django.plugin import DjangoDbBlocker

from history.kept import KEPT
from tests.authorization_server import authorization_server, lax_authorization_server
from tests.demo_servers import demo_servers
from tests.embedded import STRICT, migrated_template, short_folder
from tests.examples import examples

# Fixtures of another module, and what loads the profile of properties before any of them is read.
__all__ = ["authorization_server", "demo_servers", "examples", "lax_authorization_server"]

# What migrations put into the tables; a test that commits would else leave them empty for the next one.
SEEDED = (
    "auth_group",
    "history_beginning",
    "inventory_environment",
    "lifecycle_policy",
    "lifecycle_policyversion",
    "lifecycle_waivercap",
)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Before any test database: what it is copied from."""
    migrated_template()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """The test database, with a copy of what its migrations put there."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS seed")
        for table in SEEDED:
            cursor.execute(f"CREATE TABLE IF NOT EXISTS seed.{table} AS TABLE public.{table}")


@pytest.fixture(scope="session", autouse=True)
def database_first(request: pytest.FixtureRequest) -> None:
    """Beside another process the test database is made at once: its template must not be in use by then."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        request.getfixturevalue("django_db_setup")


@pytest.fixture(scope="session", autouse=True)
def tables_can_be_emptied() -> Iterator[None]:
    """The audit tables refuse to be truncated, which is how Django empties tables after a test with transactions.

    Django's own way of restoring rows keeps them with a connection object, and a browser's event loop has another one.
    """
    flush, statements = DatabaseOperations.execute_sql_flush, DatabaseOperations.sql_flush

    def flush_and_restore(self: DatabaseOperations, sql_list: list[str]) -> None:
        restore = [f"INSERT INTO public.{table} TABLE seed.{table}" for table in SEEDED]
        forget = [f"DELETE FROM history.{it.table}" for it in KEPT.values()]  # mostly empty: quicker than to truncate
        flush(self, ["SET LOCAL session_replication_role = replica", *sql_list, *forget, *restore])

    def cascading(self: DatabaseOperations, *args: Any, **kwargs: Any) -> list[str]:
        return statements(self, *args, **{**kwargs, "allow_cascade": True})  # knox keeps an empty table beside ours

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "execute_sql_flush", flush_and_restore)
        patch.setattr(DatabaseOperations, "sql_flush", cascading)
        yield


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty folder with a path short enough for a database."""
    folder = short_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


# What takes seconds each, because it starts programs and waits for them.
LONG = ("journeys", "browser", "config/test_up.py", "demo")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What starts programs comes first: begun last it would run on one process while the other has nothing left.

    What is marked as long stands back, unless it is asked for by its file's name or nothing may be left out.
    """
    folder = Path(__file__).parent
    items.sort(key=lambda item: not item.path.relative_to(folder).as_posix().startswith(LONG))
    if STRICT or config.option.markexpr:
        return
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args}
    left_out = [item for item in items if item.get_closest_marker("long") and item.path not in named]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
