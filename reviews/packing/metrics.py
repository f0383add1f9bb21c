"""The measures of a pack, counted while their rows are written: each number can be counted again from its list."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection as database
from django.db.models import Count

from inventory.states import Verdict
from lifecycle.actions.evaluation import TABLES
from lifecycle.actions.judging import Judged, at_full_speed, judged, never_compiled
from lifecycle.models import Finding
from lifecycle.models.asked import asked_now
from lifecycle.rules import RULES, Subject
from reviews.controls import MEASURES, WINDOW, Measure, Standing, Tally
from reviews.measured import ROWS
from reviews.packing.archive import Archive
from reviews.packing.copying import guarded, rows_of

EVERY = 20_000  # rows from one word of progress to the next
SUBJECTS = [subject for subject in Subject if any(rule.subject is subject for rule in RULES.values())]
Counts = dict[str, Counter[str]]
Progress = Callable[[str], None]


def write_measures(archive: Archive, now: datetime, progress: Progress) -> dict[str, Tally]:
    """A list for each kind of subject with a verdict for each of its rules, and one for each other measure."""
    counts: Counts = {}
    with database.cursor() as cursor:
        never_compiled(cursor)
        with at_full_speed(cursor):
            asked = asked_now()
            for subject in SUBJECTS:
                progress(f"verdicts on {subject.value}s")
                with judged(cursor, subject, asked, now, rules=_slugs(subject), is_graded=False) as found:
                    counts |= _write_rules(archive, found, progress)
    for slug, select in ROWS.items():
        progress(f"measure {slug.replace('-', ' ')}")
        counts |= _write_own(archive, slug, select, now, progress)
    waived = dict(
        Finding.objects.waived().order_by().values("rule").annotate(number=Count("pk")).values_list("rule", "number")
    )
    return {slug: _tally(counts.get(slug, Counter()), waived.get(slug, 0), now) for slug in MEASURES}


def _slugs(subject: Subject) -> list[str]:
    return [rule.slug for rule in RULES.values() if rule.subject is subject]


def _tally(counted: Counter[str], waived: int, now: datetime) -> Tally:
    violated = counted[Verdict.VIOLATED]
    return Tally(counted[Verdict.MET], violated, counted[Verdict.UNKNOWN], min(waived, violated), now)


def _write_rules(archive: Archive, found: Judged, progress: Progress) -> Counts:
    verdicts = ", ".join(
        f"""CASE WHEN ({found.applies(rule)}) IS NOT TRUE THEN '{Verdict.NOT_APPLICABLE.value}'
                 WHEN ({rule.violated}) IS TRUE THEN '{Verdict.VIOLATED.value}'
                 WHEN ({rule.unknown}) IS TRUE THEN '{Verdict.UNKNOWN.value}'
                 ELSE '{Verdict.MET.value}' END"""
        for rule in found.rules
    )
    select = f"""
        SELECT v.id::text, {guarded("t.name::text")}, {verdicts}
        FROM subject_facts v JOIN {TABLES[found.subject]} t ON t.id = v.id ORDER BY v.id
    """
    slugs = [rule.slug for rule in found.rules]
    return _write(archive, f"{found.subject.value}s", slugs, select=select, values=found.values, progress=progress)


def _write_own(archive: Archive, slug: str, select: str, now: datetime, progress: Progress) -> Counts:
    ordered = f"SELECT r.id, {guarded('r.name::text')}, r.verdict FROM ({select}) r ORDER BY r.id"
    values = {"now": now, "since": now - WINDOW}
    return _write(archive, slug, [slug], select=ordered, values=values, progress=progress)


def _write(
    archive: Archive, name: str, slugs: Sequence[str], *, select: str, values: Mapping[str, Any], progress: Progress
) -> Counts:
    said: Counter[bytes] = Counter()  # how often each row of verdicts stands there: few are different
    with archive.member(f"measures/{name}.csv") as member:
        member.write(",".join(["id", "name", *slugs]) + "\n")
        number = 0
        for number, row in enumerate(rows_of(select, dict(values), form="csv"), 1):
            said[row[len(row.rsplit(b",", len(slugs))[0]) :]] += 1
            member.write(row)
            if not number % EVERY:
                progress(f"verdicts on {name}, {number} rows")
        member.rows = number
    counts: Counts = {slug: Counter() for slug in slugs}
    for verdicts, times in said.items():
        for slug, verdict in zip(slugs, verdicts.decode().strip(",\n").split(","), strict=True):
            counts[slug][verdict] += times
    return counts


def place_of(measure: Measure) -> tuple[str, str]:
    """The list that a measure is counted from, and its column there."""
    rule = RULES.get(measure.rule)
    return (f"measures/{rule.subject.value}s.csv" if rule else f"measures/{measure.slug}.csv"), measure.slug


def said_of(measure: Measure, tally: Tally) -> dict[str, Any]:
    path, column = place_of(measure)
    return {
        "id": measure.slug,
        "name": measure.name,
        "subject": measure.subject,
        "population": measure.population,
        "violated_when": measure.violated,
        "unknown_when": measure.unknown,
        "formula": measure.formula,
        "threshold": measure.threshold,
        "list": path,
        "column": column,
        "rule": measure.rule or None,
        "met": tally.met,
        "violated": tally.violated,
        "unknown": tally.unknown,
        "waived": tally.waived,
        "share": tally.share,
        "verdict": measure.verdict(tally).value,
    }


def control_said(found: Standing) -> dict[str, Any]:
    control = found.control
    return {
        "id": control.id,
        "title": control.title,
        "asks": control.asks,
        "verdict": found.verdict.value,
        "measures": [each.measure.slug for each in found.answers],
        "measures_met": found.met,
        "measures_applicable": len(found.applicable),
        "exceptions": found.exceptions,
        "not_measured": control.gap,
        "sp800_53": list(control.sp800_53),
        "replaces": list(control.replaces),
        "owasp": list(control.owasp),
    }
