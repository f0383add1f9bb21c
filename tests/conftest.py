"""What more than one package of tests uses."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.postgresql.operations import DatabaseOperations

from tests.embedded import short_folder


@pytest.fixture(scope="session", autouse=True)
def tables_can_be_emptied() -> Iterator[None]:
    """The audit tables refuse to be truncated, which is how Django empties tables after a test with transactions."""
    flush, statements = DatabaseOperations.execute_sql_flush, DatabaseOperations.sql_flush

    def flush_without_triggers(self: DatabaseOperations, sql_list: list[str]) -> None:
        flush(self, ["SET LOCAL session_replication_role = replica", *sql_list])

    def cascading(self: DatabaseOperations, *args: Any, **kwargs: Any) -> list[str]:
        return statements(self, *args, **{**kwargs, "allow_cascade": True})  # knox keeps an empty table beside ours

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "execute_sql_flush", flush_without_triggers)
        patch.setattr(DatabaseOperations, "sql_flush", cascading)
        yield


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty folder with a path short enough for a database."""
    folder = short_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
