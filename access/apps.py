from django.apps import AppConfig
from django.core import checks


class AccessConfig(AppConfig):
    name = "access"

    def ready(self) -> None:
        from access.doors import check_doors  # noqa: PLC0415  models must be loaded first

        checks.register(check_doors, checks.Tags.security)
