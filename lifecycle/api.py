"""Policies, rules, findings and waivers over REST, read-only; operations and deliveries, to be asked for as well.

Each actor sees what it may, and asks for what its actions allow it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from access.actors import Actor
from access.rights import Right
from history import past
from inventory import api as inventory
from inventory.errors import InventoryError
from inventory.models import Connection, Credential, McpClient, Owner
from lifecycle import batching, filters, progress, serializers, tasks
from lifecycle.actions import batches, by_hand, consumers, deliveries, leavers, requests
from lifecycle.errors import (
    BatchByRequester,
    HoldsSecret,
    LifecycleError,
    NotAnOperator,
    NotAnOperatorOfDeliveries,
    ProposedByRequester,
    ReasonMissing,
)
from lifecycle.models import (
    Acknowledgement,
    Batch,
    BatchItem,
    ChangeFreeze,
    Delivery,
    Finding,
    FindingChange,
    FindingComment,
    FindingLink,
    JobHour,
    JobRun,
    MaintenanceWindow,
    Operation,
    Policy,
    PolicyVersion,
    RuleDay,
    RuleSetting,
    RuleState,
    ScheduledJob,
    Snapshot,
    StepAttempt,
    Waiver,
    reports,
)
from lifecycle.models.findings import mildness, owner_key, place_key
from lifecycle.models.readiness import readiness
from lifecycle.models.scopes import ROWS, Scope
from lifecycle.models.scores import scores_of
from lifecycle.rules import RULES, Rule
from lifecycle.states import Acknowledged, BatchKind, OperationKind, ScopeKind, Suggestion
from lifecycle.tasks import ring_batch
from providers.base import Secret
from web.api import ARRIVAL, DeclaredViewSet, ReadOnlyViewSet, as_body, cleaned
from web.paging import Ordering
from web.schema import NO_CONTENT
from web.writes import CREATED, WritingViewSet, writes

Rows = QuerySet[Any]
REFUSALS: Mapping[type[Exception], int] = {
    NotAnOperator: 403,
    NotAnOperatorOfDeliveries: 403,
    ProposedByRequester: 403,
    ReasonMissing: 400,
    HoldsSecret: 400,
    BatchByRequester: 403,
    LifecycleError: 409,
}
JOURNAL = 200  # tries that one operation tells of itself; `step-attempts` has all of them


class CredentialViewSet(inventory.CredentialViewSet):
    """The inventory's credentials, filtered by policy and finding as well; one of them with its score and readiness."""

    object_class = serializers.CredentialObjectSerializer
    filterset_class = filters.CredentialPageFilter

    def _score_parts(self, pk: UUID) -> list[dict[str, Any]]:
        score = scores_of([pk], past.now()).get(pk)
        return serializers.ScorePartSerializer.of(score) if score else []

    def _readiness(self, pk: UUID) -> dict[str, Any] | None:
        if past.instant() is not None or not Credential.objects.live().filter(pk=pk).exists():
            return None  # what a rotation would need was not kept
        found = readiness([pk], timezone.now()).get(pk)
        return serializers.ReadinessSerializer.of(found) if found is not None else None

    parts: ClassVar = {"score_parts": _score_parts, "readiness": _readiness}


class PolicyViewSet(ReadOnlyViewSet):
    queryset = Policy.objects.all()
    serializer_class = serializers.PolicySerializer
    filterset_class = filters.PolicyFilter
    orderings = (Ordering("priority", ("priority",)), ARRIVAL, Ordering("name", ("name",)))

    def visible(self, actor: Actor) -> Rows:
        return self.queryset.all()

    def _row(self, names: Sequence[str]) -> Any:
        """A sentence names the owners whom a policy binds, and only those who see everything read all their names."""
        sees_everything = self.request.actor.sees_everything  # type: ignore[attr-defined]
        shape = self.serializer_class if sees_everything else serializers.PolicyWithoutNamesSerializer
        return shape.row(self.root, names)


class PolicyVersionViewSet(ReadOnlyViewSet):
    queryset = PolicyVersion.objects.all()
    serializer_class = serializers.PolicyVersionSerializer
    filterset_class = filters.PolicyVersionFilter
    orderings = (ARRIVAL, Ordering("changed_at", ("changed_at",)), Ordering("number", ("number",)))

    def visible(self, actor: Actor) -> Rows:
        """A dry run names credentials of the whole estate."""
        return self.queryset.all() if actor.sees_everything else self.queryset.none()


class FindingViewSet(ReadOnlyViewSet):
    queryset = Finding.objects.all()
    serializer_class = serializers.FindingSerializer
    filterset_class = filters.FindingFilter
    orderings = (
        ARRIVAL,
        Ordering("severity", ("severity",)),
        Ordering("due_at", ("due_at",)),
        Ordering("rule", ("rule", mildness())),
        Ordering("owner", (owner_key(), "due_at")),
        Ordering("at_server", (place_key(), "due_at")),
    )


class WaiverViewSet(ReadOnlyViewSet):
    queryset = Waiver.objects.all()
    serializer_class = serializers.WaiverSerializer
    filterset_class = filters.WaiverFilter
    orderings = (ARRIVAL, Ordering("ends_at", ("ends_at",)))


class OfTheWholeEstate(ReadOnlyViewSet):
    """What is counted over everything, so only those who see everything are told."""

    def visible(self, actor: Actor) -> Rows:
        return self.queryset.all() if actor.sees_everything else self.queryset.none()


class JobViewSet(OfTheWholeEstate):
    queryset = ScheduledJob.objects.all()
    serializer_class = serializers.JobSerializer
    filterset_class = filters.JobFilter
    orderings = (ARRIVAL, Ordering("name", ("name",)))


class JobRunViewSet(OfTheWholeEstate):
    """Runs that did something, failed, or never ended. The hours count all of them."""

    queryset = JobRun.objects.all()
    serializer_class = serializers.JobRunSerializer
    filterset_class = filters.JobRunFilter


class JobHourViewSet(OfTheWholeEstate):
    """The ledger: every run of a job, counted by the hour in which it began."""

    queryset = JobHour.objects.all()
    serializer_class = serializers.JobHourSerializer
    filterset_class = filters.JobHourFilter
    orderings = (Ordering("hour", ("hour",)), ARRIVAL)
    lookup_value_converter = "int"


class SnapshotViewSet(OfTheWholeEstate):
    """The posture of a day. A day without a snapshot is one on which nobody looked."""

    queryset = Snapshot.objects.all()
    serializer_class = serializers.SnapshotSerializer
    filterset_class = filters.SnapshotFilter
    lookup_value_converter = "slug"

    def one(self, pk: str, names: Sequence[str]) -> str | None:
        try:
            return super().one(date.fromisoformat(pk), names)
        except ValueError:
            return None


class RuleDayViewSet(OfTheWholeEstate):
    """What a rule said on a day, as its last full evaluation counted it. A day without one was not counted."""

    queryset = RuleDay.objects.all()
    serializer_class = serializers.RuleDaySerializer
    filterset_class = filters.RuleDayFilter
    orderings = (ARRIVAL, Ordering("taken_on", ("taken_on",)))
    lookup_value_converter = "int"


class FindingCommentViewSet(ReadOnlyViewSet):
    queryset = FindingComment.objects.all()
    serializer_class = serializers.FindingCommentSerializer
    filterset_class = filters.FindingCommentFilter
    orderings = (ARRIVAL,)


class FindingLinkViewSet(ReadOnlyViewSet):
    queryset = FindingLink.objects.all()
    serializer_class = serializers.FindingLinkSerializer
    filterset_class = filters.FindingLinkFilter
    orderings = (ARRIVAL,)


class FindingChangeViewSet(ReadOnlyViewSet):
    """What evaluations changed about findings while they were unresolved."""

    queryset = FindingChange.objects.all()
    serializer_class = serializers.FindingChangeSerializer
    filterset_class = filters.FindingChangeFilter
    orderings = (ARRIVAL,)


class RuleViewSet(DeclaredViewSet):
    """Declared in the release, with what the last full evaluation counted."""

    queryset = RuleState.objects.all()
    serializer_class = serializers.RuleSerializer
    filterset_class = filters.RuleFilter
    lookup_value_converter = "slug"

    def visible(self, actor: Actor) -> Rows:
        """The counts are of the whole estate, so only those who see all of it are told."""
        return self.queryset.all() if actor.sees_everything else self.queryset.none()

    def one(self, pk: str, names: Sequence[str]) -> str | None:
        return self._said([RULES[pk]], names)[pk] if pk in RULES else None

    def kept(self, names: Sequence[str]) -> Mapping[str, str]:
        chosen = cleaned(self.filterset_class(self.request.query_params, queryset=self.queryset.none()))
        settings = self._settings()
        kept = [
            rule
            for rule in RULES.values()
            if (not chosen["subject"] or rule.subject in chosen["subject"])
            and (
                not chosen["severity"]
                or serializers.severity_of(rule, settings.get(rule.slug)).name.lower() in chosen["severity"]
            )
            and chosen["is_on"] in {None, rule.slug not in settings or settings[rule.slug].is_on}
            and (not chosen["control"] or set(chosen["control"]) & set(rule.controls))
        ]
        return self._said(kept, names)

    def _settings(self) -> dict[str, RuleSetting]:
        return {setting.rule: setting for setting in RuleSetting.objects.current()}

    def _said(self, rules: Iterable[Rule], names: Sequence[str]) -> dict[str, str]:
        states = {state.rule: state for state in self.get_queryset()}
        settings, said_of = self._settings(), serializers.RuleSerializer.of
        return {
            rule.slug: as_body(said_of(rule, states.get(rule.slug), settings.get(rule.slug), self.root, names)).decode()
            for rule in rules
        }


# ── Operations ─────────────────────────────────────────────────────────────────────────────────


def named(rows: QuerySet[Any], pk: UUID | None, field: str, noun: str) -> Any:
    """The row that a body names, of those that the actor may see."""
    if pk is None:
        return None
    row = rows.filter(pk=pk).first()
    if row is None:
        raise ValidationError({field: [f"There is no {noun} with this id."]})
    return row


class OperationViewSet(WritingViewSet):
    """Rotations and revocations. What is asked of one answers with the operation as it stands afterwards."""

    queryset = Operation.objects.all()
    serializer_class = serializers.OperationSerializer
    object_class = serializers.OperationObjectSerializer
    filterset_class = filters.OperationFilter
    orderings = (ARRIVAL,)
    rights: ClassVar = {
        "*": Right.OPERATE,
        "acknowledge": Right.ACKNOWLEDGE,
        "approve": Right.DECIDE_OPERATION,
        "decline": Right.DECIDE_OPERATION,
        "retire": Right.DECIDE_OPERATION,
    }
    refusals = REFUSALS
    verbs: ClassVar = {
        "approve": "approve",
        "decline": "decline",
        "resume": "resume",
        "hand-over": "hand_over",
        "cancel": "cancel",
        "urgent": "urgent",
        "acknowledgements": "acknowledge",
        "extend": "extend",
        "retire": "retire",
        "done": "done",
        "verify": "verify",
    }

    def write(self, request: Any, mark: Any, method: Any, **kwargs: Any) -> Any:
        """Whatever was asked for, a worker looks at it at once."""

        def rung(view: Any, *given: Any) -> Operation:
            row: Operation = method(view, *given)
            tasks.ring(row)
            return row

        return super().write(request, mark, rung, **kwargs)

    def _steps(self, pk: UUID) -> list[dict[str, Any]]:
        row = Operation.objects.get(pk=pk)
        state = row.state_at(timezone.now())
        found = progress.parts(row.kind, row.step, state, is_rolling_back=row.is_rolling_back)
        return [serializers.OperationStepSerializer.of(part) for part in found]

    def _journal(self, pk: UUID) -> list[dict[str, Any]]:
        newest = StepAttempt.objects.filter(operation=pk).order_by("-number")[:JOURNAL]
        return [serializers.JournalEntrySerializer.of(attempt) for attempt in newest]

    def _acknowledgements(self, pk: UUID) -> list[dict[str, Any]]:
        rows = Acknowledgement.objects.filter(operation=pk).order_by("id")
        return [serializers.AcknowledgementSerializer.of(row) for row in rows]

    parts: ClassVar = {"steps": _steps, "journal": _journal, "acknowledgements": _acknowledgements}

    # ── Writes ──

    @writes(serializers.OperationBody, "Ask for a rotation or a revocation.", status=CREATED)
    def create(self, given: Mapping[str, Any]) -> Operation:
        credential = named(Credential.objects.visible_to(self.actor), given["credential"], "credential", "credential")
        asked = {"actor": self.actor, "now": timezone.now(), "reason": given["reason"]}
        if given["kind"] == OperationKind.REVOCATION:
            return requests.request_revocation(credential, is_urgent=given["urgent"], **asked)
        if given["urgent"]:
            raise ValidationError({"urgent": ["Only a revocation is urgent: a rotation waits for its consumers."]})
        return requests.request_rotation(credential, **asked)

    @writes(serializers.OptionalReasonBody, "Approve a proposed operation. A person does; a token approves nothing.")
    def approve(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        requests.approve(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.ReasonBody, "Decline a proposed operation.")
    def decline(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        requests.decline(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.ReasonBody, "Let a stalled operation try its step again.")
    def resume(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        requests.resume(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.HandOverBody, "Say who sees to an operation. It goes on as it did.")
    def hand_over(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        to = named(Owner.objects.visible_to(self.actor), given["to"], "to", "owner")
        requests.hand_over(row, to, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.ReasonBody, "Cancel an operation; a rotation that has issued something goes the way back.")
    def cancel(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        requests.cancel(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.ReasonBody, "Make a revocation urgent: it skips every wait.")
    def urgent(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        return requests.request_revocation(
            row.credential, actor=self.actor, now=timezone.now(), reason=given["reason"], is_urgent=True
        )

    @writes(serializers.AcknowledgementBody, "Say that a consumer uses the new version; it may say so itself.")
    def acknowledge(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        if not given["client"] and not given["consumer"].strip():
            raise ValidationError({"consumer": ["Say who uses the new version: a `client`, or a `consumer` by name."]})
        who = named(McpClient.objects.visible_to(self.actor), given["client"], "client", "client") or given["consumer"]
        consumers.acknowledge(row, who, how=Acknowledged.API, actor=self.actor, now=timezone.now())
        return row

    @writes(serializers.ExtensionBody, "Let both versions work longer.")
    def extend(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        consumers.extend(row, given["until"], actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.ReasonBody, "Retire the old version though not every consumer is known to have moved.")
    def retire(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        consumers.retire_anyway(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.OptionalReasonBody, "Have a provider asked once more whether what has ended is refused.")
    def verify(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        requests.look_again(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.ReasonBody, "Say that a person did what no provider can be asked for.")
    def done(self, row: Operation, given: Mapping[str, Any]) -> Operation:
        by_hand.done_by_hand(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row


class StepAttemptViewSet(ReadOnlyViewSet):
    """The journal: every try at a step of an operation."""

    queryset = StepAttempt.objects.all()
    serializer_class = serializers.StepAttemptSerializer
    filterset_class = filters.StepAttemptFilter


class DeliveryViewSet(WritingViewSet):
    """Where the new secrets of credentials go. Setting one again replaces it."""

    queryset = Delivery.objects.all()
    serializer_class = serializers.DeliverySerializer
    filterset_class = filters.DeliveryFilter
    rights: ClassVar = {"*": Right.DELIVER}
    refusals = REFUSALS
    verbs: ClassVar = {"remove": "remove"}

    @writes(serializers.DeliveryBody, "Set where the new secrets of a credential go.", status=CREATED)
    def create(self, given: Mapping[str, Any]) -> Delivery:
        quiet = timedelta(seconds=given["quiet"]) if given["quiet"] is not None else None
        return deliveries.set_delivery(
            named(Credential.objects.visible_to(self.actor), given["credential"], "credential", "credential"),
            sink=given["sink"],
            location=given["location"],
            connection=named(
                Connection.objects.visible_to(self.actor), given["connection"], "connection", "connection"
            ),
            quiet=quiet,
            actor=self.actor,
            now=timezone.now(),
            reason=given["reason"],
        )

    @writes(serializers.OptionalReasonBody, "Forget where the new secrets of a credential go.", status=NO_CONTENT)
    def remove(self, row: Delivery, given: Mapping[str, Any]) -> Delivery:
        deliveries.remove_delivery(row, actor=self.actor, reason=given["reason"])
        return row


class BatchViewSet(WritingViewSet):
    """Kill switches, choices of many, leavers and drills. A person approves on the page; a token approves nothing."""

    queryset = Batch.objects.all()
    serializer_class = serializers.BatchSerializer
    object_class = serializers.BatchObjectSerializer
    filterset_class = filters.BatchFilter
    orderings = (ARRIVAL,)
    rights: ClassVar = {
        "*": Right.REVOKE_MANY,
        **dict.fromkeys(("approve", "decline", "include_late", "decide"), Right.DECIDE_MANY),
    }
    refusals: ClassVar = {InventoryError: 409, **REFUSALS}
    verbs: ClassVar = {
        "approve": "approve",
        "decline": "decline",
        "halt": "halt",
        "resume": "resume",
        "cancel": "cancel",
        "include-late": "include_late",
        "decide": "decide",
    }

    def write(self, request: Any, mark: Any, method: Any, **kwargs: Any) -> Any:
        """A leaked value becomes its keyed fingerprint before anything else reads the body."""
        if isinstance(request.data, dict) and request.data.get("value"):
            value = Secret(str(request.data.pop("value")))
            if len(value.reveal().strip()) < 8:
                raise ValidationError({"value": ["Give the whole value, at least 8 characters."]})
            try:
                request.data.update(scope=ScopeKind.FINGERPRINT.value, id=batching.scope_of_value(value).id)
            except InventoryError as exc:
                raise ValidationError({"value": [str(exc)]}) from exc
        return super().write(request, mark, method, **kwargs)

    def _counts(self, pk: UUID) -> dict[str, int]:
        return reports.progress(Batch.objects.get(pk=pk))

    parts: ClassVar = {"counts": _counts}

    @writes(serializers.BatchBody, "Revoke everything behind a scope, or rehearse it.", status=CREATED)
    def create(self, given: Mapping[str, Any]) -> Batch:
        scope = self._scope(given)
        asked = {"actor": self.actor, "now": timezone.now(), "reason": given["reason"]}
        if given["drill"]:
            batch = batches.request_drill(scope, **asked)
        else:
            kind = BatchKind.BULK if scope.kind is ScopeKind.CREDENTIALS else BatchKind.KILL_SWITCH
            batch = batches.request_batch(scope, kind=kind, is_urgent=given["urgent"], **asked)
        ring_batch(batch)
        return batch

    def _scope(self, given: Mapping[str, Any]) -> Scope:
        kind = ScopeKind(given["scope"]) if given["scope"] else ScopeKind.CREDENTIALS
        if kind is ScopeKind.CREDENTIALS:
            if not given["ids"]:
                raise ValidationError({"scope": ["Say behind what to look: scope and id, or the ids of credentials."]})
            count = len(given["ids"])
            label = "1 chosen credential" if count == 1 else f"{count} chosen credentials"
            return Scope(kind, "", label, tuple(str(each) for each in given["ids"]))
        if kind is ScopeKind.FINGERPRINT:
            return Scope(kind, given["id"], "a leaked value")
        try:
            key = UUID(given["id"])
        except ValueError as exc:
            if kind is ScopeKind.PERSON and given["id"]:
                return Scope.called(given["id"])
            raise ValidationError({"id": ["This is no id."]}) from exc
        rows: Any = ROWS[kind]._default_manager.all()
        return Scope.around(kind, named(rows.visible_to(self.actor), key, "id", kind.value))

    @writes(serializers.OptionalReasonBody, "Let a batch begin. A signed-in person does; a token approves nothing.")
    def approve(self, row: Batch, given: Mapping[str, Any]) -> Batch:
        batches.approve_batch(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        ring_batch(row)
        return row

    @writes(serializers.ReasonBody, "Decline a batch that waits for a second person.")
    def decline(self, row: Batch, given: Mapping[str, Any]) -> Batch:
        batches.decline_batch(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.ReasonBody, "Begin no more of a batch; what has begun goes on.")
    def halt(self, row: Batch, given: Mapping[str, Any]) -> Batch:
        batches.halt_batch(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.ReasonBody, "Go on with a halted batch, and try again what has stalled.")
    def resume(self, row: Batch, given: Mapping[str, Any]) -> Batch:
        batches.resume_batch(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        ring_batch(row)
        return row

    @writes(serializers.ReasonBody, "Cancel what has not begun.")
    def cancel(self, row: Batch, given: Mapping[str, Any]) -> Batch:
        batches.cancel_rest(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.NoBody, "Take in what appeared behind the scope after the batch was asked for.")
    def include_late(self, row: Batch, given: Mapping[str, Any]) -> Batch:
        batches.include_late(row, actor=self.actor, now=timezone.now())
        ring_batch(row)
        return row

    @writes(serializers.DecisionBody, "Hand over or revoke some of what a leaver answered for.")
    def decide(self, row: Batch, given: Mapping[str, Any]) -> Batch:
        what = Suggestion(given["what"]) if given["what"] else None
        to = named(Owner.objects.visible_to(self.actor), given["to"], "to", "owner")
        asked = {"actor": self.actor, "now": timezone.now(), "reason": given["reason"]}
        leavers.decide_items(row, given["items"], what=what, to=to, **asked)
        return row


class BatchItemViewSet(ReadOnlyViewSet):
    """What batches are made of: a credential each, or a thing that a leaver answered for."""

    queryset = BatchItem.objects.all()
    serializer_class = serializers.BatchItemSerializer
    filterset_class = filters.BatchItemFilter


# ── When rotations may begin ───────────────────────────────────────────────────────────────────


class FreezeViewSet(ReadOnlyViewSet):
    """Times in which the schedule begins nothing."""

    queryset = ChangeFreeze.objects.all()
    serializer_class = serializers.FreezeSerializer
    filterset_class = filters.FreezeFilter
    orderings = (ARRIVAL, Ordering("begins_at", ("begins_at",)))


class WindowViewSet(ReadOnlyViewSet):
    """When the schedule may begin rotations. An environment without any has those of every environment."""

    queryset = MaintenanceWindow.objects.all()
    serializer_class = serializers.WindowSerializer
    filterset_class = filters.WindowFilter
    orderings = (ARRIVAL,)
