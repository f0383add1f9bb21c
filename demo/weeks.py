"""The ten weeks before the demo's first start: demo data, so that trends, due dates and back-tests have a past to show.

Everything here began to run a moment ago, so nothing was seen before. First sightings are put back to where they would
be had somebody looked ten weeks ago; what was rotated since has its earlier version again. Then the real evaluation
and the real snapshot run for one day after the other, while people decide with the real actions. The audit trail alone
cannot be put back: its entries say when they were written.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection as database
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest, Least

from access.actors import Actor
from inventory.actions.asking import measure_ownership, sweep
from inventory.actions.terms import terms
from inventory.models import Credential, CredentialVersion, Exposure, McpClient, McpServer, Use
from inventory.states import CredentialKind, Storage
from lifecycle.actions.evaluation import evaluate
from lifecycle.actions.snapshots import take_snapshot
from reviews.actions.controls import measure_controls

BEGAN = 70  # days ago
# Judged for less than two weeks: nobody resolves much here, and after 14 days all that is high would have escalated.
COUNTED = range(12, 0, -1)
MOST_ROTATED = 24
ROTATED = (CredentialKind.API_KEY, CredentialKind.DATABASE_PASSWORD, CredentialKind.OTHER)
LOCK = "hashtextextended('keyreeve evaluation', 0)"

Decision = Callable[[datetime], None]


@dataclass(frozen=True, slots=True)
class Rotation:
    """A credential whose value was replaced at an instant within the ten weeks."""

    credential: Credential
    at: datetime

    def undo(self, age: timedelta) -> None:
        """As it was before: a value so much older, of which nobody kept a fingerprint."""
        before = self.at - age
        CredentialVersion.objects.filter(credential=self.credential, is_current=True).update(
            issued_at=before, fingerprint=""
        )
        Credential.objects.filter(pk=self.credential.pk).update(issued_at=before)

    def make(self) -> None:
        row = self.credential
        CredentialVersion.objects.filter(credential=row, is_current=True).update(is_current=False)
        CredentialVersion(
            credential=row,
            external_id=row.external_id,
            fingerprint=row.fingerprint,
            hint=row.hint,
            issued_at=self.at,
            first_seen_at=self.at,
        ).save(force_insert=True)
        Credential.objects.filter(pk=row.pk).update(issued_at=self.at)


@contextmanager
def alone() -> Iterator[None]:
    """While nobody else evaluates: a worker would do it at the present, and time never runs back."""
    with database.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({LOCK})")
    try:
        yield
    finally:
        with database.cursor() as cursor:
            cursor.execute(f"SELECT pg_advisory_unlock({LOCK})")


def live_through(
    now: datetime, decisions: Iterable[tuple[int, Decision]], *, actor: Actor, counted: Iterable[int] = COUNTED
) -> None:
    """Ask owners, evaluate and count each day in `counted`, days ago; a decision is made on its day, before the next
    count."""
    rotations = put_back(now)
    waiting = sorted(decisions, key=lambda decision: -decision[0])
    is_first = True
    for days in counted:
        at = now - timedelta(days=days)
        for rotation in [each for each in rotations if each.at <= at]:
            rotation.make()
            rotations.remove(rotation)
        while waiting and waiting[0][0] >= days:
            decided, decide = waiting.pop(0)
            decide(now - timedelta(days=decided))
        sweep(now=at, terms=terms())
        evaluate(at, actor=actor, full=True, clock_was_wrong=is_first)
        take_snapshot(at)
        measure_ownership(now=at)
        measure_controls(at)
        is_first = False
    for rotation in rotations:
        rotation.make()


def put_back(now: datetime) -> list[Rotation]:
    """Put first sightings back, and take the rotations back that were made since; those are returned."""
    began = now - timedelta(days=BEGAN)
    for model in (McpServer, Exposure, Use):
        model.objects.update(first_seen_at=Least(F("first_seen_at"), began))
    for dated in (McpClient, Credential, CredentialVersion):
        dated._default_manager.update(
            first_seen_at=Least(F("first_seen_at"), Greatest(Coalesce(F("issued_at"), began), began))
        )
    rotated = Credential.objects.live().filter(
        storage=Storage.PROVIDER, kind__in=ROTATED, issued_at__gt=began + timedelta(days=7), issued_at__lt=now
    )
    rotations = [Rotation(row, row.issued_at) for row in rotated.order_by("pk")[:MOST_ROTATED] if row.issued_at]
    for number, rotation in enumerate(rotations):
        rotation.undo(timedelta(days=50 + 17 * (number % 8)))
    ids = [rotation.credential.pk for rotation in rotations]
    Credential.objects.filter(pk__in=ids).update(first_seen_at=began)
    CredentialVersion.objects.filter(credential__in=ids).update(first_seen_at=began)
    return rotations
