"""Typed readers of environment variables. A bad value stops the start with a sentence that names the variable."""

import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from audit.errors import AuditError
from providers.errors import ProviderError

_DURATION = re.compile(r"(\d+)\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def text(name: str, default: str = "", *, environ: Mapping[str, str] = os.environ) -> str:
    return environ.get(name, "").strip() or default


def flag(name: str, default: bool = False, *, environ: Mapping[str, str] = os.environ) -> bool:
    value = text(name, environ=environ).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} is neither true nor false. Set it to 1 or 0.")


def number(
    name: str, default: int, *, least: int = 0, most: int = 2**31, environ: Mapping[str, str] = os.environ
) -> int:
    value = text(name, environ=environ)
    if not value:
        return default
    if not value.isdecimal() or not least <= int(value) <= most:
        raise ImproperlyConfigured(f"{name} must be a whole number from {least} to {most}.")
    return int(value)


def duration(name: str, default: timedelta, *, environ: Mapping[str, str] = os.environ) -> timedelta:
    """A duration written like `90s`, `15m`, `6h` or `30d`."""
    value = text(name, environ=environ)
    if not value:
        return default
    found = _DURATION.fullmatch(value)
    if not found:
        raise ImproperlyConfigured(f"{name} must be a duration such as 90s, 15m, 6h or 30d.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def names(name: str, default: tuple[str, ...] = (), *, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """A comma-separated list."""
    found = tuple(part.strip() for part in text(name, environ=environ).split(",") if part.strip())
    return found or default


def accept(name: str, use: Callable[[], object]) -> None:
    """Put a value to its use once at the start, so that one that cannot be used stops it there."""
    try:
        use()
    except (ProviderError, AuditError) as exc:
        raise ImproperlyConfigured(f"{name}: {exc}") from exc


def secret(name: str, *, environ: Mapping[str, str] = os.environ) -> str:
    """The value of `NAME`, or the content of the file that `NAME_FILE` names. Empty when neither is set."""
    value, path = text(name, environ=environ), text(f"{name}_FILE", environ=environ)
    if value and path:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set. Keep one.")
    if not path:
        return value
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read as text: {path}") from exc
