"""What Keyreeve does about itself by the clock."""

from celery import shared_task
from django.utils import timezone

from access.models import ApiToken
from config.tokens import tell_inventory


@shared_task(ignore_result=True)
def list_own_tokens() -> dict[str, int]:
    """Bring the last uses of Keyreeve's own API tokens, and those that expired, into the inventory."""
    count = ApiToken.objects.count()
    if count:
        tell_inventory(clock=timezone.now)
    return {"tokens": count}
