"""Secrets as files that only their owner reads; nothing else carries them."""

import os
from collections.abc import Callable
from pathlib import Path

FOLDER = "secrets"


def path(folder: Path, name: str) -> Path:
    return folder / FOLDER / name


def write(folder: Path, name: str, value: str) -> Path:
    """Keep a secret. The file is never readable by others, not even for a moment."""
    target = path(folder, name)
    for parent in (folder / FOLDER, target.parent):  # `parents=True` would ignore the mode on the way
        parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(value)
    return target


def kept(folder: Path, name: str, make: Callable[[], str]) -> str:
    """The secret of that name; made at the first start and kept."""
    target = path(folder, name)
    if not target.exists():
        write(folder, name, make())
    return target.read_text()
