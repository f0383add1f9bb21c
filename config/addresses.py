"""Where this Keyreeve is reached."""

from django.conf import settings


def host_name() -> str:
    """A name by which requests are accepted."""
    first = settings.ALLOWED_HOSTS[0] if settings.ALLOWED_HOSTS else "localhost"
    return "localhost" if first == "*" else str(first).lstrip(".")


def base_url(port: int | None = None) -> str:
    """The beginning of every link, as a person would type it; behind TLS without our own port."""
    if settings.HTTPS:
        return f"https://{host_name()}"
    host = settings.BIND if settings.BIND in settings.ALLOWED_HOSTS else host_name()
    return f"http://{host}:{port or settings.PORT}"


def link_life() -> str:
    """How long a one-time sign-in link works."""
    hours = settings.PASSWORD_RESET_TIMEOUT // 3600
    return f"{hours} hours" if hours > 1 else f"{settings.PASSWORD_RESET_TIMEOUT // 60} minutes"
