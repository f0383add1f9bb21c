"""Many operations asked for at once: a kill switch, a leaver, a choice by hand; or a drill of one, without effect."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q

from access.actors import Actor
from inventory.models import Credential, McpClient, McpServer, Owner
from inventory.models.base import Row
from lifecycle.states import (
    BATCH_CLOSED,
    BatchKind,
    BatchState,
    ItemState,
    OperationKind,
    Suggestion,
)


class BatchQuerySet(models.QuerySet["Batch"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_everything else self.filter(requested_by_key=actor.key)

    def open(self) -> Self:
        return self.filter(ended_at=None)


class Batch(Row):
    """What was asked for, over which scope, who approved it, and what came of it."""

    kind = models.CharField(max_length=20, choices=BatchKind)
    state = models.CharField(max_length=20, choices=BatchState)
    operation_kind = models.CharField(max_length=20, choices=OperationKind, default=OperationKind.REVOCATION)
    is_drill = models.BooleanField(default=False, help_text="Rehearsed: nothing is asked of any provider.")
    is_urgent = models.BooleanField(default=False)
    scope = models.JSONField(help_text='What it reaches: {"kind": "server", "id": …, "label": …}.')
    scope_key = models.CharField(max_length=200, blank=True, help_text="The scope in one word, to find others of it.")
    size = models.PositiveIntegerField(default=0, help_text="How many things are in it.")
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="+", help_text="The leaver it was decided in."
    )
    needs_approval = models.BooleanField(default=False)
    approval_reason = models.TextField(blank=True, help_text="Why a second person approves.")
    preview = models.JSONField(default=dict, help_text="What it was expected to reach, when it was asked for.")
    report = models.JSONField(default=dict, help_text="What came of it.")
    reason = models.TextField()
    requested_by = models.CharField(max_length=200)
    requested_by_key = models.CharField(max_length=200)
    requested_at = models.DateTimeField()
    idempotency_key = models.CharField(max_length=200, blank=True)
    decided_by = models.CharField(max_length=200, blank=True)
    decided_by_key = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.TextField(blank=True)
    begun_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    halted_reason = models.TextField(blank=True)
    decide_by = models.DateTimeField(null=True, blank=True, help_text="When what nobody decided escalates.")
    escalated_at = models.DateTimeField(null=True, blank=True)
    digest = models.CharField(max_length=64, blank=True, help_text="Of the report, once it is closed.")

    objects = BatchQuerySet.as_manager()

    class Meta(Row.Meta):
        verbose_name_plural = "batches"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(kind__in=BatchKind.values), name="batch_kind_is_known"),
            models.CheckConstraint(condition=Q(state__in=BatchState.values), name="batch_state_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=BATCH_CLOSED, ended_at__isnull=False)
                | ~Q(state__in=BATCH_CLOSED) & Q(ended_at=None),
                name="batch_ended_exactly_when_closed",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="batch_has_a_reason"),
            models.CheckConstraint(
                condition=Q(decided_by_key="") | ~Q(decided_by_key=F("requested_by_key")),
                name="batch_decided_by_somebody_else",
            ),
            models.CheckConstraint(
                condition=Q(begun_at=None) | Q(needs_approval=False) | ~Q(decided_by_key=""),
                name="batch_begun_only_when_approved",
            ),
            models.CheckConstraint(
                condition=Q(is_drill=False) | Q(needs_approval=False), name="batch_drill_needs_no_approval"
            ),
            models.UniqueConstraint(
                fields=["requested_by_key", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="batch_one_per_idempotency_key",
            ),
            models.UniqueConstraint(
                fields=["scope_key"],
                condition=Q(kind=BatchKind.LEAVER, parent=None, ended_at=None),
                name="batch_one_open_per_leaver",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=Q(ended_at=None), name="batch_open"),
            models.Index(fields=["scope_key", "-id"], name="batch_by_scope"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} over {self.scope.get('label') or 'what was chosen'}"


class BatchItemQuerySet(models.QuerySet["BatchItem"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(batch__in=Batch.objects.visible_to(actor).order_by().values("pk"))


class BatchItem(Row):
    """One thing in a batch: a credential to revoke or rotate; or, of a leaver, what they answered for.

    Its operation is asked for once: an item that has begun names it, so whoever goes on after a crash sees the rest.
    """

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="+", db_index=False)
    credential = models.ForeignKey(Credential, models.CASCADE, null=True, blank=True, related_name="+")
    server = models.ForeignKey(McpServer, models.CASCADE, null=True, blank=True, related_name="+")
    client = models.ForeignKey(McpClient, models.CASCADE, null=True, blank=True, related_name="+")
    part = models.CharField(max_length=30, blank=True, help_text="As what the leaver answered for it.")
    state = models.CharField(max_length=20, choices=ItemState, default=ItemState.WAITING)
    rank = models.PositiveSmallIntegerField(default=0, help_text="What begins first: the least critical environment.")
    is_late = models.BooleanField(default=False, help_text="It appeared behind the scope after this was asked for.")
    suggestion = models.CharField(max_length=20, choices=Suggestion, blank=True)
    suggested_owner = models.ForeignKey(Owner, models.SET_NULL, null=True, blank=True, related_name="+")
    operation = models.ForeignKey("lifecycle.Operation", models.PROTECT, null=True, blank=True, related_name="+")
    asked_in = models.ForeignKey(Batch, models.PROTECT, null=True, blank=True, related_name="+")
    said = models.TextField(blank=True, help_text="Why there is nothing to do, or to whom it was handed over.")
    decided_by = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = BatchItemQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["batch", "credential", "server", "client", "part"],
                nulls_distinct=False,
                name="batch_item_is_unique",
            ),
            models.CheckConstraint(
                condition=Q(credential__isnull=False, server=None, client=None)
                | Q(credential=None, server__isnull=False, client=None)
                | Q(credential=None, server=None, client__isnull=False),
                name="batch_item_is_of_one_thing",
            ),
            models.CheckConstraint(condition=Q(state__in=ItemState.values), name="batch_item_state_is_known"),
            models.CheckConstraint(
                condition=Q(suggestion="") | Q(suggestion__in=Suggestion.values), name="batch_item_suggestion_is_known"
            ),
            models.CheckConstraint(
                condition=Q(state=ItemState.OPENED, operation__isnull=False)
                | ~Q(state=ItemState.OPENED) & Q(operation=None),
                name="batch_item_opened_has_its_operation",
            ),
            models.CheckConstraint(
                condition=~Q(state=ItemState.SKIPPED) | ~Q(said=""), name="batch_item_skipped_says_why"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["batch", "id"], name="batch_item_by_batch"),
            models.Index(
                fields=["batch", "rank", "id"], condition=Q(state=ItemState.WAITING), name="batch_item_waiting"
            ),
        ]

    def __str__(self) -> str:
        return str(self.subject)

    @property
    def subject(self) -> Credential | McpServer | McpClient | None:
        return self.credential or self.server or self.client
