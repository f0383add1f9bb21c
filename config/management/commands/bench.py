"""Run benchmarks and print what was measured against its limit of the same run."""

import importlib
import json
import pkgutil
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.table import Table


class Command(BaseCommand):
    help = "Run the benchmarks by name, or all of them. Exit 1 when one misses its budget."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="*", help="discovery, intake, lists, evaluation…")
        parser.add_argument("--size", type=int, help="Rows or files, where the benchmark takes a size.")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        known = sorted(module.name for module in pkgutil.iter_modules([str(settings.BASE_DIR / "bench")]))
        known = [name for name in known if not name.startswith("_")]
        chosen = options["name"] or known
        unknown = set(chosen) - set(known)
        if unknown:
            raise CommandError(
                f"No benchmark is called {', '.join(sorted(unknown))}. There are {', '.join(known)}.", returncode=2
            )
        rows: list[dict[str, Any]] = []
        for name in chosen:
            self.stderr.write(f"{name}…")
            run = importlib.import_module(f"bench.{name}").run
            rows += run(options["size"]) if options["size"] else run()
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
        Console(file=sys.stdout).print(table)
