from django.apps import AppConfig

from inventory.signals import synced, tagging
from lifecycle import kinds
from notifications.kinds import declare


class LifecycleConfig(AppConfig):
    name = "lifecycle"

    def ready(self) -> None:
        from lifecycle import outgoing  # noqa: PLC0415  the same
        from lifecycle.models.asked import tags_selected  # noqa: PLC0415  the same
        from lifecycle.tasks import after_sync  # noqa: PLC0415  models must be loaded first

        declare(*kinds.ALL)
        outgoing.declare()
        synced.connect(after_sync, dispatch_uid="lifecycle.after_sync")
        tagging.connect(tags_selected, dispatch_uid="lifecycle.tags_selected")
