"""What every test may rely on."""

from typing import Any

import pytest
from django.db.backends.postgresql.operations import DatabaseOperations


@pytest.fixture(autouse=True, scope="session")
def flush_past_the_audit_triggers() -> None:
    """Audit entries refuse TRUNCATE, for raw SQL too. Only this test database may empty them between tests."""
    flush = DatabaseOperations.sql_flush

    def as_replica(self: DatabaseOperations, *args: Any, **kwargs: Any) -> list[str]:
        kwargs["allow_cascade"] = True  # knox keeps an empty table of its own beside ours
        statements = flush(self, *args, **kwargs)
        return ["SET session_replication_role = replica", *statements, "RESET session_replication_role"]

    DatabaseOperations.sql_flush = as_replica  # type: ignore[method-assign]
