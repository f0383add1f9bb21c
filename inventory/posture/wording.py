"""How verdicts word numbers and lists. Pure, as the judges are."""

from collections.abc import Callable, Sequence
from typing import Any


def counted(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{plural}"


def some(values: Sequence[Any], most: int, shown: Callable[[Any], str]) -> str:
    """`a, b and 3 more`: the first of the values, each as `shown` says it."""
    said = ", ".join(shown(value) for value in values[:most])
    return said if len(values) <= most else f"{said} and {len(values) - most} more"
