"""HTML put together as text, for what stands a thousand times on one page.

Django's `format_html` says the same and takes three times as long: its `escape` first asks every argument whether it
is lazy, and marks each as safe before it is joined to the next.
"""

from collections.abc import Iterable
from html import escape
from typing import Any

from django.utils.safestring import SafeString


def escaped(value: Any) -> str:
    """The value as it may stand in HTML; what is safe already stays as it is."""
    if isinstance(value, SafeString):
        return value
    return value.__html__() if hasattr(value, "__html__") else escape(str(value))


def markup(template: str, *values: Any) -> SafeString:
    """`template` is ours; every value is escaped."""
    return SafeString(template.format(*map(escaped, values)))  # nosec B703  # each value is escaped


def joined(template: str, rows: Iterable[Iterable[Any]]) -> SafeString:
    return SafeString("".join(template.format(*map(escaped, row)) for row in rows))  # nosec B703  # escaped
