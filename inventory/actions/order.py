"""The order of locks, so that nobody's decision fails because something else is being written.

Everybody locks findings, then clients, servers and credentials, each in the order of keys, then the chain of audit
entries. A sync cannot: which rows it changes comes out one statement after the other. So no evaluation writes beside
a sync, and what meets a sync the other way round lets go and begins again (`audit.actions.despite_deadlocks`).
"""

from django.db.backends.utils import CursorWrapper

_KEY = "hashtextextended('keyreeve subjects', 0)"


def alone_with_subjects(cursor: CursorWrapper) -> None:
    """Wait until no sync writes, and have none begin before this transaction ends. Before any row is locked."""
    cursor.execute(f"SELECT pg_advisory_xact_lock({_KEY})")


def among_syncs(cursor: CursorWrapper) -> None:
    """Wait until no evaluation writes, and have none begin before this transaction ends. Before any row is locked."""
    cursor.execute(f"SELECT pg_advisory_xact_lock_shared({_KEY})")
