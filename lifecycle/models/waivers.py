"""Accepted risks: who asked for a waiver, who else approved it, how long it holds, and how many a team may have."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar, Self
from uuid import UUID

from django.db import models
from django.db.models import F, Q

from access.actors import Actor
from history.kept import kept
from inventory.models import Owner
from inventory.models.base import Row
from inventory.states import Severity
from lifecycle.models.findings import Finding
from lifecycle.states import (
    LONGEST_WAIVER,
    LONGEST_WAIVER_OF_CRITICAL,
    WAITING,
    WAIVER_FINAL,
    WaiverState,
)

MOST_ACTIVE = 1_000


class WaiverQuerySet(models.QuerySet["Waiver"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(finding__in=Finding.objects.visible_to(actor).values("pk"))

    def requested(self) -> Self:
        """What waits for somebody else's decision."""
        return self.filter(state=WaiverState.REQUESTED)

    def scheduled(self) -> Self:
        """Approved extensions of waivers that have not ended yet."""
        return self.filter(state=WaiverState.SCHEDULED)

    def active(self) -> Self:
        return self.filter(state=WaiverState.ACTIVE)

    def over(self) -> Self:
        return self.filter(state__in=WAIVER_FINAL)

    def ended(self, now: datetime) -> Self:
        """Active on paper, but past their end."""
        return self.active().filter(ends_at__lte=now)

    def ending_before(self, moment: datetime) -> Self:
        """Active ones that end before then and that nothing extends yet."""
        followed = Waiver.objects.scheduled().filter(extends__isnull=False)
        return self.active().filter(ends_at__lt=moment).exclude(pk__in=followed.values("extends"))

    def outgrown(self) -> Self:
        """Active ones whose finding is more severe than the one that was accepted."""
        return self.active().filter(finding__severity__gt=F("severity"))


def _in_state(*states: WaiverState, **times: bool) -> Q:
    """In one of these states exactly the named times are set."""
    return Q(state__in=states, **{f"{name}__isnull": not is_set for name, is_set in times.items()})


@kept()
class Waiver(Row):
    """A reasoned acceptance of one finding's risk until a day: asked for by one person and approved by another."""

    finding = models.ForeignKey(Finding, models.CASCADE, related_name="+")
    state = models.CharField(max_length=20, choices=WaiverState)
    extends = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The waiver that this one follows without a gap.",
    )
    reason = models.TextField()
    compensating_control = models.TextField(blank=True, help_text="What limits the risk meanwhile.")
    severity = models.PositiveSmallIntegerField(choices=Severity, help_text="Of the finding, when it was decided.")
    requested_by = models.CharField(max_length=200)
    requested_by_key = models.CharField(max_length=200, blank=True)
    requested_at = models.DateTimeField()
    approved_by = models.CharField(max_length=200, blank=True)
    approved_by_key = models.CharField(max_length=200, blank=True)
    granted_at = models.DateTimeField(null=True, blank=True)
    declined_by = models.CharField(max_length=200, blank=True)
    declined_by_key = models.CharField(max_length=200, blank=True)
    declined_at = models.DateTimeField(null=True, blank=True)
    decision = models.TextField(blank=True, help_text="What was said when it was approved or declined.")
    is_single_handed = models.BooleanField(
        default=False, help_text="Granted before a waiver took two people; who asked and who approved may be one."
    )
    begins_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.CharField(max_length=200, blank=True)
    expired_at = models.DateTimeField(null=True, blank=True)

    objects = WaiverQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["finding"], condition=Q(state=WaiverState.ACTIVE), name="waiver_one_active_per_finding"
            ),
            models.UniqueConstraint(
                fields=["finding"], condition=Q(state__in=WAITING), name="waiver_one_waiting_per_finding"
            ),
            models.CheckConstraint(condition=Q(state__in=WaiverState.values), name="waiver_state_is_known"),
            models.CheckConstraint(
                condition=(
                    _in_state(
                        WaiverState.REQUESTED, granted_at=False, declined_at=False, withdrawn_at=False, expired_at=False
                    )
                    | _in_state(
                        WaiverState.SCHEDULED,
                        WaiverState.ACTIVE,
                        granted_at=True,
                        declined_at=False,
                        withdrawn_at=False,
                        expired_at=False,
                    )
                    | _in_state(
                        WaiverState.DECLINED, granted_at=False, declined_at=True, withdrawn_at=False, expired_at=False
                    )
                    | _in_state(WaiverState.WITHDRAWN, declined_at=False, withdrawn_at=True, expired_at=False)
                    | _in_state(WaiverState.EXPIRED, declined_at=False, withdrawn_at=False, expired_at=True)
                ),
                name="waiver_state_agrees_with_its_times",
            ),
            models.CheckConstraint(
                condition=Q(granted_at=None, begins_at=None) | Q(granted_at__isnull=False, begins_at__isnull=False),
                name="waiver_begins_exactly_when_granted",
            ),
            # By key, as two people may share a name. What was granted earlier, by one person, is told apart.
            models.CheckConstraint(
                condition=Q(granted_at=None)
                | Q(is_single_handed=True, requested_by_key="", approved_by_key="")
                | (
                    Q(is_single_handed=False)
                    & ~Q(requested_by_key="")
                    & ~Q(approved_by_key="")
                    & ~Q(approved_by_key=F("requested_by_key"))
                ),
                name="waiver_requester_is_not_approver",
            ),
            models.CheckConstraint(
                condition=Q(declined_at=None)
                | (~Q(declined_by_key="") & ~Q(declined_by_key=F("requested_by_key")) & ~Q(decision="")),
                name="waiver_is_declined_by_another_with_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(is_single_handed=True) | ~Q(compensating_control=""),
                name="waiver_names_a_compensating_control",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="waiver_has_a_reason"),
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("requested_at")) & (Q(begins_at=None) | Q(ends_at__gt=F("begins_at"))),
                name="waiver_ends_after_it_begins",
            ),
            models.CheckConstraint(
                condition=Q(begins_at=None) | Q(ends_at__lte=F("begins_at") + LONGEST_WAIVER),
                name="waiver_lasts_at_most_90_days",
            ),
            models.CheckConstraint(
                condition=Q(begins_at=None)
                | ~Q(severity=Severity.CRITICAL)
                | Q(ends_at__lte=F("begins_at") + LONGEST_WAIVER_OF_CRITICAL),
                name="waiver_of_critical_lasts_at_most_30_days",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["ends_at", "id"], condition=Q(state=WaiverState.ACTIVE), name="waiver_active_by_end"),
            models.Index(fields=["id"], condition=Q(state__in=WAITING), name="waiver_waiting"),
            models.Index(fields=["finding", "-id"], name="waiver_by_finding"),
        ]

    def __str__(self) -> str:
        return f"waiver until {self.ends_at:%Y-%m-%d}"

    @staticmethod
    def longest(severity: int) -> timedelta:
        """How long a waiver of a finding that severe may last."""
        return LONGEST_WAIVER_OF_CRITICAL if severity == Severity.CRITICAL else LONGEST_WAIVER

    @property
    def is_over(self) -> bool:
        return self.state in WAIVER_FINAL

    @property
    def over_at(self) -> datetime:
        """When it stopped, or will."""
        return self.withdrawn_at or self.expired_at or self.declined_at or self.ends_at

    @property
    def lasted(self) -> timedelta:
        """The time in which it waives or waived its finding; none for what was never granted."""
        if self.begins_at is None:
            return timedelta(0)
        return max(min(self.over_at, self.ends_at) - self.begins_at, timedelta(0))


class WaiverCapQuerySet(models.QuerySet["WaiverCap"]):
    def of(self, owner_id: UUID | None) -> "WaiverCap":
        """What holds for a team, or for what nobody answers for: its own row, else the default."""
        rows = {row.is_default: row for row in self.filter(Q(is_default=True) | Q(is_default=False, owner=owner_id))}
        return rows[False] if False in rows else rows[True]


@kept()
class WaiverCap(Row):
    """How many active waivers a team may have, and how long one finding may be waived altogether.

    One row is the default; a team's own row replaces it, and one without owner is for what nobody answers for.
    """

    is_default = models.BooleanField(default=False)
    owner = models.ForeignKey(Owner, models.CASCADE, null=True, blank=True, related_name="+")
    most_active = models.PositiveIntegerField()
    longest_total = models.DurationField()
    reason = models.TextField(blank=True)
    changed_by = models.CharField(max_length=200)
    changed_at = models.DateTimeField()

    objects = WaiverCapQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["is_default", "owner"], nulls_distinct=False, name="waiver_cap_one_per_team"
            ),
            models.CheckConstraint(condition=Q(is_default=False) | Q(owner=None), name="waiver_cap_default_is_of_all"),
            models.CheckConstraint(condition=Q(most_active__lte=MOST_ACTIVE), name="waiver_cap_count_is_bounded"),
            models.CheckConstraint(
                condition=Q(longest_total__gte=timedelta(0), longest_total__lte=timedelta(days=3_650)),
                name="waiver_cap_time_is_bounded",
            ),
        ]

    def __str__(self) -> str:
        return "every team" if self.is_default else str(self.owner or "what nobody answers for")


def total_of(waivers: Iterable[Waiver]) -> timedelta:
    """How long a finding is or was waived by all of its waivers together."""
    return sum((waiver.lasted for waiver in waivers), timedelta(0))
