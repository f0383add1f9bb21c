from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.core import checks


class AccessConfig(AppConfig):
    name = "access"

    def ready(self) -> None:
        from access.doors import check_doors  # noqa: PLC0415  models must be loaded first
        from access.middleware import begin  # noqa: PLC0415

        checks.register(check_doors, checks.Tags.security)
        user_logged_in.connect(begin, dispatch_uid="access.begin")
