"""What was approved, exactly, by a keep, a grant or an admission: it lapses once that is no longer what is there."""

import json
from datetime import datetime
from typing import ClassVar, Self
from uuid import UUID

from django.db import connection as database
from django.db import models, transaction
from django.db.models import Case, F, Q, Value, When

from access.actors import Actor
from inventory.models import Grant, McpClient
from inventory.models.base import AnyOf, Row
from reviews.models.items import ReviewItem
from reviews.models.subjects import IDLE, digest, facts_of
from reviews.states import Reviewed


class ApprovalQuerySet(models.QuerySet["Approval"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        granted = Q(AnyOf("subject_id", Grant.objects.visible_to(actor)), kind=Reviewed.GRANT, item=None)
        admitted = Q(AnyOf("subject_id", McpClient.objects.visible_to(actor)), kind=Reviewed.CLIENT, item=None)
        return self.filter(Q(AnyOf("item_id", ReviewItem.objects.visible_to(actor))) | granted | admitted)

    def standing(self) -> Self:
        return self.filter(ended_at=None)

    def as_at(self, moment: datetime) -> Self:
        """Those that had been given by then, each with how it stood: an approval is only ever ended, and once."""
        had_ended = Q(ended_at__lte=moment)
        return self.filter(approved_at__lte=moment).annotate(
            ended_then=Case(When(had_ended, then=F("ended_at"))),
            lapsed_then=Case(When(had_ended, then=F("is_lapsed")), default=Value(False)),
            difference_then=Case(When(had_ended, then=F("difference")), default=Value({}, models.JSONField())),
        )


class Approval(Row):
    """That something was allowed as it was then. One stands for a subject; the next takes its place."""

    item = models.ForeignKey(
        ReviewItem,
        models.PROTECT,
        null=True,
        related_name="+",
        help_text="Null: the grant itself was approved, or the client admitted.",
    )
    kind = models.CharField(max_length=20, choices=Reviewed)
    subject_id = models.UUIDField(help_text="Of the credential, client, grant or server.")
    name = models.CharField(max_length=620)
    digest = models.CharField(max_length=64, help_text="Of what it is bound to, by keys.")
    bound = models.JSONField(help_text="What it is bound to, by names.")
    approved_by = models.CharField(max_length=410)
    approved_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    is_lapsed = models.BooleanField(default=False, help_text="What it was bound to changed.")
    difference = models.JSONField(default=dict, blank=True, help_text="Before and after, by name.")

    objects = ApprovalQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "subject_id"], condition=Q(ended_at=None), name="approval_one_standing_per_subject"
            ),
            models.CheckConstraint(condition=Q(kind__in=Reviewed.values), name="approval_kind_is_known"),
            models.CheckConstraint(
                condition=Q(is_lapsed=False) | Q(ended_at__isnull=False), name="approval_lapsed_has_ended"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["subject_id", "-id"], name="approval_by_subject")]

    def __str__(self) -> str:
        return self.name


def changed_since(kind: str, *, now: datetime) -> list[tuple[UUID, UUID, dict[str, list[object]]]]:
    """Standing approvals of one kind whose subject is not as it was: approval, subject, and what differs."""
    with transaction.atomic(), database.cursor() as cursor:
        # A plan with nested loops is right for ten approvals and takes minutes for ten thousand.
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute("DROP TABLE IF EXISTS review_standing")
        cursor.execute(
            """
            CREATE TEMP TABLE review_standing ON COMMIT DROP AS
            SELECT a.id AS approval, a.subject_id AS id, a.digest, a.bound FROM reviews_approval a
            WHERE a.ended_at IS NULL AND a.kind = %s""",
            [Reviewed(kind).value],
        )
        cursor.execute("ANALYZE review_standing")
        cursor.execute(
            f"""
            SELECT a.approval, a.id, coalesce((
              SELECT jsonb_object_agg(b.key, jsonb_build_array(b.value, n.facts -> b.key)) FROM jsonb_each(a.bound) b
              WHERE b.value IS DISTINCT FROM n.facts -> b.key), '{{}}')::text
            FROM ({facts_of(kind, "IN (SELECT r.id FROM review_standing r)")}) n
            JOIN review_standing a ON a.id = n.id
            WHERE {digest("n.bound")} <> a.digest ORDER BY a.approval""",
            {"now": now, "idle_since": now - IDLE},
        )
        found = cursor.fetchall()
        cursor.execute("SET LOCAL enable_nestloop = on")
        cursor.execute("DROP TABLE review_standing")
    return [(approval, subject, json.loads(said)) for approval, subject, said in found]
