"""What a listing is: one function per kind of connection that looks once and yields what it sees, batch by batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings

from inventory.discovery.keys import fingerprint_key
from inventory.discovery.listing import Discovered
from inventory.errors import NoFingerprintKey
from inventory.models import Connection

Clock = Callable[[], datetime]
Write = Callable[[], Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A part of what one look brought.

    `done` counts places looked at in this batch, `expected` how many there are in all when that is known. `unread`
    names places whose rows must not be taken for gone. `is_cut_short` says that the listing is not whole in a way
    that names cannot limit: then nothing of the connection is taken for gone. `further` are writes that belong to
    the same look; each runs in the transaction that ends the run and answers with what it counted. A batch holds
    neither secrets nor bodies of answers.
    """

    rows: Sequence[Discovered] = ()
    done: int = 0
    expected: int | None = None
    problems: Sequence[Mapping[str, Any]] = ()
    unread: Sequence[str] = ()
    is_cut_short: bool = False
    further: Sequence[Write] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a listing needs to look: the connection with its settings, and the time by argument."""

    connection: Connection
    started_at: datetime
    clock: Clock

    @property
    def settings(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.connection.settings
        return found

    def fingerprint_key(self) -> bytes:
        """The lasting key of the fingerprints. Raises NoFingerprintKey rather than take every secret for a new one."""
        key, is_kept = fingerprint_key(settings.KEYREEVE_HOME, settings.FINGERPRINT_KEY)
        if not is_kept:
            raise NoFingerprintKey
        return key


# Looks once. Raises `providers.errors.ProviderError` when nothing can be listed, or nothing more.
Listing = Callable[[Place], Iterator[Batch]]
