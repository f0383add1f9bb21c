"""The doorbell of what is kept of the past."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from history.forgetting import forget


@shared_task
def forget_old_versions() -> dict[str, int]:
    return {"versions": forget(timezone.now() - settings.HISTORY_KEPT_FOR)}
