"""Violated rules as rows, and what changed about them."""

from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact

from access.actors import Actor
from history.kept import appended, kept
from history.past import by_present_rights
from inventory.models import Connection, Credential, Environment, McpClient, McpServer, Owner
from inventory.models.base import AnyOf, Row
from inventory.states import Severity
from lifecycle.models.jobs import ScheduledJob
from lifecycle.rules import RULES, Rule, Subject
from lifecycle.states import (
    COUNTED,
    FINAL,
    Change,
    FindingState,
    Raised,
    Resolution,
)
from web.paging import capped_counts

SEVERITIES = [severity for severity in Severity if severity is not Severity.NONE]

# After every key: where nobody answers, and where there is no server. NULL would be no key of a keyset page.
NOBODY = UUID(int=2**128 - 1)

FEW = 1_000  # subjects whose findings are looked up one by one


def owner_key() -> Coalesce:
    """The owner as a queue is sorted by, those that nobody answers for last."""
    return Coalesce("owner_id", Value(NOBODY, models.UUIDField()))


def place_key() -> Coalesce:
    return Coalesce("at_server_id", Value(NOBODY, models.UUIDField()))


def mildness() -> CombinedExpression:
    """The severity as the findings of a rule are sorted by, the most severe first: all keys of a page rise."""
    most = Value(Severity.CRITICAL.value)
    return CombinedExpression(most, "-", F("severity"), output_field=models.PositiveSmallIntegerField())


SubjectRow = Credential | McpServer | McpClient | Connection | ScheduledJob


def _about_exactly_one() -> Q:
    condition = Q()
    for subject in Subject:
        condition |= Q(**{f"{other.value}__isnull": other is not subject for other in Subject})
    return condition


class FindingQuerySet(models.QuerySet["Finding"]):
    @by_present_rights
    def visible_to(self, actor: Actor) -> Self:
        """What is about a subject of theirs, whichever of its owners they are, or assigned to them.

        By the subject as it is owned now: the finding's own copy of the owner is as old as the last evaluation, and
        of a resolved one as old as its end. Connections and jobs are for those who see everything.
        """
        if actor.sees_everything:
            return self
        return self.filter(
            Q(AnyOf("credential_id", Credential.objects.visible_to(actor)))
            | Q(AnyOf("server_id", McpServer.objects.visible_to(actor)))
            | Q(AnyOf("client_id", McpClient.objects.visible_to(actor)))
            | Q(AnyOf("assigned_to_id", Owner.objects.being(actor)))
        )

    def mine(self, actor: Actor) -> Self:
        """What this person answers for or works on, whatever else they may see: two ranges of two indexes."""
        me = Owner.objects.being(actor)
        return self.filter(Q(AnyOf(owner_key(), me)) | Q(AnyOf("assigned_to_id", me)))

    def owned_by(self, owner: Owner | None) -> Self:
        """What this owner answers for, or nobody does, as the queue's index has it."""
        return self.filter(Exact(owner_key(), Value(owner.pk if owner else NOBODY, models.UUIDField())))

    def at(self, server: McpServer | None) -> Self:
        return self.filter(Exact(place_key(), Value(server.pk if server else NOBODY, models.UUIDField())))

    def with_subjects(self) -> Self:
        """With what each is about and who answers for that, in the same statement."""
        return self.select_related(
            "credential", "server", "client", "connection", "job", "owner", "at_server", "assigned_to"
        )

    def unresolved(self) -> Self:
        """Violated as far as anybody knows, waived ones included."""
        return self.filter(resolved_at=None)

    def open(self) -> Self:
        """Unresolved and not waived: what counts as risk."""
        return self.filter(resolved_at=None, state__in=COUNTED)

    def waived(self) -> Self:
        return self.filter(resolved_at=None, state=FindingState.WAIVED)

    def overdue(self, now: datetime) -> Self:
        return self.open().filter(due_at__lt=now)

    def for_credential(self, credential: Credential) -> Self:
        return self.filter(credential=credential)

    def for_client(self, client: McpClient) -> Self:
        return self.filter(client=client)

    def matching(self, text: str) -> Self:
        return self.filter(named_like(text))

    def within(self, environment: Environment) -> Self:
        return self.filter(placed_in(environment))


def named_like(text: str) -> Q:
    """Of findings whose subject or rule is named like that. Asks the database how many subjects are."""
    named = [slug for slug, rule in RULES.items() if text.strip() and text.strip().lower() in rule.name.lower()]
    return _about(
        Q(rule__in=named),
        credential=Credential.objects.matching(text),
        server=McpServer.objects.matching(text),
        client=McpClient.objects.matching(text),
        connection=Connection.objects.filter(name__icontains=text.strip()),
    )


def placed_in(environment: Environment) -> Q:
    """Of findings whose subject is in that environment. Asks the database how many subjects are."""
    return _about(
        Q(),
        credential=Credential.objects.filter(environment=environment),
        server=McpServer.objects.filter(environment=environment),
        connection=Connection.objects.filter(environment=environment),
    )


def _about(others: Q, **subjects: models.QuerySet[Any]) -> Q:
    """What is about any of these, or fits `others`.

    Findings of few subjects are looked up by them. Of many, a page is full before it has read much of the queue in
    its order. The wrong one of the two reads every finding, so the subjects are counted first, as far as needed.
    """
    is_few = not any(count.more for count in capped_counts(subjects.values(), FEW))
    for kind, rows in subjects.items():
        others |= Q(AnyOf(f"{kind}_id", rows)) if is_few else Q(**{f"{kind}__in": rows.order_by().values("pk")})
    return others


@kept(
    untold=("refreshed_at", "escalates_at", "escalated_at", "told_severity", "acknowledged_at", "resolved_at"),
)
class Finding(Row):
    """A rule that a subject violates: opened, refreshed and resolved by the evaluation alone.

    The evidence holds dates and limits, never counts of days, so that a row need not change for a day to pass.
    """

    rule = models.SlugField(max_length=60, db_index=False)
    # The database does not check these: it would lock and write every subject again for each of its findings,
    # which takes longer than finding them. The evaluation reads a subject and writes its finding in one statement.
    credential = models.ForeignKey(
        Credential, models.CASCADE, null=True, blank=True, related_name="+", db_index=False, db_constraint=False
    )
    server = models.ForeignKey(
        McpServer, models.CASCADE, null=True, blank=True, related_name="+", db_index=False, db_constraint=False
    )
    client = models.ForeignKey(
        McpClient, models.CASCADE, null=True, blank=True, related_name="+", db_index=False, db_constraint=False
    )
    connection = models.ForeignKey(
        Connection, models.CASCADE, null=True, blank=True, related_name="+", db_index=False, db_constraint=False
    )
    job = models.ForeignKey(
        ScheduledJob, models.CASCADE, null=True, blank=True, related_name="+", db_index=False, db_constraint=False
    )
    # Copied from the subject, so that a queue by owner or by server is a range of an index.
    owner = models.ForeignKey(
        Owner,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
        help_text="Who answers for the subject; of a server's owners the first that is set.",
    )
    at_server = models.ForeignKey(
        McpServer,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
        help_text="The server it is about or, of a credential, the first that it is used on.",
    )
    assigned_to = models.ForeignKey(
        Owner, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False, help_text="Who works on it."
    )
    severity = models.PositiveSmallIntegerField(choices=Severity)
    raised_by = ArrayField(
        models.CharField(max_length=20, choices=Raised),
        default=list,
        db_default=[],
        blank=True,
        help_text="Why it is more severe than its rule alone says.",
    )
    state = models.CharField(max_length=20, choices=FindingState, default=FindingState.OPEN)
    evidence = models.JSONField(default=dict)
    opened_at = models.DateTimeField()
    refreshed_at = models.DateTimeField()
    due_at = models.DateTimeField()
    escalates_at = models.DateTimeField(
        null=True, blank=True, help_text="When age makes it more severe; none once it has, or nothing is."
    )
    escalated_at = models.DateTimeField(null=True, blank=True)
    told_severity = models.PositiveSmallIntegerField(
        default=Severity.NONE, db_default=Severity.NONE.value, help_text="The highest as which anybody was told of it."
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=200, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=20, choices=Resolution, blank=True)

    objects = FindingQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=_about_exactly_one(), name="finding_has_one_subject"),
            models.CheckConstraint(condition=Q(state__in=FindingState.values), name="finding_state_is_known"),
            models.CheckConstraint(condition=Q(severity__in=SEVERITIES), name="finding_severity_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=FINAL, resolved_at__isnull=False, resolution__in=Resolution.values)
                | ~Q(state__in=FINAL) & Q(resolved_at=None, resolution=""),
                name="finding_resolved_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=~Q(state=FindingState.ACKNOWLEDGED) | Q(acknowledged_at__isnull=False),
                name="finding_acknowledged_some_time",
            ),
            models.UniqueConstraint(
                fields=["credential", "rule"],
                condition=Q(resolved_at=None, credential__isnull=False),
                name="finding_one_unresolved_per_credential_and_rule",
            ),
            models.UniqueConstraint(
                fields=["server", "rule"],
                condition=Q(resolved_at=None, server__isnull=False),
                name="finding_one_unresolved_per_server_and_rule",
            ),
            models.UniqueConstraint(
                fields=["client", "rule"],
                condition=Q(resolved_at=None, client__isnull=False),
                name="finding_one_unresolved_per_client_and_rule",
            ),
            models.UniqueConstraint(
                fields=["connection", "rule"],
                condition=Q(resolved_at=None, connection__isnull=False),
                name="finding_one_unresolved_per_connection_and_rule",
            ),
            models.UniqueConstraint(
                fields=["job", "rule"],
                condition=Q(resolved_at=None, job__isnull=False),
                name="finding_one_unresolved_per_job_and_rule",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["severity", "id"], condition=Q(resolved_at=None), name="finding_by_severity"),
            models.Index(fields=["due_at", "id"], condition=Q(resolved_at=None), name="finding_by_due_date"),
            models.Index("rule", mildness(), "id", condition=Q(resolved_at=None), name="finding_by_rule"),
            models.Index(fields=["id"], condition=Q(state="waived"), name="finding_waived"),
            models.Index(fields=["resolved_at", "id"], condition=~Q(resolved_at=None), name="finding_by_resolution"),
            models.Index(fields=["credential", "-id"], condition=~Q(credential=None), name="finding_by_credential"),
            models.Index(fields=["server", "-id"], condition=~Q(server=None), name="finding_by_server"),
            models.Index(fields=["client", "-id"], condition=~Q(client=None), name="finding_by_client"),
            models.Index(fields=["connection", "-id"], condition=~Q(connection=None), name="finding_by_connection"),
            models.Index(fields=["job", "-id"], condition=~Q(job=None), name="finding_by_job"),
            models.Index(owner_key(), "due_at", "id", condition=Q(resolved_at=None), name="finding_by_owner"),
            models.Index(place_key(), "due_at", "id", condition=Q(resolved_at=None), name="finding_by_place"),
            models.Index(
                fields=["assigned_to", "due_at", "id"],
                condition=Q(assigned_to__isnull=False),  # resolved ones too: the assignee still sees them
                name="finding_by_assignee",
            ),
            models.Index(
                fields=["escalates_at"],
                condition=Q(resolved_at=None, escalates_at__isnull=False),
                name="finding_by_escalation",
            ),
            models.Index(
                fields=["due_at", "id"],
                condition=Q(resolved_at=None, escalated_at__isnull=False),
                name="finding_escalated",
            ),
            models.Index(
                fields=["severity"],
                condition=Q(resolved_at=None, severity__gte=Severity.HIGH, told_severity__lt=F("severity")),
                name="finding_untold",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def declaration(self) -> Rule | None:
        """The rule as this release declares it; None for a rule that is no longer shipped."""
        return RULES.get(self.rule)

    @property
    def name(self) -> str:
        return self.declaration.name if self.declaration else self.rule

    @property
    def controls(self) -> tuple[str, ...]:
        return self.declaration.controls if self.declaration else ()

    @property
    def subject_kind(self) -> Subject:
        return next(kind for kind in Subject if self._key_of(kind) is not None)

    @property
    def subject_id(self) -> UUID:
        key = self._key_of(self.subject_kind)
        assert key is not None  # noqa: S101  by constraint
        return key

    @property
    def subject(self) -> SubjectRow:
        subject: SubjectRow = getattr(self, self.subject_kind.value)
        return subject

    def _key_of(self, kind: Subject) -> UUID | None:
        key: UUID | None = getattr(self, f"{kind.value}_id")
        return key

    def title_now(self, now: datetime) -> str:
        """A sentence about the world as it is at `now`: "131 days old; the policy allows 60"."""
        return self.declaration.title_of(self.evidence, now) if self.declaration else self.rule

    def is_overdue(self, now: datetime) -> bool:
        return self.state in COUNTED and self.due_at < now


class OfFindingQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Seen by whoever sees the finding."""
        if actor.sees_everything:
            return self
        return self.filter(finding__in=Finding.objects.visible_to(actor).values("pk"))


@appended("changed_at")
class FindingChange(Row):
    """What an evaluation changed about an unresolved finding; how it began and ended stands in the finding."""

    finding = models.ForeignKey(Finding, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    kind = models.CharField(max_length=20, choices=Change)
    changed_at = models.DateTimeField()
    severity_before = models.PositiveSmallIntegerField(choices=Severity)
    severity = models.PositiveSmallIntegerField(choices=Severity)
    raised_by = ArrayField(models.CharField(max_length=20, choices=Raised), default=list)

    objects = OfFindingQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(kind__in=Change.values), name="finding_change_is_known"),
        ]
        indexes: ClassVar = [models.Index(fields=["finding", "-id"], name="finding_change_by_finding")]

    def __str__(self) -> str:
        return self.get_kind_display()
