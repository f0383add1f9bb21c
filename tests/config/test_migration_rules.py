"""What a migration must not do while the release before is still at work."""

import pytest
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently
from django.db import models
from django.db.migrations import operations as ops
from django.db.migrations.loader import MigrationLoader
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint

from config.migration_rules import RELEASED, broken_rules, complaints


@pytest.fixture(scope="module")
def released():
    return MigrationLoader(None).project_state([("inventory", RELEASED["inventory"])])


def said(released, *operations) -> str:
    return "; ".join(complaints(list(operations), released, "inventory"))


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (ops.RemoveField("owner", "email"), "remove it a release later"),
        (ops.RenameField("owner", "email", "mail"), "remove it a release later"),
        (ops.RenameModel("Owner", "Holder"), "remove it a release later"),
        (ops.DeleteModel("Owner"), "remove it a release later"),
        (ops.AddField("owner", "floor", models.IntegerField(default=0)), "give it a db_default"),
        (ops.AlterField("credential", "expires_at", models.DateTimeField()), "tighten it a release later"),
        (ops.AddIndex("owner", Index(fields=["email"], name="x")), "AddIndexConcurrently"),
        (ops.AddConstraint("owner", CheckConstraint(condition=~Q(name=""), name="x")), "not valid"),
        (ops.AddConstraint("owner", UniqueConstraint(fields=["email"], name="x")), "concurrently first"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_stops_the_release_before_is_refused(released, operation, words) -> None:
    assert words in said(released, operation)


@pytest.mark.parametrize(
    "operation",
    [
        ops.AddField("owner", "floor", models.IntegerField(db_default=0)),
        ops.AddField("owner", "floor", models.IntegerField(null=True)),
        ops.CreateModel("Floor", [("id", models.BigAutoField(primary_key=True))]),
        ops.AddIndex("floor", Index(fields=["id"], name="x")),
        AddIndexConcurrently("owner", Index(fields=["email"], name="x")),
        AddConstraintNotValid("owner", CheckConstraint(condition=~Q(name=""), name="x")),
        ops.RunSQL("SELECT 1"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_it_does_not_notice_is_fine(released, operation) -> None:
    assert said(released, operation) == ""


def test_tables_and_rows_are_changed_apart(released) -> None:
    rows = ops.RunPython(ops.RunPython.noop)
    assert "make two of it" in said(released, rows, ops.AddField("owner", "floor", models.IntegerField(null=True)))
    assert said(released, rows) == ""


def test_no_migration_since_the_last_release_breaks_a_rule() -> None:
    assert broken_rules() == []


def test_one_that_does_is_found_unless_it_says_why(monkeypatch) -> None:
    """Judged as if the first ones were all that was released."""
    monkeypatch.setattr("config.migration_rules.RELEASED", {"audit": "0001_initial"})
    assert broken_rules() == []
    monkeypatch.setattr("config.migration_rules.RELEASED", {"inventory": "0001_initial"})
    found = broken_rules()
    assert found
    assert found[0].startswith("inventory.0003_list_indexes: ")
    for key, migration in MigrationLoader(None).disk_migrations.items():
        if key[0] == "inventory":
            monkeypatch.setattr(type(migration), "safe_because", "nobody had it yet", raising=False)
    assert broken_rules() == []
