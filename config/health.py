"""What a load balancer asks: is the process there, and can it do its work?"""

from functools import cache

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from access.permissions import requires
from access.rights import Right
from config.broker import broker_answers
from web.wording import plural

BROKER = "broker"


@never_cache
@require_safe
@requires(Right.ANYBODY)
def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers; asks nobody else."""
    return _text("ok")


@never_cache
@require_safe
@requires(Right.ANYBODY)
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the database answers and is of this release, and the broker answers; else 503 with what is not so.

    Also 503 while this host is being drained. A proxy that should go on sending readers while the broker is away asks
    with `?except=broker`.
    """
    if settings.DRAIN_FILE.exists():
        return _text("this host is being drained", 503)
    try:
        if missing := missing_migrations():
            return _text(f"the database lacks {plural(len(missing), 'migration')}, {missing[0]} first", 503)
        if request.GET.get("except") != BROKER and not broker_answers():
            return _text("the broker does not answer", 503)
    except DatabaseError:
        return _text("the database does not answer", 503)
    return _text("ok")


def missing_migrations() -> list[str]:
    """Those of this release that are not applied. A newer release may have brought more: that is no harm."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations")
        applied = {f"{app}.{name}" for app, name in cursor.fetchall()}
    return [name for name in _of_this_release() if name not in applied]


@cache
def _of_this_release() -> list[str]:
    """Read once: files do not change under a process."""
    return sorted(f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations)


def _text(said: str, status: int = 200) -> HttpResponse:
    return HttpResponse(f"{said}\n", status=status, content_type="text/plain")
