"""Collects stylesheet, scripts and icons for serving, when any of them has changed since the last time."""

import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

from config.errors import CannotStart

# What libraries bring and no page of ours asks for. Compressing it took most of the first start.
UNUSED = ["rest_framework", "ext", "htm*-4.js", "htm*-4.min.js", "htmx-2.js"]


def digest_of_sources() -> str:
    """Changes whenever a file is added, removed, resized or touched."""
    found = []
    for finder in get_finders():
        for name, storage in finder.list(UNUSED):
            state = Path(storage.path(name)).stat()
            found.append(f"{storage.location}\0{name}\0{state.st_size}\0{state.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def ensure_collected() -> None:
    if settings.DEBUG:
        return  # served from where they lie
    stamp = settings.STATIC_ROOT / ".collected"
    digest = digest_of_sources()
    if stamp.exists() and stamp.read_text() == digest:
        return
    try:
        call_command("collectstatic", interactive=False, clear=True, verbosity=0, ignore_patterns=UNUSED)
        stamp.write_text(digest)
    except OSError as exc:
        raise CannotStart(
            f"{settings.STATIC_ROOT} cannot be written to ({exc.strerror}). "
            "Set KEYREEVE_STATIC_ROOT to a folder that can."
        ) from exc
