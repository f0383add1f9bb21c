"""Run benchmarks and print what was measured against its limit of the same run."""

import importlib
import json
import pkgutil
import shutil
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, connections
from rich.console import Console
from rich.table import Table

from config.embedded import SUPERUSER, EmbeddedPostgres
from config.home import is_root


def be(user: dict[str, Any]) -> None:
    """A benchmark makes its own database and measures bare tables beside ours: by a role that may do both."""
    connection.settings_dict.update(user)
    settings.DATABASES["default"].update(user)
    settings.OWNER_DATABASE, settings.OWNER_CONNINFO = None, ""


@contextmanager
def some_database() -> Iterator[None]:
    """The configured database where one answers, else an embedded one that is gone afterwards."""
    if settings.DATABASE_URL:
        be(settings.OWNER_DATABASE or {})
        yield
        return
    be({"USER": SUPERUSER})
    if EmbeddedPostgres(settings.EMBEDDED_DATA_DIR).is_running():
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="krb-", dir="/tmp"))  # nosec B108  # a short path, for the socket
    folder.chmod(0o711 if is_root() else 0o700)
    postgres = EmbeddedPostgres(folder / "pg")
    try:
        postgres.start()
        connection.settings_dict["HOST"] = settings.DATABASES["default"]["HOST"] = str(folder / "pg")
        yield
    finally:
        connections.close_all()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Command(BaseCommand):
    help = "Run the benchmarks by name, or all of them. Exit 1 when one misses its budget."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="*", help="discovery, intake, lists, evaluation…")
        parser.add_argument("--size", type=int, help="Rows or files, where the benchmark takes a size.")
        parser.add_argument("--seconds", type=int, help="How long, where the benchmark takes a time.")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        known = sorted(module.name for module in pkgutil.iter_modules([str(settings.BASE_DIR / "bench")]))
        known = [name for name in known if name not in {"measure", "scratch"}]
        chosen = options["name"] or known
        unknown = set(chosen) - set(known)
        if unknown:
            raise CommandError(
                f"No benchmark is called {', '.join(sorted(unknown))}. There are {', '.join(known)}.", returncode=2
            )
        rows: list[dict[str, Any]] = []
        with some_database():
            for name in chosen:
                self.stderr.write(f"{name}…")
                run = importlib.import_module(f"bench.{name}").run
                sizes = [options["size"]] if options["size"] else []
                rows += run(*sizes, **({"seconds": options["seconds"]} if options["seconds"] else {}))
        if options["format"] == "json":
            self.stdout.write(json.dumps(rows))
        else:
            self.print(rows)
        if not all(row["ok"] for row in rows):
            raise SystemExit(1)

    def print(self, rows: list[dict[str, Any]]) -> None:
        table = Table("Benchmark", "Size", "Measured", "Limit", "Ratio", "Budget", "")
        for row in rows:
            measured = f"{row['value']:,.4g} {row['unit']}"
            limit = "" if row["limit"] is None else f"{row['limit']:,.4g} {row['unit']}"
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
            table.add_row(
                row["name"],
                f"{row['size']:,}",
                measured,
                limit,
                ratio,
                str(row["budget"]),
                "ok" if row["ok"] else "MISSED",
            )
        Console(file=sys.stdout, width=120).print(table)
