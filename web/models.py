"""Answers to writes, kept for a while: whoever lost one asks again with the same key and is given it."""

from typing import ClassVar

from django.db import models


class KeptAnswer(models.Model):
    """What an actor was answered to a write that named an `Idempotency-Key`. Bodies of writes hold no secret."""

    id = models.BigAutoField(primary_key=True)
    actor = models.CharField(max_length=200, help_text="Kind and id.")
    key = models.CharField(max_length=200)
    digest = models.CharField(max_length=64, help_text="Of what was asked: method, address, body.")
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(blank=True)
    location = models.TextField(blank=True)
    kept_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["actor", "key"], name="kept_answer_one_per_key")]

    def __str__(self) -> str:
        return f"answer {self.status} to {self.actor}"
