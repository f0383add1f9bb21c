"""How far the evaluation has come, what each rule said, and the posture day by day."""

from datetime import timedelta
from typing import ClassVar

from django.db import models


class EvaluationMark(models.Model):
    """The one row that says what findings account for: time up to `evaluated_at`, audit entries up to `seq`."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    evaluated_at = models.DateTimeField()
    full_at = models.DateTimeField()
    seq = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    duration = models.DurationField(default=timedelta(0), help_text="Of the last full evaluation.")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="evaluation_mark_is_one_row"),
        ]

    def __str__(self) -> str:
        return f"evaluated {self.evaluated_at:%Y-%m-%d %H:%M}"


class RuleState(models.Model):
    """What a rule said of everything it applies to, counted by the last full evaluation."""

    rule = models.SlugField(max_length=60, primary_key=True)
    evaluated_at = models.DateTimeField()
    met = models.PositiveIntegerField()
    violated = models.PositiveIntegerField()
    unknown = models.PositiveIntegerField()

    def __str__(self) -> str:
        return self.rule

    @property
    def population(self) -> int:
        """How many subjects the rule applies to, known or not."""
        return self.met + self.violated + self.unknown

    @property
    def met_share(self) -> float | None:
        """Of the whole population: what is unknown is not met. None when the rule applies to nothing."""
        return self.met / self.population if self.population else None


class Snapshot(models.Model):
    """The estate's posture on one day (UTC), as it last stood."""

    taken_on = models.DateField(primary_key=True)
    taken_at = models.DateTimeField()
    credentials = models.PositiveIntegerField()
    servers = models.PositiveIntegerField()
    clients = models.PositiveIntegerField()
    exposures = models.PositiveIntegerField()
    orphans = models.PositiveIntegerField()
    unrotated = models.PositiveIntegerField()
    stale = models.PositiveIntegerField()
    in_policy = models.PositiveIntegerField(help_text="Live credentials that violate none of their policy's limits.")
    critical = models.PositiveIntegerField()
    high = models.PositiveIntegerField()
    medium = models.PositiveIntegerField()
    low = models.PositiveIntegerField()
    overdue = models.PositiveIntegerField()
    waived = models.PositiveIntegerField()
    breakdown = models.JSONField(default=dict, help_text="Counts that walk the whole estate, for the overview.")

    class Meta:
        ordering: ClassVar = ["-taken_on"]

    def __str__(self) -> str:
        return f"{self.taken_on:%Y-%m-%d}"

    @property
    def findings(self) -> int:
        """Open findings of every severity."""
        return self.critical + self.high + self.medium + self.low

    @property
    def in_policy_share(self) -> float | None:
        return self.in_policy / self.credentials if self.credentials else None
