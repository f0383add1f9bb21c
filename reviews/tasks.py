"""Doorbells of controls and evidence."""

from celery import shared_task
from django.utils import timezone

from reviews.actions.controls import measure_controls as measure


@shared_task
def measure_controls() -> dict[str, int]:
    return {"measures": measure(timezone.now())}
