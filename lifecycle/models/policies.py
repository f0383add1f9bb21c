"""What is asked of credentials, and by when each of them must answer."""

from datetime import timedelta
from typing import ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models

from inventory.models import Credential, Environment
from inventory.models.base import Row
from inventory.states import CredentialKind, TrustModel
from lifecycle.rules.wording import length


class PolicyQuerySet(models.QuerySet["Policy"]):
    def in_order(self) -> Self:
        """The order in which policies are tried: the first that fits a credential binds it."""
        return self.order_by("priority", "id")


class Policy(Row):
    """Limits for the credentials its selector fits. Of the policies that fit, the lowest priority number binds.

    An empty selector fits everything, and a limit that is empty is not asked.
    """

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    priority = models.PositiveIntegerField(default=100)
    kinds = ArrayField(models.CharField(max_length=30, choices=CredentialKind), default=list, blank=True)
    trust_model = models.CharField(max_length=20, choices=TrustModel, blank=True)
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, blank=True, related_name="+")
    max_age = models.DurationField(null=True, blank=True)
    max_idle = models.DurationField(null=True, blank=True)
    max_lifetime = models.DurationField(null=True, blank=True)
    requires_expiry = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=1)
    is_shipped = models.BooleanField(default=False, editable=False)

    objects = PolicyQuerySet.as_manager()

    class Meta(Row.Meta):
        ordering: ClassVar = ["priority", "id"]
        verbose_name_plural = "policies"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(kinds__contained_by=CredentialKind.values), name="policy_kinds_are_known"
            ),
            models.CheckConstraint(
                condition=models.Q(trust_model__in=["", *TrustModel.values]), name="policy_trust_model_is_known"
            ),
            *(
                models.CheckConstraint(
                    condition=models.Q((limit, None)) | models.Q((f"{limit}__gt", timedelta(0))),
                    name=f"policy_{limit}_is_positive",
                )
                for limit in ("max_age", "max_idle", "max_lifetime")
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def sentence(self) -> str:
        """What the policy asks, in one plain sentence."""
        asked = [
            words
            for words, is_asked in (
                (f"rotate within {length(self.max_age)}", self.max_age),
                (f"retire after {length(self.max_idle)} without use", self.max_idle),
                (f"live at most {length(self.max_lifetime)}", self.max_lifetime),
                ("have an expiry", self.requires_expiry),
            )
            if is_asked
        ]
        if not asked:
            return "Asks nothing."
        words = asked[0] if len(asked) == 1 else f"{', '.join(asked[:-1])} and {asked[-1]}"
        return f"{words[0].upper()}{words[1:]}."


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

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=[date], condition=~models.Q((date, None)), name=f"obligation_by_{date}")
            for date in ("rotate_by", "stale_at", "expires_at")
        ]

    def __str__(self) -> str:
        return f"{self.credential} under {self.policy or 'no policy'}"
