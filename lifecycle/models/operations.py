"""Rotations and revocations as rows that move through the steps of a plan, with the journal of every try."""

from datetime import datetime
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Exists, F, OuterRef, Q

from access.actors import Actor
from history.kept import kept
from inventory.models import Connection, Credential, CredentialVersion, McpClient, Owner
from inventory.models.base import AnyOf, Row
from lifecycle.models.batches import Batch
from lifecycle.models.policies import Policy
from lifecycle.states import (
    CLOSED,
    TIMED,
    Acknowledged,
    AttemptOutcome,
    OperationKind,
    OperationState,
    Proof,
    Step,
    Trigger,
)


class OperationQuerySet(models.QuerySet["Operation"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(AnyOf("credential_id", Credential.objects.visible_to(actor)))

    def open(self) -> Self:
        return self.filter(closed_at=None)

    def needing_somebody(self) -> Self:
        """Nothing goes on before a person did something: stalled, proposed, waiting without an end, or unverified."""
        waits = Q(state=OperationState.WAITING, due_at=None, closed_at=None)
        asks = Q(state__in=[OperationState.STALLED, OperationState.PROPOSED], closed_at=None)
        return self.filter(waits | asks | Q(proof=Proof.UNVERIFIABLE, verify_by__isnull=False))

    def due(self, now: datetime) -> Self:
        """Their next step is due, and no worker is taking it."""
        return self.open().filter(due_at__lte=now).exclude(lease_until__gt=now)

    def to_look_at(self, now: datetime) -> Self:
        """Ended ones of which somebody asked that their provider be asked once more, and no worker is at it."""
        paused = ProviderLoad.objects.filter(connection=OuterRef("connection"), paused_until__gt=now)
        return self.filter(look_at__lte=now).exclude(lease_until__gt=now).exclude(Exists(paused))

    def running(self, now: datetime) -> Self:
        return self.open().filter(lease_until__gt=now)


class Operation(Row):
    """One rotation or revocation of one credential. Holds no secret.

    `due_at` is when a worker goes on by itself; a stalled or proposed one, and one that waits for a person, has none.
    """

    kind = models.CharField(max_length=20, choices=OperationKind)
    credential = models.ForeignKey(Credential, models.PROTECT, related_name="+", db_index=False)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+", db_index=False)
    state = models.CharField(max_length=20, choices=OperationState, default=OperationState.PENDING)
    step = models.CharField(max_length=20, choices=Step)
    is_rolling_back = models.BooleanField(default=False)
    proof = models.CharField(max_length=20, choices=Proof, default=Proof.NONE)
    proof_reason = models.TextField(blank=True, help_text="What was seen, or why nobody can tell.")
    verify_by = models.DateTimeField(null=True, blank=True, help_text="By when somebody looks at an unverifiable one.")
    look_at = models.DateTimeField(
        null=True, blank=True, help_text="When a worker asks once more whether an unverifiable one is refused."
    )
    is_urgent = models.BooleanField(default=False)
    by_hand = models.BooleanField(default=False, help_text="Nobody can be asked for it; a person does the steps.")
    trigger = models.CharField(max_length=20, choices=Trigger, default=Trigger.PERSON)
    reason = models.TextField()
    requested_by = models.CharField(max_length=200)
    requested_by_key = models.CharField(max_length=200)
    requested_at = models.DateTimeField()
    decided_by = models.CharField(max_length=200, blank=True, help_text="Who approved or declined a proposed one.")
    decided_at = models.DateTimeField(null=True, blank=True)
    assigned_to = models.ForeignKey(
        Owner, models.SET_NULL, null=True, blank=True, related_name="+", help_text="Who sees to it."
    )
    policy = models.ForeignKey(Policy, models.PROTECT, null=True, blank=True, related_name="+")
    batch = models.ForeignKey(Batch, models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    supersedes = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="+")
    idempotency_key = models.CharField(max_length=200, blank=True)
    old_version = models.ForeignKey(CredentialVersion, models.PROTECT, null=True, blank=True, related_name="+")
    new_version = models.ForeignKey(CredentialVersion, models.PROTECT, null=True, blank=True, related_name="+")
    overlap = models.DurationField(help_text="How long both work, at least while consumers have not moved.")
    extended_until = models.DateTimeField(
        null=True, blank=True, help_text="Until when a person gave consumers time; somebody is asked again then."
    )
    quiet = models.DurationField(help_text="How long the old version is suspended before it is destroyed.")
    step_at = models.DateTimeField(help_text="At this step since.")
    due_at = models.DateTimeField(null=True, blank=True)
    waits_for = models.TextField(blank=True, help_text="What it waits for, in a sentence.")
    attempts = models.PositiveIntegerField(default=0, help_text="At this step.")
    error = models.TextField(blank=True, help_text="What the last failure said, without secrets.")
    known_use_at = models.DateTimeField(
        null=True, blank=True, help_text="Last use of the old version that was known when it was suspended."
    )
    blast_radius = models.JSONField(default=dict, help_text="Which clients and servers used it, when it began.")
    refused_at = models.DateTimeField(null=True, blank=True, help_text="When the old secret was first seen refused.")
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    stalled_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_reason = models.TextField(blank=True)

    objects = OperationQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["credential"], condition=Q(closed_at=None), name="operation_one_open_per_credential"
            ),
            models.UniqueConstraint(
                fields=["requested_by_key", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="operation_one_per_idempotency_key",
            ),
            models.CheckConstraint(
                condition=Q(state__in=CLOSED, closed_at__isnull=False) | ~Q(state__in=CLOSED) & Q(closed_at=None),
                name="operation_closed_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=Q(due_at=None) | Q(state__in=TIMED), name="operation_due_only_when_it_goes_on_by_itself"
            ),
            models.CheckConstraint(
                condition=~Q(state=OperationState.PENDING) | Q(due_at__isnull=False), name="operation_pending_is_due"
            ),
            models.CheckConstraint(
                condition=Q(state=OperationState.STALLED, stalled_at__isnull=False)
                | ~Q(state=OperationState.STALLED) & Q(stalled_at=None),
                name="operation_stalled_since_exactly_when_stalled",
            ),
            models.CheckConstraint(
                condition=Q(lease_token=None, lease_until=None)
                | Q(lease_token__isnull=False, lease_until__isnull=False),
                name="operation_lease_has_token_and_end",
            ),
            models.CheckConstraint(
                condition=Q(look_at=None) | Q(state=OperationState.COMPLETED, proof=Proof.UNVERIFIABLE),
                name="operation_looked_at_only_while_unverifiable",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="operation_has_a_reason"),
            models.CheckConstraint(
                condition=~Q(state=OperationState.COMPLETED) | ~Q(proof__in=[Proof.NONE, Proof.EXECUTED]),
                name="operation_completed_says_how_it_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(proof__in=[Proof.VERIFIED, Proof.UNVERIFIABLE]) | ~Q(proof_reason=""),
                name="operation_proof_has_words",
            ),
            *(
                models.CheckConstraint(condition=Q((f"{field}__in", known.values)), name=f"operation_{field}_is_known")
                for field, known in (
                    ("kind", OperationKind),
                    ("state", OperationState),
                    ("step", Step),
                    ("proof", Proof),
                    ("trigger", Trigger),
                )
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["connection", "-is_urgent", "due_at"],
                condition=Q(due_at__isnull=False),
                name="operation_due_there",
            ),
            models.Index(fields=["connection", "lease_until"], condition=Q(closed_at=None), name="operation_open"),
            models.Index(fields=["credential", "-id"], name="operation_by_credential"),
            models.Index(fields=["batch", "id"], condition=Q(batch__isnull=False), name="operation_by_batch"),
            models.Index(fields=["state", "id"], name="operation_by_state"),
            models.Index(fields=["requested_at"], condition=Q(trigger=Trigger.SCHEDULE), name="operation_scheduled"),
            models.Index(
                fields=["verify_by"],
                condition=Q(proof=Proof.UNVERIFIABLE, verify_by__isnull=False),
                name="operation_unverified",
            ),
            models.Index(fields=["look_at"], condition=Q(look_at__isnull=False), name="operation_looks"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.credential}"

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    @property
    def may_be_done_by_hand(self) -> bool:
        """No provider can be asked, or a worker gave up: a person ends the credential where it was issued."""
        is_given_up = self.kind == OperationKind.REVOCATION and self.state == OperationState.STALLED
        return self.by_hand or is_given_up

    def is_running(self, now: datetime) -> bool:
        return self.closed_at is None and self.lease_until is not None and self.lease_until > now

    def state_at(self, now: datetime) -> str:
        """The state as people and the API read it: `running` while a lease is alive."""
        return "running" if self.is_running(now) else str(self.state)


class OfOperationQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(operation__in=Operation.objects.visible_to(actor).order_by().values("pk"))


class StepAttempt(Row):
    """One try at one step: what it was about to do, committed before the provider was asked, and what came of it."""

    operation = models.ForeignKey(Operation, models.CASCADE, related_name="+", db_index=False)
    step = models.CharField(max_length=20, choices=Step)
    number = models.PositiveIntegerField(help_text="Of this operation's attempts, from 1.")
    lease_token = models.UUIDField(editable=False)
    worker = models.CharField(max_length=200, blank=True)
    intent = models.JSONField(default=dict, help_text="What will be done and what was there before; no secret.")
    begun_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, choices=AttemptOutcome, blank=True)
    said = models.TextField(blank=True, help_text="What happened, in plain words.")
    result = models.JSONField(default=dict)

    objects = OfOperationQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["operation", "number"], name="attempt_number_is_unique"),
            models.UniqueConstraint(
                fields=["operation"], condition=Q(ended_at=None), name="attempt_one_under_way_per_operation"
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None, outcome="") | Q(ended_at__isnull=False) & ~Q(outcome=""),
                name="attempt_ended_exactly_with_an_outcome",
            ),
            models.CheckConstraint(
                condition=Q(outcome="") | Q(outcome__in=AttemptOutcome.values), name="attempt_outcome_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.operation_id} at {self.step}"


class Acknowledgement(Row):
    """That one consumer uses the new version of a rotation, and how that is known."""

    operation = models.ForeignKey(Operation, models.CASCADE, related_name="+", db_index=False)
    client = models.ForeignKey(McpClient, models.CASCADE, null=True, blank=True, related_name="+")
    consumer = models.CharField(max_length=300, help_text="The client's name, or what called itself so.")
    how = models.CharField(max_length=20, choices=Acknowledged)
    said_by = models.CharField(max_length=200)
    acknowledged_at = models.DateTimeField()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["operation", "client"],
                condition=Q(client__isnull=False),
                name="acknowledgement_one_per_client",
            ),
            models.UniqueConstraint(
                fields=["operation", "consumer"], condition=Q(client=None), name="acknowledgement_one_per_consumer"
            ),
            models.CheckConstraint(condition=Q(how__in=Acknowledged.values), name="acknowledgement_how_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.consumer} uses the new version"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(AnyOf("credential_id", Credential.objects.visible_to(actor)))


@kept()
class Delivery(Row):
    """Where the new secret of a credential goes: one sink and one place in it, for all its rotations."""

    credential = models.OneToOneField(Credential, models.CASCADE, related_name="+")
    sink = models.CharField(max_length=60, help_text="aws_secrets, file, mcp_config, or that of a plug-in.")
    location = models.TextField(help_text="A reference, in the sink's own form.")
    connection = models.ForeignKey(
        Connection, models.PROTECT, null=True, blank=True, related_name="+", help_text="By whose rights it is written."
    )
    quiet = models.DurationField(null=True, blank=True, help_text="In place of the usual quiet period.")
    set_by = models.CharField(max_length=200)
    set_at = models.DateTimeField()

    objects = DeliveryQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [models.CheckConstraint(condition=~Q(location=""), name="delivery_goes_somewhere")]

    def __str__(self) -> str:
        return self.location


class ProviderLoad(models.Model):
    """How much may be asked of one connection at once, and whether it is left in peace for a while."""

    connection = models.OneToOneField(Connection, models.CASCADE, primary_key=True, related_name="+")
    at_once = models.PositiveIntegerField(default=2, help_text="Operations that workers hold of it at one time.")
    failures = models.PositiveIntegerField(default=0, help_text="Transient ones in a row.")
    is_slow = models.BooleanField(default=False, help_text="Its operations have a queue apart.")
    paused_until = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(at_once__gte=1), name="load_at_least_one_at_once")]

    def __str__(self) -> str:
        return f"load of {self.connection}"


class ProviderMinute(models.Model):
    """What was asked of one connection within a minute (UTC), so that people see that nothing hammers it."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, models.CASCADE, related_name="+", db_index=False)
    minute = models.DateTimeField()
    calls = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["connection", "minute"], name="provider_minute_is_unique"),
            models.CheckConstraint(condition=Q(calls__gte=F("failed")), name="provider_minute_failed_some"),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id} at {self.minute:%H:%M}"
