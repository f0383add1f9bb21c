"""Ownership by the clock: follow who stands for what, ask them, pass on what nobody answers, quarantine the rest.

Everything is a row with a date, and every part can run twice, beside itself or not at all: the next run finds what is
left. Questions are claimed with SKIP LOCKED and moved some at a time, so a sweep that dies keeps what it did. What an
estate of a million things costs is one comparison of its owners with the tenures; the rest is by index.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.models import Exists, OuterRef

from access.actors import Actor
from audit.actions import action, despite_deadlocks, in_order, record
from audit.events import Event
from inventory.actions.admission import move
from inventory.actions.terms import Terms
from inventory.models import McpClient, Owner, OwnershipDay, OwnershipQuestion, Tenure
from inventory.models.base import new_keys
from inventory.states import ENDED, Admission, Part, QuestionState, Stage

ACTOR = Actor.system("ownership")
OWNERS_AT_ONCE = 200
QUESTIONS_AT_ONCE = 50  # that are passed on or quarantined in one transaction, and no more things than MANY
GATHERED_WITHIN = timedelta(days=1)  # what comes so soon after a question is part of it
LOOKED_BACK = timedelta(days=90)
MANY = 2_000  # things of one question, from which on it is quicker to go through all that there are

# The table and the column that each part is, in the order in which rows are locked.
PLACES: dict[Part, tuple[str, str]] = {
    Part.CLIENT: ("inventory_mcpclient", "owner_id"),
    Part.IAM_OWNER: ("inventory_mcpserver", "iam_owner_id"),
    Part.PLATFORM_OWNER: ("inventory_mcpserver", "platform_owner_id"),
    Part.APPLICATION_OWNER: ("inventory_mcpserver", "application_owner_id"),
    Part.CREDENTIAL: ("inventory_credential", "owner_id"),
}
_ENDED = ", ".join(f"'{status.value}'" for status in ENDED)
_LIVE = {
    Part.CREDENTIAL: f" AND n.status NOT IN ({_ENDED})",
    Part.CLIENT: f" AND n.admission <> '{Admission.REMOVED.value}'",
}
PRESENT = " UNION ALL ".join(
    f"SELECT '{part.value}' AS part, n.id, n.{column} AS owner_id, n.first_seen_at FROM {table} n"
    f" WHERE n.gone_at IS NULL{_LIVE.get(part, '')}"
    for part, (table, column) in PLACES.items()
)
_ASKED = ("stage", "asked", "asked_at", "answer_by", "passes")
_ANSWERED = ("answered_by", "answered_by_key", "reason")  # by whoever declined
_ONE_AT_A_TIME = "SELECT pg_try_advisory_xact_lock(hashtextextended('keyreeve ownership', 0))"

# What stands otherwise than its tenure says: new, ended, in other hands, accepted by somebody who has left since, or
# quarantined in the name of somebody who is back.
_MOVED = f"""
CREATE TEMP TABLE ownership_moved ON COMMIT DROP AS
SELECT t.id AS tenure, p.part, p.id AS subject, p.owner_id,
  CASE WHEN t.id IS NULL THEN least(p.first_seen_at, %(now)s)
       WHEN t.accepted_at IS NULL THEN t.gap_since
       WHEN NOT o.is_active THEN greatest(least(o.inactive_since, %(now)s), t.accepted_at)
       ELSE %(now)s END AS gap_since
FROM ({PRESENT}) p
FULL JOIN (SELECT * FROM inventory_tenure WHERE ended_at IS NULL) t ON t.subject_id = p.id AND t.part = p.part
LEFT JOIN inventory_owner o ON o.id = t.owner_id
LEFT JOIN inventory_ownershipquestion q ON q.id = t.question_id
WHERE t.id IS NULL OR p.id IS NULL OR p.owner_id IS DISTINCT FROM t.owner_id
   OR t.accepted_at IS NOT NULL AND NOT o.is_active
   OR q.state = '{QuestionState.QUARANTINED.value}' AND o.is_active
"""


@action
def follow(*, now: datetime) -> int:
    """Bring the tenures up to who stands for what, whoever wrote it; how many changed. None beside another one."""
    with database.cursor() as cursor:
        if not _alone(cursor):
            return 0
        cursor.execute("DROP TABLE IF EXISTS ownership_moved")
        cursor.execute("SET LOCAL work_mem = '64MB'")  # so that what is compared need not go through a file
        cursor.execute(_MOVED, {"now": now})
        moved: int = cursor.rowcount
        if moved:
            cursor.execute(
                "UPDATE inventory_tenure t SET ended_at = %s FROM ownership_moved m"
                " WHERE t.id = m.tenure AND t.ended_at IS NULL",
                [now],
            )
            # Who accepted at this moment made the row already.
            cursor.execute(
                """
                INSERT INTO inventory_tenure (part, subject_id, owner_id, begun_at, gap_since, ask_at)
                SELECT m.part, m.subject, m.owner_id, %(now)s, m.gap_since, %(now)s FROM ownership_moved m
                WHERE m.subject IS NOT NULL ON CONFLICT DO NOTHING""",
                {"now": now},
            )
        cursor.execute("DROP TABLE ownership_moved")
    return moved


def _alone(cursor: Any) -> bool:
    """Whether no other sweep is at this now; none begins before this transaction ends."""
    cursor.execute(_ONE_AT_A_TIME)
    return bool(cursor.fetchone()[0])


# ── Asking ─────────────────────────────────────────────────────────────────────────────────────


def ask_all(*, now: datetime, terms: Terms) -> int:
    """Ask everybody of whom something is due; how many questions were opened."""
    asked = 0
    while True:
        owners, opened = ask(now=now, terms=terms)
        asked += opened
        if owners < OWNERS_AT_ONCE:
            return asked


@action
def ask(*, now: datetime, terms: Terms) -> tuple[int, int]:
    """Ask some of the owners of whom something is due, each once about all of it: how many owners, and questions."""
    with database.cursor() as cursor:
        due = _due(now) if _alone(cursor) else {}
    owners = Owner.objects.select_related("deputy", "manager").in_bulk(list(due))
    fresh = _fresh(list(due), now)
    made = [_question(owners[key], is_again, now, terms) for key, is_again in due.items() if key not in fresh]
    # A bulk insert does not give back the keys that the database makes, so they are made before it.
    for question, key in zip(made, new_keys(len(made)), strict=True):
        question.pk = key
    OwnershipQuestion.objects.bulk_create(made)
    questions = {**{row.owner_id: row for row in made}, **fresh}
    _attach([row.pk for row in questions.values()], [key for key, again in due.items() if again], now)
    sizes = dict(OwnershipQuestion.objects.filter(pk__in=[row.pk for row in made]).values_list("pk", "size"))
    for question in made:
        question.size = sizes[question.pk]
        tell_of(question)
    return len(due), len(made)


def _due(now: datetime) -> dict[UUID, bool]:
    """Of whom something is due, and whether that is something that they accepted before."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            SELECT t.owner_id, bool_or(t.accepted_at IS NOT NULL) FROM inventory_tenure t
            WHERE t.ended_at IS NULL AND t.question_id IS NULL AND t.owner_id IS NOT NULL AND t.ask_at <= %s
            GROUP BY 1 ORDER BY 1 LIMIT %s""",
            [now, OWNERS_AT_ONCE],
        )
        return dict(cursor.fetchall())


def _fresh(owners: list[UUID], now: datetime) -> dict[UUID, OwnershipQuestion]:
    """Questions asked just now, which take in what has come since."""
    rows = OwnershipQuestion.objects.open().filter(owner__in=owners, opened_at__gt=now - GATHERED_WITHIN)
    return {row.owner_id: row for row in in_order(rows) if row.is_open and row.asked_at == row.opened_at}


def _question(owner: Owner, is_again: bool, now: datetime, terms: Terms) -> OwnershipQuestion:
    found, passes = None, []
    for stage in Stage:
        person = in_line(owner, stage)
        why = _unfit(person, [])
        if not why and person is not None:
            found = stage, person
            break
        passes.append(_passed_over(stage, person, why, now))
    # Where nobody is in line, it is due at once, and the sweep quarantines it.
    stage, person = found or (Stage.MANAGER, owner)
    answer_by = now + terms.answer_within[stage] if found else now
    return OwnershipQuestion(
        owner=owner, asked=person, stage=stage, is_again=is_again, opened_at=now, asked_at=now, answer_by=answer_by,
        passes=passes,
    )  # fmt: skip


def in_line(owner: Owner, stage: Stage) -> Owner | None:
    return {Stage.OWNER: owner, Stage.DEPUTY: owner.deputy, Stage.MANAGER: owner.manager}[stage]


def _unfit(person: Owner | None, asked: list[str]) -> str:
    """Why this person is passed over; nothing where they are not."""
    if person is None:
        return "There is none."
    if not person.is_active:
        return "They have left."
    return "They were asked already." if str(person.pk) in asked else ""


def _passed_over(stage: Stage, person: Owner | None, why: str, now: datetime) -> dict[str, Any]:
    return {
        "stage": stage.value,
        "owner": str(person.pk) if person else None,
        "name": str(person) if person else None,
        "at": now.isoformat(),
        "why": why,
        "was_asked": False,
    }


def _attach(questions: list[UUID], again: list[UUID], now: datetime) -> None:
    """Put what is due of these owners under their questions: of those asked again, everything they accepted."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            UPDATE inventory_tenure t SET question_id = q.id FROM inventory_ownershipquestion q
            WHERE q.id = ANY (%(questions)s) AND t.owner_id = q.owner_id AND t.ended_at IS NULL
              AND t.question_id IS NULL AND (t.ask_at <= %(now)s OR q.owner_id = ANY (%(again)s))""",
            {"questions": questions, "again": again, "now": now},
        )
        resize(cursor, questions)
        cursor.execute(
            "UPDATE inventory_ownershipquestion q SET is_again = true WHERE q.id = ANY (%s) AND q.owner_id = ANY (%s)"
            " AND NOT q.is_again",
            [questions, again],
        )


def resize(cursor: Any, questions: list[UUID]) -> None:
    cursor.execute(
        """
        UPDATE inventory_ownershipquestion q SET size = n.number FROM (
          SELECT t.question_id, count(*) AS number FROM inventory_tenure t
          WHERE t.question_id = ANY (%(questions)s) AND t.ended_at IS NULL GROUP BY 1) n
        WHERE q.id = n.question_id AND q.size <> n.number""",
        {"questions": questions},
    )


def tell_of(question: OwnershipQuestion, actor: Actor = ACTOR) -> None:
    detail = {
        "asked": question.asked.name,
        "as": question.stage,
        "things": question.size,
        "answer_by": question.answer_by.isoformat(),
    }
    record(Event.OWNERSHIP_ASKED, actor=actor, subject=question, detail=detail)


# ── Passing on ─────────────────────────────────────────────────────────────────────────────────


@action
def settle(*, now: datetime) -> int:
    """End the questions of which nothing is left, as it ended or somebody else has it; how many. What ended them left
    entries of its own."""
    left = Exists(Tenure.objects.open().filter(question=OuterRef("pk")))
    rows = OwnershipQuestion.objects.open().exclude(left).order_by("pk")
    keys = [row.pk for row in rows.select_for_update(skip_locked=True, no_key=True, of=("self",))]
    return OwnershipQuestion.objects.filter(pk__in=keys).update(state=QuestionState.SETTLED, ended_at=now)


def pass_on_all(*, now: datetime, terms: Terms) -> dict[str, int]:
    """Pass on every question that nobody answered by its date; how many, by what became of them."""
    done: dict[str, int] = {"passed_on": 0, "quarantined": 0}
    while became := pass_on_some(now=now, terms=terms):
        for each in became:
            done[each] += 1
    return done


@action
def pass_on_some(*, now: datetime, terms: Terms) -> list[str]:
    """Claim the questions that are due longest and move them, as many as are about so many things as one transaction
    should be; what became of each. None where none is due that nobody else holds."""
    due = OwnershipQuestion.objects.due(now).select_related("asked", "owner__deputy", "owner__manager")
    held = due.order_by("answer_by", "pk").select_for_update(skip_locked=True, no_key=True, of=("self",))
    rows: list[OwnershipQuestion] = []
    for row in held[:QUESTIONS_AT_ONCE]:
        if rows and sum(each.size for each in rows) + row.size > MANY:
            break
        rows.append(row)
    return pass_on([(row, _not_answered(row)) for row in rows], actor=ACTOR, now=now, terms=terms)


def _not_answered(row: OwnershipQuestion) -> str:
    return "They have left." if not row.asked.is_active else "Nobody answered by the date."


def pass_on(rows: Sequence[tuple[OwnershipQuestion, str]], *, actor: Actor, now: datetime, terms: Terms) -> list[str]:
    """Part of an action that holds these questions, each with why it is moved: on to the next in line, else into
    quarantine. What became of each."""
    moved, left, became = [], [], []
    for row, why in rows:
        before, was_asked = row.asked.name, row.answer_by > row.asked_at
        if _next_in_line(row, why, now, terms, was_asked=was_asked):
            detail = {"from": before, "to": row.asked.name, "as": row.stage, "reason": why}
            record(Event.OWNERSHIP_PASSED_ON, actor=actor, subject=row, detail=detail)
            moved.append(row)
            became.append("passed_on")
        else:
            left.append((row, why if was_asked else "Nobody is in line."))
            became.append("quarantined")
    if moved:
        OwnershipQuestion.objects.bulk_update(moved, [*_ASKED, *_ANSWERED])
        with database.cursor() as cursor:
            resize(cursor, [row.pk for row in moved])
    if left:
        _quarantine(left, actor=actor, now=now, terms=terms)
    return became


def _next_in_line(row: OwnershipQuestion, why: str, now: datetime, terms: Terms, *, was_asked: bool) -> bool:
    """Put it to the next in line who can be asked; whether there is one. Who is passed over is written down."""
    stages = list(Stage)
    if was_asked:
        row.passes.append({**_passed_over(Stage(row.stage), row.asked, why, now), "was_asked": True})
    asked = [each["owner"] for each in row.passes if each["was_asked"]]
    for stage in stages[stages.index(Stage(row.stage)) + 1 :]:
        person = in_line(row.owner, stage)
        unfit = _unfit(person, asked)
        if unfit or person is None:
            row.passes.append(_passed_over(stage, person, unfit, now))
            continue
        row.stage, row.asked, row.asked_at, row.answer_by = stage, person, now, now + terms.answer_within[stage]
        return True
    return False


def lock_things(cursor: Any, questions: Sequence[UUID]) -> None:
    """Lock what questions are about, in the order in which everybody does."""
    tables = dict.fromkeys(table for table, _ in PLACES.values())

    def lock() -> None:
        for table in tables:
            parts = [part.value for part, (name, _) in PLACES.items() if name == table]
            cursor.execute(
                f"""
                SELECT 1 FROM {table} n WHERE n.id IN (SELECT t.subject_id FROM inventory_tenure t
                  WHERE t.question_id = ANY (%s) AND t.ended_at IS NULL AND t.part = ANY (%s))
                ORDER BY n.id FOR NO KEY UPDATE""",
                [questions, parts],
            )

    despite_deadlocks(lock)


# Nobody stands for it from now on; the question says who did. What is in the name of somebody who has left stays in it:
# that it is not rotated, revoked or handed over since is a worse finding than that it has no owner.
_TAKEN = """
UPDATE {table} n SET {column} = NULL FROM inventory_tenure t JOIN inventory_owner o ON o.id = t.owner_id
WHERE t.question_id = ANY (%s) AND t.ended_at IS NULL AND t.part = %s AND t.subject_id = n.id
  AND n.{column} = t.owner_id AND o.is_active
"""
_NOBODYS = """
WITH over AS (
  UPDATE inventory_tenure t SET ended_at = %(now)s WHERE t.question_id = ANY (%(questions)s) AND t.ended_at IS NULL
  RETURNING t.part, t.subject_id, t.owner_id, t.gap_since, t.accepted_at, t.question_id
), begun AS (
  INSERT INTO inventory_tenure (part, subject_id, owner_id, begun_at, gap_since, ask_at, question_id)
  SELECT o.part, o.subject_id, w.id, %(now)s, CASE WHEN o.accepted_at IS NULL THEN o.gap_since ELSE %(now)s END,
    %(now)s, o.question_id FROM over o LEFT JOIN inventory_owner w ON w.id = o.owner_id AND NOT w.is_active
  RETURNING part, subject_id, question_id
)
SELECT b.question_id, b.part, count(*), encode(sha256(convert_to(
  string_agg(b.subject_id::text, chr(10) ORDER BY b.subject_id), 'UTF8')), 'hex')
FROM begun b GROUP BY 1, 2 ORDER BY 1, 2
"""


def _quarantine(rows: Sequence[tuple[OwnershipQuestion, str]], *, actor: Actor, now: datetime, terms: Terms) -> None:
    keys = [row.pk for row, _ in rows]
    found: dict[UUID, list[tuple[str, int, str]]] = {}
    with database.cursor() as cursor:
        if sum(row.size for row, _ in rows) > MANY:
            cursor.execute("SET LOCAL enable_nestloop = off")  # else their history takes minutes to write
        lock_things(cursor, keys)
        held_back = _hold_back([row for row, _ in rows], actor, now) if terms.quarantines_clients else {}
        for part, (table, column) in PLACES.items():
            cursor.execute(_TAKEN.format(table=table, column=column), [keys, part.value])
        cursor.execute(_NOBODYS, {"questions": keys, "now": now})
        for question, *told in cursor.fetchall():
            found.setdefault(question, []).append(tuple(told))
        cursor.execute("SET LOCAL enable_nestloop = on")
    for row, why in rows:
        row.state, row.ended_at = QuestionState.QUARANTINED, now
        told = found.get(row.pk, [])
        detail: dict[str, Any] = {
            "from": row.owner.name,
            "to": None,
            "things": {part: number for part, number, _ in told},
            "digests": {part: digest for part, _, digest in told},
            "reason": why,
        }
        if number := held_back.get(row.pk, 0):
            detail["clients_quarantined"] = number
        record(Event.OWNERSHIP_QUARANTINED, actor=actor, subject=row, detail=detail)
    OwnershipQuestion.objects.bulk_update([row for row, _ in rows], ["state", "ended_at", "passes", *_ANSWERED])


def _hold_back(rows: Sequence[OwnershipQuestion], actor: Actor, now: datetime) -> dict[UUID, int]:
    """Have the admitted clients among it looked at again before anybody relies on them; how many of each question."""
    asked = Tenure.objects.open().filter(question__in=rows, part=Part.CLIENT)
    of = dict(asked.values_list("subject_id", "question_id"))
    held: dict[UUID, list[McpClient]] = {}
    for client in McpClient.objects.present().registered().filter(pk__in=list(of), admission=Admission.ADMITTED):
        held.setdefault(of[client.pk], []).append(client)
    return {
        row.pk: move(
            held[row.pk], Admission.QUARANTINED, Event.CLIENT_QUARANTINED,
            actor=actor, now=now, reason=f"Nobody accepted it after {row.owner.name}.",
        )
        for row in rows if row.pk in held
    }  # fmt: skip


# ── How long nobody had accepted ───────────────────────────────────────────────────────────────

_DAY = """
SELECT count(*) FILTER (WHERE t.accepted_at IS NOT NULL),
  count(*) FILTER (WHERE t.accepted_at IS NULL AND t.owner_id IS NOT NULL AND q.state IS DISTINCT FROM 'quarantined'),
  count(*) FILTER (WHERE t.owner_id IS NULL OR q.state = 'quarantined'),
  count(*) FILTER (WHERE q.state = 'quarantined'),
  percentile_cont(0.5) WITHIN GROUP (ORDER BY %(now)s - t.gap_since) FILTER (WHERE t.accepted_at IS NULL),
  percentile_cont(0.9) WITHIN GROUP (ORDER BY %(now)s - t.gap_since) FILTER (WHERE t.accepted_at IS NULL)
FROM inventory_tenure t LEFT JOIN inventory_ownershipquestion q ON q.id = t.question_id WHERE t.ended_at IS NULL
"""
_CLOSED = """
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY t.accepted_at - t.gap_since),
  percentile_cont(0.9) WITHIN GROUP (ORDER BY t.accepted_at - t.gap_since)
FROM inventory_tenure t WHERE t.accepted_at > %(since)s AND t.accepted_at <= %(now)s
"""


@action
def measure_ownership(*, now: datetime) -> OwnershipDay:
    """Bring the figures of today up to `now`. They count what is recorded elsewhere; no entry of their own."""
    with database.cursor() as cursor:
        cursor.execute(_DAY, {"now": now})
        accepted, asked, ownerless, quarantined, open_median, open_p90 = cursor.fetchone()
        cursor.execute(_CLOSED, {"now": now, "since": now - LOOKED_BACK})
        closed, closed_median, closed_p90 = cursor.fetchone()
    row, _ = OwnershipDay.objects.update_or_create(
        taken_on=now.date(),
        defaults={
            "counted_at": now, "accepted": accepted, "asked": asked, "ownerless": ownerless,
            "quarantined": quarantined, "open_median": open_median, "open_p90": open_p90, "closed": closed,
            "closed_median": closed_median, "closed_p90": closed_p90,
        },
    )  # fmt: skip
    return row


def sweep(*, now: datetime, terms: Terms) -> dict[str, int]:
    """Everything about ownership that is due."""
    moved = follow(now=now)
    settled = settle(now=now)
    asked = ask_all(now=now, terms=terms)
    return {"moved": moved, "settled": settled, "asked": asked, **pass_on_all(now=now, terms=terms)}
