from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"

    def ready(self) -> None:
        from audit import sign_ins  # noqa: PLC0415  receivers connect once the models exist

        sign_ins.connect()
