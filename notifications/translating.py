"""The audit chain as events, from where a stream has got to: OCSF of every entry, tokens of those that are a signal.

Apps above this one say what they know: `expand` what one entry stands for (an evaluation for all its findings), `add`
what goes beside one, `signal` which entries are signals. All are declared at the start, as kinds of notices are.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db.models import Max

from audit.events import Event
from audit.models import AuditEntry
from audit.sentences import detail_line, title
from notifications import ocsf
from notifications.models import EventStream
from notifications.sets import Signal

READ = 500  # entries at once

# Of one entry, behind `within` and so many at most: events, and how far that is; "" when there is nothing more.
Expansion = Callable[[AuditEntry, str, int], tuple[list[dict[str, Any]], str]]
# Of several entries: what each gives rise to, by its number.
Signals = Callable[[Sequence[AuditEntry]], Mapping[int, Sequence[Signal]]]
Additions = Callable[[Sequence[AuditEntry]], Mapping[int, Sequence[dict[str, Any]]]]
R = TypeVar("R")

EXPANSIONS: dict[str, Expansion] = {}
ADDITIONS: dict[str, Additions] = {}
SIGNALS: dict[str, Signals] = {}


def expand(event: Event, expansion: Expansion) -> None:
    EXPANSIONS[event.value] = expansion


def add(events: Iterable[Event], additions: Additions) -> None:
    """What stands beside the events of these entries."""
    for event in events:
        ADDITIONS[event.value] = additions


def signal(events: Iterable[Event], signals: Signals) -> None:
    for event in events:
        SIGNALS[event.value] = signals


@dataclass(frozen=True, slots=True)
class Taken:
    """What comes next, and where a stream is once its receiver has taken it."""

    events: list[dict[str, Any]]
    seq: int
    within: str

    @property
    def name(self) -> str:
        return f"{self.seq}.{self.within}"


@dataclass(frozen=True, slots=True)
class Token:
    """A signal and the link of the chain that says it."""

    signal: Signal
    seq: int
    digest: bytes


def source() -> ocsf.Source:
    return ocsf.Source(settings.VERSION, settings.ESTATE_NAME, settings.PUBLIC_URL)


def next_events(stream: EventStream, most: int) -> Taken | None:
    """The next events of OCSF, `most` of them or a few more; None when there is nothing."""
    seq, within, found = stream.seq, stream.within, list[dict[str, Any]]()
    us = source()
    entries = list(AuditEntry.objects.filter(seq__gt=seq).order_by("seq")[: min(most, READ)])
    beside = _asked(ADDITIONS, entries)
    for entry in entries:
        if entry.event in EXPANSIONS:
            more, within = EXPANSIONS[entry.event](entry, within, most - len(found))
            found += more
            if within:
                break
        found += [ocsf.of_entry(as_entry(entry), us), *beside.get(entry.seq, ())]
        seq, within = entry.seq, ""
        if len(found) >= most:
            break
    return Taken(found, seq, within) if entries else None


def next_tokens(stream: EventStream) -> tuple[list[Token], int] | None:
    """The signals among the next entries, and the last entry that was looked at; None when there is nothing."""
    entries = list(AuditEntry.objects.filter(seq__gt=stream.seq).order_by("seq")[:READ])
    if not entries:
        return None
    found = _asked(SIGNALS, entries)
    wanted = set(stream.signals)
    tokens = [
        Token(each, entry.seq, bytes(entry.hash))
        for entry in entries
        for each in found.get(entry.seq, ())
        if each.type.value in wanted
    ]
    return tokens, entries[-1].seq


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a stream is behind the chain: so many entries, the oldest of which is that old."""

    entries: int
    since: datetime | None


def lags(streams: Iterable[EventStream]) -> dict[UUID, Lag]:
    """Of any number of streams in two statements."""
    known = list(streams)
    last = AuditEntry.objects.aggregate(last=Max("seq"))["last"] or 0
    following = AuditEntry.objects.filter(seq__in={each.seq + 1 for each in known})
    written = dict(following.values_list("seq", "at"))
    return {each.pk: Lag(max(last - each.seq, 0), written.get(each.seq + 1)) for each in known}


def _asked(
    declared: Mapping[str, Callable[[Sequence[AuditEntry]], Mapping[int, Sequence[R]]]], entries: Sequence[AuditEntry]
) -> dict[int, Sequence[R]]:
    """Everybody who knows of some of the entries is asked once, for all of those."""
    by_whom: dict[Any, list[AuditEntry]] = defaultdict(list)
    for entry in entries:
        if entry.event in declared:
            by_whom[declared[entry.event]].append(entry)
    found: dict[int, Sequence[R]] = {}
    for asked, some in by_whom.items():
        found |= asked(some)
    return found


def as_entry(row: AuditEntry) -> ocsf.Entry:
    words = detail_line(row.detail, row.event)
    said = " · ".join(part for part in (title(row.event), row.subject_label, words) if part)
    return ocsf.Entry(
        seq=row.seq,
        at=row.at,
        event=row.event,
        digest=bytes(row.hash),
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        actor_label=row.actor_label,
        subject_kind=row.subject_kind,
        subject_id=row.subject_id,
        subject_label=row.subject_label,
        detail=row.detail,
        said=said,
    )
