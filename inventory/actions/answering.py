"""What people answer when they are asked whether they answer for things: yes, somebody else does, or no.

Whoever is asked answers by signing in. Where nobody signs in as them, as for a team, a reviewer records what they said,
with the reason; the entry says who recorded it.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection as database

from access.actors import Actor, ActorKind
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.actions.asking import in_line, lock_things, pass_on, resize, tell_of
from inventory.actions.ownership import give
from inventory.actions.terms import Terms
from inventory.errors import AlreadyAnswered, AnswerNeedsReason, HandOverRefused, NotAsked, NothingLeft, OwnerInactive
from inventory.models import Credential, McpClient, McpServer, Owner, OwnershipQuestion, Tenure
from inventory.states import SERVER_PARTS, Part, QuestionState, Stage

MOST_HAND_OVERS = 3
_BEGUN = """
WITH over AS (
  UPDATE inventory_tenure t SET ended_at = %(now)s WHERE t.question_id = %(question)s AND t.ended_at IS NULL
  RETURNING t.part, t.subject_id, t.gap_since, t.accepted_at
)
INSERT INTO inventory_tenure (part, subject_id, owner_id, begun_at, gap_since, accepted_at, ask_at, question_id)
SELECT o.part, o.subject_id, %(owner)s, %(now)s,
  CASE WHEN o.accepted_at IS NULL THEN o.gap_since ELSE %(now)s END, %(accepted_at)s, %(ask_at)s, %(next)s
FROM over o
"""


def answerers(question: OwnershipQuestion) -> list[Owner]:
    """Who may answer: whoever is asked; what is quarantined, whoever is in line for it."""
    if question.is_open:
        return [question.asked]
    if question.state != QuestionState.QUARANTINED:
        return []
    people = [question.asked, *(in_line(question.owner, stage) for stage in Stage)]
    return list(dict.fromkeys(each for each in people if each is not None and each.is_active))


def speaks_for(actor: Actor, person: Owner) -> bool:
    """Whether this actor answers as `person`: as themselves, or a reviewer for somebody as whom nobody signs in."""
    if person.user_id is not None:
        return actor.kind is ActorKind.USER and person.user_id == actor.user_id
    return actor.kind is ActorKind.USER and actor.may_everywhere(Right.RECORD_OWNER)


def answerer(question: OwnershipQuestion, actor: Actor) -> Owner | None:
    """As whom this actor may answer; themselves before others."""
    mine = [each for each in answerers(question) if speaks_for(actor, each)]
    return min(mine, key=lambda each: each.user_id is None, default=None)


def _held(question: OwnershipQuestion, actor: Actor, *states: QuestionState) -> tuple[OwnershipQuestion, Owner]:
    rows = OwnershipQuestion.objects.select_related("owner__deputy", "owner__manager", "asked")
    (row,) = in_order(rows.filter(pk=question.pk))
    if row.state not in states:
        raise AlreadyAnswered
    person = answerer(row, actor)
    if person is None:
        raise NotAsked
    return row, person


@action
def accept(question: OwnershipQuestion, *, actor: Actor, now: datetime, terms: Terms, reason: str = "") -> int:
    """Answer for all that is left of it from now on; for how many things. Whoever is not its owner takes it over.

    Of what is quarantined, whoever is in line takes back what nobody else has taken. Raises NotAsked, AlreadyAnswered,
    OwnerInactive, NothingLeft, and AnswerNeedsReason where a reviewer records it.
    """
    row, person = _held(question, actor, QuestionState.OPEN, QuestionState.QUARANTINED)
    if not person.is_active:
        raise OwnerInactive(person)
    if person.user_id is None and not reason.strip():
        raise AnswerNeedsReason
    things = Tenure.objects.open().filter(question=row)
    number = things.count()
    if not number:
        raise NothingLeft
    ask_at = now + terms.holds_for
    if row.is_open and person == row.owner:
        things.filter(accepted_at=None).update(accepted_at=now)
        things.update(ask_at=ask_at, question=None)
    else:
        said = reason or f"{person.name} accepted it."
        _give(row, person, actor, said)
        _begin_tenures(row, person, now, accepted_at=now, ask_at=ask_at, question=None)
    detail = {"by": person.name, "things": number, "reason": reason}
    _end(row, QuestionState.ACCEPTED, actor, now, reason)
    record(Event.OWNERSHIP_ACCEPTED, actor=actor, subject=row, detail=detail)
    return number


@action
def hand_over(
    question: OwnershipQuestion, to: Owner, *, actor: Actor, now: datetime, terms: Terms, reason: str
) -> OwnershipQuestion:
    """Say that somebody else answers for it: it is in their name from now on, and they are asked; the new question.

    Raises NotAsked, AlreadyAnswered, NothingLeft, OwnerInactive, HandOverRefused and AnswerNeedsReason.
    """
    if not reason.strip():
        raise AnswerNeedsReason
    row, person = _held(question, actor, QuestionState.OPEN)
    if not to.is_active:
        raise OwnerInactive(to)
    if to in {person, row.owner} or row.hand_overs >= MOST_HAND_OVERS:
        raise HandOverRefused
    if not Tenure.objects.open().filter(question=row).exists():
        raise NothingLeft
    made = OwnershipQuestion(
        owner=to, asked=to, opened_at=now, asked_at=now, answer_by=now + terms.answer_within[Stage.OWNER],
        follows=row, hand_overs=row.hand_overs + 1,
    )  # fmt: skip
    made.save(force_insert=True)
    _give(row, to, actor, reason)
    _begin_tenures(row, to, now, accepted_at=None, ask_at=now, question=made.pk)
    _end(row, QuestionState.HANDED_OVER, actor, now, reason)
    with database.cursor() as cursor:
        resize(cursor, [made.pk])
    made.refresh_from_db(fields=["size"])
    detail = {"from": person.name, "to": to.name, "things": made.size, "reason": reason}
    record(Event.OWNERSHIP_PASSED_ON, actor=actor, subject=row, detail=detail)
    tell_of(made, actor)
    return made


@action
def decline(question: OwnershipQuestion, *, actor: Actor, now: datetime, terms: Terms, reason: str) -> str:
    """Say that one does not answer for it: the next in line is asked, or it is quarantined; which of the two."""
    if not reason.strip():
        raise AnswerNeedsReason
    row, _ = _held(question, actor, QuestionState.OPEN)
    row.answered_by, row.answered_by_key, row.reason = actor.label[:200], actor.key, reason
    (became,) = pass_on([(row, f"Declined: {reason}")], actor=actor, now=now, terms=terms)
    return became


def _end(row: OwnershipQuestion, state: QuestionState, actor: Actor, now: datetime, reason: str) -> None:
    row.state, row.ended_at, row.reason = state, now, reason
    row.answered_by, row.answered_by_key = actor.label[:200], actor.key
    row.save()


def _begin_tenures(
    row: OwnershipQuestion,
    owner: Owner,
    now: datetime,
    *,
    accepted_at: datetime | None,
    ask_at: datetime,
    question: UUID | None,
) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            _BEGUN,
            {
                "question": row.pk, "owner": owner.pk, "now": now, "accepted_at": accepted_at, "ask_at": ask_at,
                "next": question,
            },
        )  # fmt: skip


def _give(row: OwnershipQuestion, to: Owner, actor: Actor, reason: str) -> None:
    """Put what is left of a question into somebody's name, one entry for each thing."""
    with database.cursor() as cursor:
        lock_things(cursor, [row.pk])
    held: dict[str, dict[UUID, UUID | None]] = {}
    left = Tenure.objects.open().filter(question=row)
    for part, subject, owner in left.values_list("part", "subject_id", "owner_id"):
        held.setdefault(part, {})[subject] = owner
    if Part.CLIENT in held:
        clients = _still(McpClient.objects.select_related("owner"), held[Part.CLIENT], "owner")
        give(clients, "owner", to, event=Event.CLIENT_OWNER_ASSIGNED, actor=actor, reason=reason)
    for part in SERVER_PARTS:
        if part in held:
            servers = _still(McpServer.objects.select_related(part.value), held[part], part.value)
            detail: dict[str, Any] = {"as": part.value}
            give(servers, part.value, to, event=Event.SERVER_OWNER_ASSIGNED, actor=actor, reason=reason, **detail)
    if Part.CREDENTIAL in held:
        credentials = _still(Credential.objects.select_related("owner"), held[Part.CREDENTIAL], "owner")
        give(credentials, "owner", to, event=Event.CREDENTIAL_OWNER_ASSIGNED, actor=actor, reason=reason)


def _still(rows: Any, held: dict[UUID, UUID | None], field: str) -> list[Any]:
    """Those that are still in the name in which they were asked about: what somebody else has by now stays theirs."""
    found = rows.filter(pk__in=list(held)).order_by("pk")
    return [row for row in found if getattr(row, f"{field}_id") == held[row.pk]]
