"""What a benchmark reports, and how it takes its times."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import TypedDict


class Row(TypedDict):
    """One measurement. `ratio` is `value` ÷ `limit`, measured in the same run; `budget` is what `ok` judges."""

    name: str
    size: int
    value: float
    unit: str
    limit: float | None
    ratio: float | None
    budget: str
    ok: bool


class Stopwatch:
    seconds: float = 0


@contextmanager
def timed() -> Iterator[Stopwatch]:
    watch = Stopwatch()
    begun = time.perf_counter()
    try:
        yield watch
    finally:
        watch.seconds = time.perf_counter() - begun


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
