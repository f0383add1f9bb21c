"""Bring signed heads and keys to where the database's administrator has no say, and compare the chain with them.

What is missing at a place is found from rows, so that a place that was away gets all of it later. No transaction is
open while a place is asked.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef
from django.utils.functional import cached_property

from access.actors import Actor
from audit.actions import action, record
from audit.chain import Verified, verify
from audit.errors import NotExported, PlaceRefuses
from audit.events import Event
from audit.models import AuditEntry, ChainHead, ChainKey, Export, ExportPlace
from audit.places import Place
from audit.signing import Signed, signed

AT_ONCE = 200  # documents brought to one place before the next place has its turn


def export_due(places: Iterable[Place], *, clock: Callable[[], datetime], actor: Actor) -> int:
    """Bring everything signed to every place; how many documents went. Raises NotExported when a place lacks some."""
    taken, complaints = 0, []
    known = list(places)
    _declare([place.address for place in known], now=clock())
    for place in known:
        row = ExportPlace.objects.get(address=place.address)
        count, error = _bring(place, row, clock=clock)
        taken += count
        _note(row, error, now=clock(), actor=actor)
        if error:
            complaints.append(f"{row.address}: {error}")
    if complaints:
        raise NotExported(f"Chain heads are not exported to {'; '.join(complaints)}")
    return taken


def missing(row: ExportPlace) -> tuple[list[ChainKey], list[ChainHead]]:
    """The oldest keys and heads that a place does not have yet."""
    here = Export.objects.filter(place=row)
    keys = ChainKey.objects.exclude(Exists(here.filter(key=OuterRef("pk")))).order_by("id")
    heads = ChainHead.objects.exclude(Exists(here.filter(head=OuterRef("pk")))).order_by("seq")
    return list(keys[:AT_ONCE]), list(heads[:AT_ONCE])


def _bring(place: Place, row: ExportPlace, *, clock: Callable[[], datetime]) -> tuple[int, str]:
    """How many documents the place took, and the first reason why it did not take one."""
    count, error = 0, ""
    while True:
        keys, heads = missing(row)
        done: list[Export] = []
        waiting: list[ChainKey | ChainHead] = [*keys, *heads]
        for each in waiting:
            document = each.signed()
            try:
                place.put(document.name, document.document())
            except PlaceRefuses as exc:
                error = error or str(exc)
                break
            of = {"key": each} if isinstance(each, ChainKey) else {"head": each}
            done.append(Export(place=row, exported_at=clock(), **of))
        Export.objects.bulk_create(done, ignore_conflicts=True)  # another worker may have brought it too
        count += len(done)
        if error or not done:
            return count, error


def _declare(addresses: list[str], *, now: datetime) -> None:
    rows = [ExportPlace(address=address) for address in addresses]
    ExportPlace.objects.bulk_create(rows, ignore_conflicts=True)
    ExportPlace.objects.filter(address__in=addresses).exclude(retired_at=None).update(retired_at=None)
    ExportPlace.objects.filter(retired_at=None).exclude(address__in=addresses).update(retired_at=now)


@action
def _note(row: ExportPlace, error: str, *, now: datetime, actor: Actor) -> None:
    """Keep how it went. The first failure in a row leaves an audit entry, and so does the end of it."""
    if error and row.failing_since is None:
        record(Event.CHAIN_EXPORT_FAILED, actor=actor, subject=row, detail={"error": error})
        row.failing_since = now
    elif not error:
        if row.failing_since is not None:
            since = row.failing_since.isoformat()
            record(Event.CHAIN_EXPORT_RECOVERED, actor=actor, subject=row, detail={"failing_since": since})
        row.failing_since, row.exported_at = None, now
    row.error = error
    row.save(update_fields=["failing_since", "exported_at", "error"])


@dataclass(frozen=True)
class Comparison:
    """The chain as it stands, held against what was exported."""

    chain: Verified
    documents: Signed
    warnings: list[str]
    gone: list[str]

    @cached_property
    def problem(self) -> str | None:
        if self.chain.broken:
            return self.chain.broken.reason
        if self.gone:
            return f"{self.gone[0]} was exported and is no longer there, one of {len(self.gone)}"
        return self.documents.problem

    @property
    def uncovered(self) -> int:
        """How many entries stand behind the last head."""
        return max(self.chain.seq - (self.documents.last.seq if self.documents.last else 0), 0)


def compare(place: Place, *, trusted: Iterable[bytes] = (), expected: Iterable[str] = ()) -> Comparison:
    """Walk the whole chain once, against every head at a place, where `expected` must be. Raises PlaceRefuses."""
    gone = set(expected)

    def seen() -> Iterator[tuple[str, bytes]]:
        for name, content in place.documents():
            gone.discard(name)
            yield name, content

    documents = signed(seen(), trusted=trusted)
    # What does not hold is no measure of the chain.
    chain = verify(AuditEntry.objects.links(), signed={} if documents.problem else documents.heads)
    return Comparison(chain, documents, place.warnings(), sorted(gone))


def exported_to(place: Place) -> list[str]:
    """The names of what the place has taken, as we remember it."""
    taken = Export.objects.filter(place__address=place.address).select_related("head", "key")
    rows = (row.head or row.key for row in taken.iterator(chunk_size=5_000))
    return [row.signed().name for row in rows if row is not None]


@action
def note_verification(found: Comparison, place: str, *, actor: Actor) -> None:
    """Keep in the chain itself that it was verified, or that it does not hold."""
    detail = {
        "entries": found.chain.count,
        "last": found.chain.seq,
        "heads": len(found.documents.heads),
        "place": place,
        "warnings": found.warnings[:10],
    }
    if found.problem:
        record(Event.CHAIN_FOUND_BROKEN, actor=actor, detail={**detail, "problem": found.problem})
    else:
        record(Event.CHAIN_VERIFIED, actor=actor, detail=detail)
