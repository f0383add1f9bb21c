"""Rows to list."""

from typing import Any

from access.models import User


def people(*rows: dict[str, Any]) -> list[User]:
    """Users as stand-ins for any listed thing."""
    return User.objects.bulk_create(
        User(**{"username": f"u{i:04}", "email": f"u{i}@example.test", **row}) for i, row in enumerate(rows)
    )
