"""Fill an empty demo authorization server; leaves one that has clients as it is."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone
from oauth2_provider.models import Application

from demo.authorization_server.seed import seed


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        if not Application.objects.exists():
            seed(settings.FOLDER, resources=settings.RESOURCES, now=timezone.now())
