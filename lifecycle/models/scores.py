"""The scores of single credentials with their parts, reckoned from the same facts as the evaluation's."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import connection

from lifecycle.models.asked import asked_now
from lifecycle.rules import Subject
from lifecycle.rules.facts import facts, parameters
from lifecycle.rules.score import DATES, READ, Facts, Score, score
from web.paging import FAR_FUTURE


def facts_of(credentials: Collection[UUID], now: datetime) -> dict[UUID, Facts]:
    """What the score reads of each, in one query under what is asked now; nothing of one that has ended."""
    # A limit beyond the last year that Python knows is still a limit.
    asked = asked_now()
    columns = [f"least(v.{name}, %(far)s) AS {name}" if name in DATES else f"v.{name}" for name in READ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT v.id, {', '.join(columns)} FROM ({facts(Subject.CREDENTIAL, asked, within_scope=True)}) v",
            {**parameters(asked), "scope": list(credentials), "now": now, "far": FAR_FUTURE},
        )
        return {pk: dict(zip(READ, values, strict=True)) for pk, *values in cursor.fetchall()}


def scores_of(credentials: Collection[UUID], now: datetime) -> dict[UUID, Score]:
    return {pk: score(known, now) for pk, known in facts_of(credentials, now).items()}
