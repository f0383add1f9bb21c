from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        from config import heartbeats, logs, tracing  # noqa: PLC0415  models must be loaded first

        heartbeats.listen()
        logs.listen()
        tracing.listen()
