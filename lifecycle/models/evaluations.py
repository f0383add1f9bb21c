"""How far the evaluation has come, what each rule said, and the posture day by day."""

from datetime import date, timedelta
from typing import ClassVar

from django.db import models

from history.kept import appended


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


class Verdicts(models.Model):
    """How many subjects of a rule were seen to meet it, to violate it, or could not be seen."""

    met = models.PositiveIntegerField()
    violated = models.PositiveIntegerField()
    unknown = models.PositiveIntegerField()

    class Meta:
        abstract = True

    @property
    def population(self) -> int:
        """How many subjects the rule applies to, known or not."""
        return self.met + self.violated + self.unknown

    @property
    def met_share(self) -> float | None:
        """Of the whole population: what is unknown is not met. None when the rule applies to nothing."""
        return self.met / self.population if self.population else None

    @property
    def seen_share(self) -> float | None:
        """Of the population, what the rule could tell anything about. None when it applies to nothing."""
        return (self.met + self.violated) / self.population if self.population else None


class RuleState(Verdicts):
    """What a rule said of everything it applies to, counted by the last full evaluation."""

    rule = models.SlugField(max_length=60, primary_key=True)
    evaluated_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.rule


class RuleDay(Verdicts):
    """What a rule said on one day (UTC), as the day's last full evaluation counted it. No row: nobody counted."""

    id = models.BigAutoField(primary_key=True)
    rule = models.SlugField(max_length=60, db_index=False)
    taken_on = models.DateField()
    counted_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rule", "taken_on"], name="rule_day_one_per_rule_and_day"),
        ]

    def __str__(self) -> str:
        return f"{self.rule} on {self.taken_on:%Y-%m-%d}"


def rule_series(slug: str, days: int, *, today: date) -> list[tuple[date, RuleDay | None]]:
    """Each of the last `days` days up to `today`, oldest first. A day on which nobody counted has None, never a guess.

    The counts are of the whole estate: only for those who see all of it.
    """
    first = today - timedelta(days=days - 1)
    counted = {row.taken_on: row for row in RuleDay.objects.filter(rule=slug, taken_on__range=(first, today))}
    return [(day, counted.get(day)) for day in (first + timedelta(days=i) for i in range(days))]


@appended("taken_at")
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
    in_policy = models.PositiveIntegerField(
        null=True, help_text="Live credentials that were seen to keep each limit of their policy."
    )
    out_of_policy = models.PositiveIntegerField(null=True, help_text="Live credentials that violate a limit.")
    policy_unknown = models.PositiveIntegerField(
        null=True, help_text="Live credentials that violate no limit as far as anybody can tell, and may violate one."
    )
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
    def under_policy(self) -> int | None:
        """Live credentials that a policy binds or may bind. None of a day that did not count the unknown apart."""
        if self.in_policy is None or self.out_of_policy is None or self.policy_unknown is None:
            return None
        return self.in_policy + self.out_of_policy + self.policy_unknown

    @property
    def in_policy_share(self) -> float | None:
        """Of the credentials under policy: what is unknown is not in policy."""
        return (self.in_policy or 0) / self.under_policy if self.under_policy else None
