from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate

from history import following


def suspend(*, using: str, plan: Any = (), **_: Any) -> None:
    if plan:
        following.suspend(using)


def follow(*, using: str, plan: Any = None, **_: Any) -> None:
    """Whenever somebody migrates, also where nothing was due. Emptying tables sends the same signal, without a plan."""
    if plan is not None:
        following.follow(using)


class HistoryConfig(AppConfig):
    name = "history"

    def ready(self) -> None:
        pre_migrate.connect(suspend, sender=self)
        post_migrate.connect(follow, sender=self)
