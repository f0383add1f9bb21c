"""Tries a connection without listing it: the cheapest call that proves who we are there, within a few seconds."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.db import connections

from inventory.errors import NoFingerprintKey
from inventory.listings import CHECKS, Clock, Place
from inventory.models import Connection
from providers.errors import ProviderError

PATIENCE = 12.0  # seconds that a person waits for the answer
AT_ONCE = 2  # of the web server's few threads; a place that hangs must not take them all

# A check may go on after nobody waits any more, until its own limits end it; it writes nothing.
_pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="check")


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a test, in a sentence."""

    is_good: bool
    sentence: str


def can_check(kind: str) -> bool:
    return kind in CHECKS


def check(kind: str, settings: dict[str, Any], *, clock: Clock, patience: float = PATIENCE) -> Said:
    """Ask the place that these settings describe who we are. What is wrong is said, never raised."""
    look: Callable[[Place], str] = CHECKS[kind]
    # Not a row: what is tried need not be saved.
    connection = Connection(kind=kind, name="test", settings=settings)
    asked = _pool.submit(_asked, look, Place(connection=connection, started_at=clock(), clock=clock))
    try:
        return Said(True, asked.result(patience))
    except TimeoutError:
        if asked.cancel():
            return Said(False, "Other tests are still waiting for their answers. Test it again in a minute.")
        return Said(False, f"It gave no answer within {patience:g} seconds. A run waits longer than that.")
    except (ProviderError, NoFingerprintKey) as exc:
        return Said(False, str(exc))


def _asked(look: Callable[[Place], str], place: Place) -> str:
    """The check, in a thread of the pool, which holds no session with the database between two of them."""
    try:
        return look(place)
    finally:
        connections.close_all()
