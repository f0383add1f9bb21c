from django.apps import AppConfig

from inventory.signals import synced
from lifecycle import kinds
from notifications.kinds import declare


class LifecycleConfig(AppConfig):
    name = "lifecycle"

    def ready(self) -> None:
        from lifecycle.tasks import after_sync  # noqa: PLC0415  models must be loaded first

        declare(*kinds.ALL)
        synced.connect(after_sync, dispatch_uid="lifecycle.after_sync")
