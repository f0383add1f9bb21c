"""What is asked of credentials, who changed that and why, and by when each credential must answer."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Self
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models

from history.kept import appended, kept
from inventory.models import Credential, Environment, Owner
from inventory.models.base import Row
from inventory.states import CredentialKind, Logged, ServerRole, Severity, TrustModel
from lifecycle.rules import asking
from lifecycle.states import Automation

LIMITS = ("max_age", "max_idle", "max_lifetime", "overlap", "review_interval")
SELECTORS = ("kinds", "trust_models", "environments", "providers", "owners", "tags", "server_roles")
REQUIREMENTS = ("requires_owner", "requires_expiry", "requires_reference", "allowed_scopes", "logging")
# What a version keeps, and what a change is about.
ASKED = ("name", "description", "priority", *SELECTORS, *LIMITS, *REQUIREMENTS, "automation", "overrides")


class PolicyQuerySet(models.QuerySet["Policy"]):
    def in_force(self) -> Self:
        return self.filter(retired_at=None)

    def in_order(self) -> Self:
        """The order in which policies are tried: the first that fits a credential binds it."""
        return self.in_force().order_by("priority", "id")

    def tied_with(self, policy: "Policy") -> Self:
        """Others of the same priority. Between them the older one is tried first, which nobody chose."""
        return self.in_force().filter(priority=policy.priority).exclude(pk=policy.pk)

    def with_names(self) -> list["Policy"]:
        """The rows, each with the names that its words need: no query for each of them."""
        policies = list(self)
        names = names_of(policies)
        for policy in policies:
            policy.names = names
        return policies


@kept()
class Policy(Row):
    """Limits for the credentials its selector fits. Of the policies that fit, the lowest priority number binds.

    An empty selector fits everything, and a limit or requirement that is empty is not asked. Within one selector any
    of its values will do; all selectors that are not empty must fit. The row is the newest version; every version is
    kept (`PolicyVersion`), and a policy is retired, never deleted.
    """

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, help_text="Where its limits come from.")
    priority = models.PositiveIntegerField(default=100)
    kinds = ArrayField(models.CharField(max_length=30, choices=CredentialKind), default=list, blank=True)
    trust_models = ArrayField(models.CharField(max_length=20, choices=TrustModel), default=list, blank=True)
    environments = ArrayField(models.UUIDField(), default=list, blank=True)
    providers = ArrayField(models.CharField(max_length=100), default=list, blank=True, help_text="As `issuer` has it.")
    owners = ArrayField(models.UUIDField(), default=list, blank=True)
    tags = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    server_roles = ArrayField(
        models.CharField(max_length=20, choices=ServerRole),
        default=list,
        blank=True,
        help_text="Of a server it serves.",
    )
    max_age = models.DurationField(null=True, blank=True)
    max_idle = models.DurationField(null=True, blank=True)
    max_lifetime = models.DurationField(null=True, blank=True)
    overlap = models.DurationField(null=True, blank=True, help_text="How long old and new version both work.")
    review_interval = models.DurationField(null=True, blank=True)
    requires_owner = models.BooleanField(default=False)
    requires_expiry = models.BooleanField(default=False)
    requires_reference = models.BooleanField(default=False, help_text="Kept by reference only, never as a literal.")
    allowed_scopes = ArrayField(
        models.CharField(max_length=200),
        default=list,
        blank=True,
        help_text="No others; `repo:*` allows what begins so.",
    )
    logging = ArrayField(
        models.CharField(max_length=20, choices=Logged),
        default=list,
        blank=True,
        help_text="What every server must log that takes such credentials.",
    )
    automation = models.CharField(max_length=20, choices=Automation, default=Automation.OFF)
    overrides = models.JSONField(
        default=dict,
        blank=True,
        help_text='Rules as this policy wants them for what it binds: {"stale": "off", "unrotated": "high"}.',
    )
    version = models.PositiveIntegerField(default=1)
    is_shipped = models.BooleanField(default=False, editable=False)
    retired_at = models.DateTimeField(null=True, blank=True, editable=False)

    names: Mapping[UUID, str] | None = None  # of environments and owners; looked up where nobody gave them

    objects = PolicyQuerySet.as_manager()

    class Meta(Row.Meta):
        ordering: ClassVar = ["priority", "id"]
        verbose_name_plural = "policies"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(retired_at=None), name="policy_name_is_unique_while_in_force"
            ),
            *(
                models.CheckConstraint(
                    condition=models.Q((f"{field}__contained_by", known.values)), name=f"policy_{field}_are_known"
                )
                for field, known in (
                    ("kinds", CredentialKind),
                    ("trust_models", TrustModel),
                    ("server_roles", ServerRole),
                    ("logging", Logged),
                )
            ),
            models.CheckConstraint(
                condition=models.Q(automation__in=Automation.values), name="policy_automation_is_known"
            ),
            *(
                models.CheckConstraint(
                    condition=models.Q((limit, None)) | models.Q((f"{limit}__gt", timedelta(0))),
                    name=f"policy_{limit}_is_positive",
                )
                for limit in LIMITS
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def binds(self) -> str:
        """Whom it binds: `AWS access keys in prod`."""
        return asking.binds(self, self._names())

    @property
    def asks(self) -> str:
        """What it asks, as a sentence of its own: `Rotate within 90 days.`"""
        words = asking.asks(self)
        return f"{words[0].upper()}{words[1:]}."

    @property
    def sentence(self) -> str:
        """Whom it binds and what it asks, in one plain sentence."""
        return asking.sentence(self, self._names())

    def _names(self) -> Mapping[UUID, str]:
        return self.names if self.names is not None else names_of([self])


def names_of(policies: Iterable[Policy]) -> dict[UUID, str]:
    """The names of the environments and owners that policies select by, two queries at most."""
    made = list(policies)
    environments = {each for policy in made for each in policy.environments}
    owners = {each for policy in made for each in policy.owners}
    return {
        **(dict(Environment.objects.filter(pk__in=environments).values_list("pk", "name")) if environments else {}),
        **(dict(Owner.objects.filter(pk__in=owners).values_list("pk", "name")) if owners else {}),
    }


class PolicyVersionQuerySet(models.QuerySet["PolicyVersion"]):
    def of(self, policy: Policy) -> Self:
        """Newest first."""
        return self.filter(policy=policy).order_by("-number")


@appended("changed_at")
class PolicyVersion(Row):
    """A policy as it stood from one change to the next: who changed it, why, and what was known beforehand."""

    policy = models.ForeignKey(Policy, models.PROTECT, related_name="+", db_index=False)  # policy_version_is_unique
    number = models.PositiveIntegerField()
    asked = models.JSONField(help_text="Every field of ASKED, as JSON.")
    sentence = models.TextField()
    reason = models.TextField(blank=True)
    changed_by = models.CharField(max_length=200)
    changed_at = models.DateTimeField()
    is_retirement = models.BooleanField(default=False)
    dry_run = models.JSONField(null=True, blank=True, help_text="What the change was expected to do.")
    back_test = models.JSONField(null=True, blank=True, help_text="What it would have done in the recorded past.")

    objects = PolicyVersionQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["policy", "number"], name="policy_version_is_unique"),
        ]

    def __str__(self) -> str:
        return f"version {self.number} of {self.policy}"


class RuleSettingQuerySet(models.QuerySet["RuleSetting"]):
    def current(self) -> Self:
        """The newest of each rule; a rule without one is as its declaration says."""
        return self.order_by("rule", "-number").distinct("rule")


class RuleSetting(Row):
    """How the whole estate wants one rule: switched off, or graded otherwise. The newest number is in force.

    A policy's `overrides` come first for the credentials that it binds.
    """

    rule = models.SlugField(max_length=60, db_index=False)
    number = models.PositiveIntegerField()
    is_on = models.BooleanField(default=True)
    severity = models.PositiveSmallIntegerField(
        choices=Severity, null=True, blank=True, help_text="In place of the rule's own, before context raises it."
    )
    reason = models.TextField()
    changed_by = models.CharField(max_length=200)
    changed_at = models.DateTimeField()

    objects = RuleSettingQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rule", "number"], name="rule_setting_number_is_unique"),
            models.CheckConstraint(condition=~models.Q(reason=""), name="rule_setting_has_a_reason"),
            models.CheckConstraint(
                condition=models.Q(severity=None) | models.Q(severity__in=[s.value for s in Severity if s]),
                name="rule_setting_severity_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule}, setting {self.number}"


@kept(ignored=("stale_at", "rescored_at"))
class Obligation(models.Model):
    """What its policy asks of one live credential, as dates. Time passing is a range in an index here.

    Written by the evaluation alone, from rows it has just read; a reference that the database checked again would
    double its cost. No policy is bound where none fits.
    """

    credential = models.OneToOneField(
        Credential, models.CASCADE, primary_key=True, related_name="+", db_constraint=False
    )
    policy = models.ForeignKey(Policy, models.PROTECT, null=True, related_name="+", db_constraint=False)
    rotate_by = models.DateTimeField(null=True)
    stale_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    review_by = models.DateTimeField(null=True)
    rescored_at = models.DateTimeField(null=True, help_text="When time alone will next change its score.")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=[date], condition=~models.Q((date, None)), name=f"obligation_by_{date}")
            for date in ("rotate_by", "stale_at", "expires_at", "review_by", "rescored_at")
        ]

    def __str__(self) -> str:
        return f"{self.credential} under {self.policy or 'no policy'}"


def asked_of(policy: Policy) -> dict[str, Any]:
    """Every field of ASKED as JSON can hold it: lengths in seconds, keys as text."""

    def plain(value: Any) -> Any:
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, list):
            return [str(each) for each in value]
        return value

    return {field: plain(getattr(policy, field)) for field in ASKED}
