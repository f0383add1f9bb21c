"""Evidence packs, of now and of the past: written and verified, against a bare COPY of the rows of their lists."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection, transaction
from django.utils import timezone

from bench.lists import fill
from bench.measure import Row, timed
from bench.past import FIRST, SECOND, change
from bench.scratch import scratch_database
from history.past import looking_at
from reviews import verifying
from reviews.packing.building import one_snapshot, population_of
from reviews.packing.lists import sources
from reviews.packing.writing import Inputs, write_pack

SHARE = 0.1  # of a bare COPY: a pack judges, links, compresses and takes digests besides
MOST_MEMORY = 64  # MiB that a pack may add, whatever its size
SLOWER = 3  # a pack of the past, of which each row lies among those that have ended
PERIOD = timedelta(days=90)
# Its own memory: what `getrusage` says of a child begins with that of its parent.
MEASURED = """
import runpy, sys
script, pack = sys.argv[1:]
sys.argv = [script, pack, "--quiet"]
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as ended:
    if ended.code:
        raise
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def run(size: int = 100_000) -> list[Row]:
    with scratch_database(), tempfile.TemporaryDirectory() as folder:
        fill(0, size)
        return list(_run(Path(folder), size))


def _run(folder: Path, size: int) -> Iterator[Row]:
    place = folder / "pack.zip"
    with one_snapshot() as at:
        rows, seconds, grown = _written(place, at)
    bare = _bare()
    rate, limit = rows / seconds, rows / bare
    yield Row(
        name="evidence pack, its list rows against a bare COPY",
        size=size,
        value=round(rate),
        unit="rows/s",
        limit=round(limit),
        ratio=round(rate / limit, 2),
        budget=f"≥ {SHARE} × COPY; {place.stat().st_size >> 20} MiB in {seconds:.0f} s",
        ok=rate >= SHARE * limit,
    )
    yield _memory("memory that a pack adds", size, grown)
    yield from _checked("the pack", place, size, rows, seconds)
    for statements in (FIRST, SECOND):
        then = timezone.now()
        change(statements)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    with one_snapshot(), looking_at(then, is_gathering=True):
        rows, was, grown = _written(folder / "past.zip", then, ends_at=then)
    yield Row(
        name="the same as of a past instant, since when every row has changed",
        size=size,
        value=round(rows / was),
        unit="rows/s",
        limit=round(rate),
        ratio=round(was / seconds, 2),
        budget=f"≤ {SLOWER} × the seconds of the present; {was:.0f} s",
        ok=was <= SLOWER * seconds,
    )
    yield _memory("memory that a pack of the past adds", size, grown)
    yield from _checked("the pack of the past", folder / "past.zip", size, rows, was)


def _written(place: Path, at: datetime, *, ends_at: datetime | None = None) -> tuple[int, float, float]:
    """How many rows its lists have, in how many seconds, and by how many MiB memory grew. Within a snapshot."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with timed() as took, place.open("w+b") as file:
        inputs = Inputs(
            purpose="Benchmark", begins_at=at - PERIOD, taken_at=at, ends_at=ends_at, release="", sample_size=25,
            sample_seed="s", population=population_of(""),
        )  # fmt: skip
        written = write_pack(file, inputs, key=Ed25519PrivateKey.generate(), progress=lambda _step: None)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    rows = sum(entry["rows"] for entry in written.summary["files"] if entry["path"].startswith("lists/"))
    return rows, took.seconds, grown


def _checked(what: str, place: Path, size: int, rows: int, written: float) -> Iterator[Row]:
    seconds, memory = _verified(place)
    yield Row(
        name=f"verification of {what}, against writing it",
        size=size,
        value=round(rows / seconds),
        unit="rows/s",
        limit=round(rows / written),
        ratio=round(written / seconds, 2),
        budget=f"no slower than writing; {seconds:.0f} s",
        ok=seconds <= written,
    )
    yield _memory(f"memory of the verifier of {what}", size, memory)


def _memory(name: str, size: int, mib: float) -> Row:
    return Row(
        name=name,
        size=size,
        value=round(mib, 1),
        unit="MiB",
        limit=None,
        ratio=None,
        budget=f"≤ {MOST_MEMORY} MiB at any size",
        ok=mib <= MOST_MEMORY,
    )


def _bare() -> float:
    """The seconds that the same tables take as they stand, as JSON and as CSV, by their keys and thrown away."""
    models = [source.rows.model._meta for source in sources(timezone.now() - PERIOD).values()]
    with timed() as watch, transaction.atomic(), connection.cursor() as cursor:
        for model in models:
            for columns, form in (("row_to_json(t)", "text"), ("*", "csv")):
                select = f"SELECT {columns} FROM {model.db_table} t ORDER BY {model.pk.column}"
                with cursor.cursor.copy(f"COPY ({select}) TO STDOUT (FORMAT {form})") as copied:
                    for _ in copied:
                        pass
    return watch.seconds


def _verified(place: Path) -> tuple[float, float]:
    """The seconds that the verifier takes in a clean Python of its own, and its memory in MiB."""
    with timed() as watch:
        process = subprocess.run(
            [sys.executable, "-I", "-c", MEASURED, verifying.__file__, str(place)],
            capture_output=True,
            text=True,
            check=False,
        )
    if process.returncode:
        raise AssertionError(process.stderr)
    return watch.seconds, int(process.stdout) / 1024
