"""What is said about findings, and to whom: composed set-based into the outbox, in the transaction that marks it told.

A critical finding that nobody was told of is found by an index, not by a call of the evaluation: an evaluation that
dies after its commit leaves nothing untold, and one that opens a hundred thousand is told in a few statements.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.models import Count, F, Window
from django.db.models.functions import RowNumber
from django.urls import reverse

from access.roles import Role, held
from audit.actions import action
from inventory.states import Severity
from lifecycle import kinds
from lifecycle.models import Finding, Snapshot, Waiver
from lifecycle.models.findings import NOBODY, FindingQuerySet
from lifecycle.states import COUNTED, ENDS_SOON
from notifications.actions.outbox import Message, post
from notifications.mail import is_on
from notifications.models import Endpoint, Recipient
from notifications.models.recipients import roles_of
from notifications.rhythms import next_digest
from notifications.states import Rhythm, Timing
from notifications.texts import one_line
from web.wording import plural

BURST = 5  # critical findings at once for one receiver, each in a notice of its own; more are told in one
LISTED = 10  # of a section, or of a burst; the others are a number and a link
BATCH = 100  # findings in one payload
MOST_BATCHES = 50  # of payloads at once for one endpoint
RECIPIENTS = 100  # whose digests are composed in one transaction
CHUNK = 500
SOON = timedelta(days=7)
FIGURES_FROM = 7  # o'clock, UTC
OPEN_QUERY = "&".join(f"state={state.value}" for state in COUNTED)

# As the index of the untold has it, and of what is at least so severe.
_UNTOLD = """
resolved_at IS NULL AND severity >= 3 AND told_severity < severity
AND severity >= %(least)s AND state = ANY (%(counted)s)
"""
_ANY_UNTOLD = f"SELECT EXISTS (SELECT 1 FROM lifecycle_finding WHERE {_UNTOLD})"
_TOLD = """
CREATE TEMPORARY TABLE finding_told (
    id uuid, severity smallint, before smallint, opened_at timestamptz, owner_id uuid, assigned_to_id uuid
) ON COMMIT DROP
"""
# What another worker is telling this moment is skipped; what an evaluation changes this moment is told the next time.
_TELL = f"""
WITH untold AS (
    SELECT id, told_severity FROM lifecycle_finding WHERE {_UNTOLD}
    FOR NO KEY UPDATE SKIP LOCKED
), told AS (
    UPDATE lifecycle_finding f SET told_severity = f.severity FROM untold u WHERE f.id = u.id
    RETURNING f.id, f.severity, u.told_severity, f.opened_at, f.owner_id, f.assigned_to_id
)
INSERT INTO finding_told SELECT * FROM told
"""
_FOR_PEOPLE = """
SELECT who, count(*), (array_agg(id ORDER BY opened_at, id))[1:%(most)s]
FROM (SELECT id, opened_at, owner_id AS who FROM finding_told WHERE severity = 4
      UNION SELECT id, opened_at, assigned_to_id FROM finding_told WHERE severity = 4) told
WHERE who IS NOT NULL GROUP BY who
"""
# Opened or raised since the endpoint listens, or told before as something less.
_FOR_ENDPOINT = """
SELECT t.id, count(*) OVER () FROM finding_told t
WHERE t.severity >= %(least)s
  AND (t.opened_at >= %(since)s OR t.before > 0 OR EXISTS (
      SELECT 1 FROM lifecycle_findingchange c
      WHERE c.finding_id = t.id AND c.changed_at >= %(since)s AND c.severity > c.severity_before))
ORDER BY t.severity DESC, t.opened_at, t.id LIMIT %(most)s
"""
# Each finding stands in the first section that fits it. Counts are of all, rows are the first of each section.
_DIGEST = """
SELECT recipient, section, id, total FROM (
    SELECT r.id AS recipient, x.section, x.id,
           count(*) OVER (PARTITION BY r.id, x.section) AS total,
           row_number() OVER (PARTITION BY r.id, x.section ORDER BY x.severity DESC, x.due_at, x.id) AS place
    FROM unnest(%(ids)s::uuid[], %(owners)s::uuid[], %(since)s::timestamptz[], %(least)s::int[], %(severe)s::bool[],
                %(open)s::bool[]) AS r (id, owner_id, since, least, severe, open)
    CROSS JOIN LATERAL (
        SELECT f.id, f.severity, f.due_at,
               CASE WHEN r.severe AND f.severity = 4 THEN 'severe'
                    WHEN NOT r.open THEN NULL
                    WHEN f.due_at < %(now)s THEN 'overdue'
                    WHEN f.due_at < %(soon)s THEN 'soon'
                    WHEN f.opened_at > r.since THEN 'new' END AS section
        FROM lifecycle_finding f
        WHERE f.resolved_at IS NULL AND f.state = ANY (%(counted)s) AND f.severity >= r.least
          AND ({owner} = r.owner_id OR f.assigned_to_id = r.owner_id)
    ) x WHERE x.section IS NOT NULL
) placed WHERE place <= %(most)s ORDER BY recipient, section, place
""".format(owner=f"COALESCE(f.owner_id, '{NOBODY}'::uuid)")  # as the index of owners has it
_SECTIONS = ("severe", "overdue", "soon", "new")


# ── At once ────────────────────────────────────────────────────────────────────────────────────


@action
def tell_severe(now: datetime) -> int:
    """Tell of critical findings that nobody was told of, opened so or raised to it; how many notices that makes.

    Owner and assignee are told by mail, endpoints by webhook. What is told is marked in the same transaction.
    """
    endpoints = list(Endpoint.objects.listening(kinds.SEVERE.slug))
    least = min([Severity.CRITICAL.value, *(max(each.least_severity, Severity.HIGH) for each in endpoints)])
    values: dict[str, Any] = {"least": least, "counted": list(COUNTED)}
    with database.cursor() as cursor:
        cursor.execute(_ANY_UNTOLD, values)
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(_TOLD)
        cursor.execute(_TELL, values)
        cursor.execute(_FOR_PEOPLE, {"most": LISTED})
        told: list[tuple[UUID, int, list[UUID]]] = cursor.fetchall() if is_on() else []
        wanted = [(endpoint, _ids_for(endpoint, cursor)) for endpoint in endpoints]
        cursor.execute("DROP TABLE finding_told")
    number = 0
    for chunk in _chunks(told, CHUNK):
        number += len(post(_to_people(chunk, now), now=now))
    for endpoint, (ids, total) in wanted:
        for place, batch in enumerate(_chunks(ids, BATCH)):
            left = total - (place * BATCH + len(batch)) if (place + 1) * BATCH >= len(ids) else 0
            number += len(post([_to_endpoint(endpoint, batch, total, left, now)], now=now))
    return number


def _ids_for(endpoint: Endpoint, cursor: Any) -> tuple[list[UUID], int]:
    """The first of what an endpoint is to be told, and how many there are in all."""
    since, most = endpoint.listens_since, BATCH * MOST_BATCHES
    cursor.execute(_FOR_ENDPOINT, {"least": endpoint.least_severity, "since": since, "most": most})
    rows = cursor.fetchall()
    return [row[0] for row in rows], rows[0][1] if rows else 0


def _to_people(told: Sequence[tuple[UUID, int, list[UUID]]], now: datetime) -> Iterator[Message]:
    recipients = {
        each.owner_id: each for each in Recipient.objects.with_people().filter(owner__in=[t[0] for t in told])
    }
    findings = _loaded(pk for _, _, ids in told for pk in ids)
    for owner_id, count, ids in told:
        recipient = recipients.get(owner_id)
        if recipient is None or not recipient.address or recipient.wants(kinds.SEVERE.slug) != Timing.IMMEDIATELY:
            continue
        of_theirs = [findings[pk] for pk in ids if pk in findings]
        if count <= BURST:
            for finding in of_theirs:
                yield _severe(recipient, [finding], 1, f"{finding.pk}", now)
        elif of_theirs:
            yield _severe(recipient, of_theirs, count, f"{count} at {now.isoformat()}", now)


def _severe(recipient: Recipient, findings: Sequence[Finding], count: int, what: str, now: datetime) -> Message:
    first = findings[0]
    subject = f"Critical: {first.name}, {first.subject}" if count == 1 else f"{count} critical findings need you"
    data = {
        "items": [_for_people(finding, now) for finding in findings],
        "count": count,
        "more": count - len(findings),
        "path": _list_of(recipient, "severity=critical"),
    }
    key = f"{kinds.SEVERE.slug} {recipient.pk} {what}"
    return Message(kind=kinds.SEVERE.slug, key=key, subject=subject, data=data, recipient=recipient)


def _to_endpoint(endpoint: Endpoint, ids: Sequence[UUID], total: int, left: int, now: datetime) -> Message:
    findings = _loaded(ids)
    data = {
        "findings": [_for_programs(findings[pk]) for pk in ids if pk in findings],
        "count": total,
        "more": left,
    }
    key = f"{kinds.SEVERE.slug} {endpoint.pk} {ids[0]} {now.isoformat()}"
    return Message(
        kind=kinds.SEVERE.slug, key=key, subject=plural(len(ids), "severe finding"), data=data, endpoint=endpoint
    )


# ── Digests ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Shared:
    """What every reader of one role is told alike, counted once for all of their digests."""

    requested: dict[str, Any] | None
    unsynced: dict[str, Any] | None
    unowned: dict[str, Any] | None


@action
def compose_digests(now: datetime) -> tuple[int, int]:
    """Compose the digests that are due, RECIPIENTS at most; how many people were looked at, and how many are told.

    One a day for each, whatever happens twice: the day is part of the key. An empty one is not made.
    """
    if not is_on():
        return 0, 0
    due = (
        Recipient.objects.due(now)
        .order_by("digest_due_at", "pk")
        .select_for_update(skip_locked=True, of=("self",), no_key=True)
    )
    recipients = list(due.with_people()[:RECIPIENTS])
    if not recipients:
        return 0, 0
    roles = roles_of([person.pk for each in recipients if (person := each.person)])
    shared = _shared(now)
    owned = _of_owners(recipients, now)
    messages = []
    for recipient in recipients:
        sections = [*owned[recipient.pk], *_of_roles(recipient, roles, shared)]
        if sections and recipient.address:
            messages.append(_digest(recipient, sections, now))
        recipient.digested_at = now
        recipient.digest_due_at = next_digest(recipient.rhythm, recipient.hour, now)
    told = post(messages, now=now)
    Recipient.objects.bulk_update(recipients, ["digested_at", "digest_due_at"])
    return len(recipients), len(told)


def _digest(recipient: Recipient, sections: list[dict[str, Any]], now: datetime) -> Message:
    subject = ", ".join(section["said"] for section in sections)
    return Message(
        kind=kinds.DIGEST.slug,
        key=f"{kinds.DIGEST.slug} {recipient.pk} {now:%Y-%m-%d}",
        subject=subject[:1].upper() + subject[1:],
        data={"sections": sections, "on": f"{now.day} {now:%B %Y}", "name": one_line(recipient)},
        recipient=recipient,
    )


def _of_owners(recipients: Sequence[Recipient], now: datetime) -> dict[UUID, list[dict[str, Any]]]:
    """What each answers for or works on, in sections."""
    owners = [each for each in recipients if each.owner_id]
    found: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    if not owners:
        return found
    since = {each.pk: each.digested_at or now - _period(each) for each in owners}
    with database.cursor() as cursor:
        cursor.execute(
            _DIGEST,
            {
                "ids": [each.pk for each in owners],
                "owners": [each.owner_id for each in owners],
                "since": list(since.values()),
                "least": [each.least_severity for each in owners],
                "severe": [each.wants(kinds.SEVERE.slug) != Timing.OFF for each in owners],
                "open": [each.wants(kinds.OPEN.slug) != Timing.OFF for each in owners],
                "now": now,
                "soon": now + SOON,
                "counted": list(COUNTED),
                "most": LISTED,
            },
        )
        rows = cursor.fetchall()
    findings = _loaded(row[2] for row in rows)
    placed: dict[tuple[UUID, str], list[dict[str, Any]]] = defaultdict(list)
    totals: dict[tuple[UUID, str], int] = {}
    for recipient, section, pk, total in rows:
        totals[recipient, section] = total
        if pk in findings:
            placed[recipient, section].append(_for_people(findings[pk], now))
    waivers = _waivers_ending([each for each in owners if each.wants(kinds.WAIVERS_ENDING.slug) != Timing.OFF], now)
    for recipient in owners:
        for section in _SECTIONS:
            if total := totals.get((recipient.pk, section)):
                title, said, query = _words(section, total, since[recipient.pk], now)
                items = placed[recipient.pk, section]
                found[recipient.pk].append(_section(title, said, items, total, _list_of(recipient, query)))
        if waivers[recipient.pk]:
            found[recipient.pk].append(waivers[recipient.pk])
    return found


def _words(section: str, total: int, since: datetime, now: datetime) -> tuple[str, str, str]:
    """A section's title, its part of the subject, and the filter of its list."""
    match section:
        case "severe":
            return "Critical", f"{total} critical", "severity=critical"
        case "overdue":
            return "Past due", f"{total} past due", "overdue=true"
        case "soon":
            before = f"{now + SOON:%Y-%m-%dT%H:%M:%SZ}"
            return "Due within a week", f"{total} due within a week", f"overdue=false&due_before={before}"
        case _:
            after = f"{since:%Y-%m-%dT%H:%M:%SZ}"
            return f"New since {since.day} {since:%B}", f"{total} new", f"opened_after={after}"


def _waivers_ending(recipients: Sequence[Recipient], now: datetime) -> dict[UUID, dict[str, Any]]:
    """By recipient: the waivers of their findings that end soon. Nothing where there are none."""
    found: dict[UUID, dict[str, Any]] = defaultdict(dict)
    by_owner = {each.owner_id: each for each in recipients}
    ending = Waiver.objects.ending_before(now + ENDS_SOON).filter(ends_at__gt=now, finding__owner__in=list(by_owner))
    mine = F("finding__owner")
    placed = ending.annotate(
        total=Window(Count("pk"), partition_by=[mine]),
        place=Window(RowNumber(), partition_by=[mine], order_by=["ends_at", "pk"]),
    ).filter(place__lte=LISTED)
    rows = list(placed.order_by("finding__owner", "place").values_list("finding", "ends_at", "finding__owner", "total"))
    findings = _loaded(row[0] for row in rows)
    items: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for finding_id, ends_at, owner_id, total in rows:
        recipient = by_owner[owner_id]
        if finding_id in findings:
            item = {**_for_people(findings[finding_id], now), "when": f"the waiver ends {_day(ends_at)}"}
            items[recipient.pk].append(item)
        said = f"{plural(total, 'waiver')} {'ends' if total == 1 else 'end'} soon"
        path = f"{reverse('waiver_list')}?ending_soon=true"
        found[recipient.pk] = _section("Waivers that end within 14 days", said, items[recipient.pk], total, path)
    return found


def _shared(now: datetime) -> _Shared:
    unsynced = Finding.objects.open().filter(rule="connection-not-synced")
    unowned = Finding.objects.open().owned_by(None).filter(severity=Severity.CRITICAL, connection=None, job=None)
    return _Shared(
        requested=_requested(now),
        unsynced=_first(
            unsynced, ("Connections not synced", "connection", "not synced"), "rule=connection-not-synced", now
        ),
        unowned=_first(
            unowned, ("Critical and without an owner", "critical finding", "without an owner"), "severity=critical", now
        ),
    )


def _first(findings: FindingQuerySet, words: tuple[str, str, str], query: str, now: datetime) -> dict[str, Any] | None:
    """The first of what nobody in particular answers for, by a title, a noun and what is so of it."""
    total = findings.count()
    if not total:
        return None
    title, noun, what = words
    shown = findings.with_subjects().order_by("-severity", "due_at", "pk")[:LISTED]
    items = [_for_people(finding, now) for finding in shown]
    path = f"{reverse('finding_list')}?{OPEN_QUERY}&{query}"
    return _section(title, f"{plural(total, noun)} {what}", items, total, path)


def _requested(now: datetime) -> dict[str, Any] | None:
    """Waivers that somebody asked for and nobody has decided, the longest waiting first."""
    waiting = Waiver.objects.requested()
    total = waiting.count()
    if not total:
        return None
    rows = list(waiting.order_by("requested_at", "pk").values_list("finding", "requested_by")[:LISTED])
    findings = _loaded(row[0] for row in rows)
    items = [
        {**_for_people(findings[pk], now), "when": f"asked for by {one_line(who, 80)}"}
        for pk, who in rows
        if pk in findings
    ]
    path = f"{reverse('waiver_list')}?state=requested"
    return _section("Waivers to decide", f"{plural(total, 'waiver')} to decide", items, total, path)


def _of_roles(recipient: Recipient, roles: Mapping[int, frozenset[Role]], shared: _Shared) -> Iterator[dict[str, Any]]:
    """What somebody decides about who may: nothing for who holds no such role now."""
    person = recipient.person
    may = held(roles.get(person.pk, frozenset())) if person else frozenset()
    for kind, section in (
        (kinds.WAIVERS_REQUESTED, shared.requested),
        (kinds.UNOWNED, shared.unowned),
        (kinds.UNSYNCED, shared.unsynced),
    ):
        if section and kind.roles & may and recipient.wants(kind.slug) != Timing.OFF:
            yield section


# ── The day's figures ──────────────────────────────────────────────────────────────────────────


@action
def tell_figures(now: datetime) -> int:
    """Tell endpoints that ask for them how the estate stands, once a day; how many were told now."""
    endpoints = list(Endpoint.objects.listening(kinds.FIGURES.slug))
    day = Snapshot.objects.filter(taken_on=now.date()).first() if endpoints and now.hour >= FIGURES_FROM else None
    if day is None:
        return 0
    data = {
        "on": day.taken_on.isoformat(),
        "counted_at": _instant(day.taken_at),
        "open": {"critical": day.critical, "high": day.high, "medium": day.medium, "low": day.low},
        "overdue": day.overdue,
        "waived": day.waived,
        "orphans": day.orphans,
        "credentials": day.credentials,
        "servers": day.servers,
    }
    figures = (
        Message(
            kind=kinds.FIGURES.slug,
            key=f"{kinds.FIGURES.slug} {endpoint.pk} {day.taken_on}",
            subject=f"Figures of {day.taken_on}",
            data=data,
            endpoint=endpoint,
        )
        for endpoint in endpoints
    )
    return len(post(figures, now=now))


# ── Words ──────────────────────────────────────────────────────────────────────────────────────


def _section(title: str, said: str, items: Sequence[Mapping[str, Any]], total: int, path: str) -> dict[str, Any]:
    return {
        "title": title,
        "said": said,
        "rows": list(items),
        "count": total,
        "more": total - len(items),
        "path": path,
    }


def _for_people(finding: Finding, now: datetime) -> dict[str, Any]:
    """A finding as a mail tells it: every text of others made one harmless line."""
    return {
        "title": one_line(finding.title_now(now), 300),
        "rule": finding.name,
        "subject": one_line(finding.subject, 120),
        "about": finding.subject_kind.value,
        "severity": finding.get_severity_display(),
        "when": _due(finding, now),
        "path": reverse("finding_detail", args=[finding.pk]),
    }


def _for_programs(finding: Finding) -> dict[str, Any]:
    """A finding as a payload tells it; docs/notifications.md says what each means."""
    return {
        "id": str(finding.pk),
        "rule": finding.rule,
        "name": finding.name,
        "severity": Severity(finding.severity).name.lower(),
        "raised_by": list(finding.raised_by),
        "state": finding.state,
        "subject": {
            "kind": finding.subject_kind.value,
            "id": str(finding.subject_id),
            "name": one_line(finding.subject, 200),
        },
        "owner": {"id": str(finding.owner_id), "name": one_line(finding.owner, 200)} if finding.owner else None,
        "controls": list(finding.controls),
        "opened_at": _instant(finding.opened_at),
        "due_at": _instant(finding.due_at),
        "path": reverse("finding_detail", args=[finding.pk]),
    }


def _loaded(ids: Iterable[UUID]) -> dict[UUID, Finding]:
    return Finding.objects.with_subjects().select_related("owner").in_bulk(list(dict.fromkeys(ids)))


def _list_of(recipient: Recipient, query: str) -> str:
    """The list that shows all of it: a person's own, whatever else they may see, and a team's by its name."""
    whose = "mine=true" if recipient.person else f"owner={recipient.owner_id}"
    return f"{reverse('finding_list')}?{OPEN_QUERY}&{query}&{whose}"


def _due(finding: Finding, now: datetime) -> str:
    late = now - finding.due_at
    if late > timedelta(0):
        return f"{plural(late.days, 'day')} late" if late.days else "late since today"
    return f"due {_day(finding.due_at)}"


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b}, {at:%H:%M} UTC"


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _period(recipient: Recipient) -> timedelta:
    return timedelta(days=7 if recipient.rhythm == Rhythm.WEEKLY else 1)


def _chunks(rows: Sequence[Any], size: int) -> Iterator[list[Any]]:
    left = iter(rows)
    while chunk := list(islice(left, size)):
        yield chunk
