"""What happened to one thing: what was done to it, and what changed about it, newest first."""

from operator import attrgetter

from django.db.models import Model

from access.actors import Actor
from audit.models import AuditEntry
from history.changes import MOST, Change, changes_of


def history_of(row: Model, actor: Actor) -> list[AuditEntry | Change]:
    """Audit entries that the actor may read, and the changes that none of these tells of."""
    entries = list(AuditEntry.objects.visible_to(actor).about(row)[:MOST])
    changes = changes_of(row, [(entry.at, entry.detail) for entry in entries])
    return sorted([*entries, *changes], key=attrgetter("at"), reverse=True)
