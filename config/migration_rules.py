"""What a migration must not do, so that the release before goes on working while it runs and after it.

Judged is what came after `RELEASED`, and of that only what touches a table which was there then. Whoever must break a
rule says why: `safe_because = "…"` on the migration; the changelog then says that web servers have to stop for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.contrib.postgres import operations as postgres
from django.db.migrations import operations as ops
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED, CheckConstraint, UniqueConstraint

# The newest migration of each app in the last release. As long as there is none, this line may be moved along.
RELEASED: Mapping[str, str] = {
    "access": "0005_tokens_revoked",
    "audit": "0004_chain_in_bulk",
    "inventory": "0022_deputies",
    "notifications": "0001_outbox",
    "lifecycle": "0051_due_by_connection",
}
GOES = (ops.RemoveField, ops.DeleteModel, ops.RenameField, ops.RenameModel, ops.AlterModelTable)
INDEXES = (ops.AddIndex, ops.RemoveIndex)
CONCURRENT = (postgres.AddIndexConcurrently, postgres.RemoveIndexConcurrently)
BY_HAND = (ops.RunSQL, ops.RunPython)


def complaints(operations: Sequence[Any], state: ProjectState, app: str) -> Iterator[str]:
    """What is wrong with a migration of `app`; `state` is how tables stand before it, of the last release alone."""
    shapes = [each for each in operations if not isinstance(each, BY_HAND)]
    if any(isinstance(each, ops.RunPython) for each in operations) and shapes:
        yield "it changes tables and rows at once: a table stays locked until its rows are done; make two of it"
    for each in operations:
        model = str(getattr(each, "model_name", "") or getattr(each, "old_name", "") or getattr(each, "name", ""))
        found = state.models.get((app, model.lower()))
        if found is None:
            continue
        if isinstance(each, GOES):
            yield f"{each.describe()}: the release before still reads it; stop using it, and remove it a release later"
        elif isinstance(each, ops.AddField):
            field = each.field
            if not field.null and not field.many_to_many and field.db_default is NOT_PROVIDED:
                yield f"{each.describe()}: the release before does not write it; give it a db_default, or null=True"
        elif isinstance(each, ops.AlterField):
            before = found.fields.get(each.name)
            if before is not None and before.null and not each.field.null and each.field.db_default is NOT_PROVIDED:
                yield f"{each.describe()}: the release before leaves it empty; fill it, and tighten it a release later"
        elif isinstance(each, INDEXES) and not isinstance(each, CONCURRENT):
            yield f"{each.describe()}: writes wait until it is built; use {type(each).__name__}Concurrently"
        elif isinstance(each, ops.AddConstraint) and not isinstance(each, postgres.AddConstraintNotValid):
            if isinstance(each.constraint, CheckConstraint):
                yield f"{each.describe()}: every row is read under a lock; add it not valid, validate it next"
            elif isinstance(each.constraint, UniqueConstraint):
                yield f"{each.describe()}: writes wait until it is built; build its index concurrently first"


def broken_rules() -> list[str]:
    """A sentence for each rule that a migration since the last release breaks without saying why."""
    loader = MigrationLoader(None)
    released = list(RELEASED.items())
    state = loader.project_state(released)
    found: list[str] = []
    for app, last in released:
        following = [key for key in loader.disk_migrations if key[0] == app and key[1] > last]
        for key in sorted(following):
            migration = loader.disk_migrations[key]
            if not getattr(migration, "safe_because", ""):
                found += [f"{app}.{key[1]}: {each}" for each in complaints(migration.operations, state, app)]
    return found
