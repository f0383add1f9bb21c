from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"

    def ready(self) -> None:
        from notifications.account_signals import declare  # noqa: PLC0415  models must be loaded first

        declare()
