"""What a server logs of the tokens and keys that it takes, as somebody saw it in its logs."""

from typing import ClassVar, Self

from django.db import models

from access.actors import Actor
from history.kept import kept
from inventory.models.base import Row
from inventory.models.servers import McpServer
from inventory.states import Logged, TrustModel

LONGEST_EVIDENCE = 1_000


class LoggingRecordQuerySet(models.QuerySet["LoggingRecord"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(server__in=McpServer.objects.visible_to(actor).values("pk"))


@kept()
class LoggingRecord(Row):
    """Whether a server logs one happening, for credentials of one trust model. Without a record that is unknown."""

    server = models.ForeignKey(
        McpServer, models.CASCADE, related_name="+", db_index=False
    )  # logging_record_one_per_server_and_happening
    trust_model = models.CharField(max_length=20, choices=TrustModel)
    happening = models.CharField(max_length=20, choices=Logged)
    is_logged = models.BooleanField()
    evidence = models.TextField(
        max_length=LONGEST_EVIDENCE, blank=True, help_text="Where it can be seen: a link, a query, an entry."
    )
    recorded_by = models.CharField(max_length=200)
    recorded_at = models.DateTimeField()

    objects = LoggingRecordQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["server", "trust_model", "happening"], name="logging_record_one_per_server_and_happening"
            ),
            models.CheckConstraint(
                condition=models.Q(trust_model__in=TrustModel.values), name="logging_record_trust_model_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(happening__in=Logged.values), name="logging_record_happening_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(is_logged=False) | ~models.Q(evidence=""), name="logging_record_shows_its_evidence"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_happening_display()} on {self.server}, {self.get_trust_model_display().lower()}"
