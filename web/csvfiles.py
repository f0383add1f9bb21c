"""A list as CSV, streamed: one row in memory at a time, and no cell that a spreadsheet would run."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.http import StreamingHttpResponse

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
CHUNK = 2_000  # rows fetched from the server-side cursor at a time

Field = tuple[str, Callable[[Any], Any]]


class Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def cell(value: Any) -> str:
    """Text for one cell. A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, list | tuple | set | frozenset):
        value = "; ".join(str(each) for each in value)
    text = str(value)
    is_number = isinstance(value, int | float)
    return f"'{text}" if not is_number and text.lstrip(" ").startswith(FORMULA_STARTS) else text


def lines(rows: Iterable[Any], fields: Sequence[Field]) -> Iterator[str]:
    writer = csv.writer(Echo())
    yield writer.writerow([name for name, _ in fields])
    for row in rows:
        yield writer.writerow([cell(value(row)) for _, value in fields])


def csv_response(rows: Iterable[Any], fields: Sequence[Field], filename: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(lines(rows, fields), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["Cache-Control"] = "no-store"
    return response
