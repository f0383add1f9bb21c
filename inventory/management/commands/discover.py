"""Find MCP servers and the credentials in their configuration; needs neither a database nor any setting."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from inventory.discovery.keys import fingerprint_key
from inventory.discovery.model import Class, FoundCredential, FoundFile, FoundServer
from inventory.discovery.scan import looked_at, scan
from inventory.discovery.severity import LEVELS, findings

FINE, FINDINGS, USAGE, FAILURE = 0, 1, 2, 3
_MARKS = {
    Class.LITERAL: "[bold red]literal[/]",
    Class.REFERENCE: "[green]reference[/]",
    Class.PLACEHOLDER: "[dim]placeholder[/]",
}


# Orders to a terminal, marks that turn the direction of writing, and halves of characters.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _plain(text: str) -> str:
    """A text from outside for a terminal: no mark-up, and nothing that acts instead of being seen."""
    return escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text))


class Command(BaseCommand):
    help = "Find MCP servers and the credentials in their configuration, on this machine or under the paths given."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "paths", nargs="*", metavar="PATH", help="files, folders or repositories; none: this machine's MCP clients"
        )
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", help="json prints one document on stdout"
        )
        parser.add_argument(
            "--fail-on",
            choices=["none", *LEVELS],
            default="none",
            help="exit 1 when a finding of at least this severity is there (default: none)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        log = Console(stderr=True)
        paths = [Path(p) for p in options["paths"]]
        missing = [str(p) for p in paths if not os.path.lexists(p)]
        if missing:
            log.print(f"There is no {missing[0]}.", style="red", markup=False)
            sys.exit(USAGE)
        try:
            code = self._run(paths, options["format"], options["fail_on"], log)
        except OSError as error:
            # The last line of defence: reading faults are handled file by file, so this is stdout or the machine.
            log.print(
                f"Discovery could not finish: {error.strerror or 'input or output failed'}.", style="red", markup=False
            )
            code = FAILURE
            # What is still in the buffer can go nowhere; Python would try again at its end and answer with 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if code:
            sys.exit(code)

    def _run(self, paths: list[Path], format_: str, fail_on: str, log: Console) -> int:
        key, is_kept = fingerprint_key(settings.KEYREEVE_HOME, settings.FINGERPRINT_KEY)
        if not is_kept:
            log.print("No fingerprint key yet: fingerprints hold for this run only.", style="yellow")
        places = {"home": Path.home(), "system": platform.system(), "environ": os.environ, "working_folder": Path.cwd()}
        columns = (SpinnerColumn(), TextColumn("{task.completed} files looked at"))
        with Progress(*columns, console=log, transient=True, disable=not log.is_terminal) as bar:
            task = bar.add_task("discover", total=None)
            found = list(
                scan(
                    paths or None,
                    key=key,
                    cache_dir=settings.SCANNER_CACHE_DIR,
                    progress=lambda count: bar.update(task, completed=count),
                    **places,  # type: ignore[arg-type]
                )
            )
        if format_ == "json":
            json.dump(
                document(found), sys.stdout, indent=2
            )  # in ASCII: any terminal takes it, and half a character too
            sys.stdout.write("\n")
            sys.stdout.flush()
        else:
            self._print(found, Console(file=sys.stdout))
        if not any(file.servers for file in found) and not paths:
            log.print("No MCP servers found. Looked at:")
            for place in looked_at(**places):  # type: ignore[arg-type]
                log.print(f"  {place}", style="dim", markup=False, highlight=False)
        worst = max((LEVELS.index(level) for level, _ in findings(found)), default=-1)
        return FINDINGS if fail_on != "none" and worst >= LEVELS.index(fail_on) else FINE

    def _print(self, found: list[FoundFile], out: Console) -> None:
        for file in found:
            label = f"{_plain(file.path)}  [dim]{file.client or ''}[/]"
            if file.error:
                where = f" (line {file.error_line})" if file.error_line else ""
                out.print(f"{label}\n  [yellow]{_plain(file.error)}{where}[/]")
            elif file.servers or file.credentials or file.entry_errors:
                out.print(label)
            for problem in file.entry_errors:
                out.print(f"  [yellow]{_plain(problem.pointer)}: {_plain(problem.reason)}[/]")
            for server in file.servers:
                out.print(_server_table(server))
            if file.credentials:
                out.print(_credential_table("in the file itself", file.credentials))
        servers = [server for file in found for server in file.servers]
        every = [c for s in servers for c in s.credentials] + [c for f in found for c in f.credentials]
        counts = ", ".join(f"{sum(c.class_ is class_ for c in every)} {class_.value}s" for class_ in Class)
        broken = sum(1 for file in found if file.error)
        out.print(
            f"{len(found)} files, {len(servers)} servers, {counts}"
            + (f", {broken} files not read" if broken else "")
            + "."
        )


def document(found: list[FoundFile]) -> dict[str, Any]:
    """The JSON document of `discover --format json`."""
    return {
        "files": [_file(file) for file in found],
        "servers": [_server(server) for file in found for server in file.servers],
    }


def _file(file: FoundFile) -> dict[str, Any]:
    shown: dict[str, Any] = {"path": file.path, "client": file.client, "format": file.format, "error": file.error}
    if file.error_line is not None:
        shown["line"] = file.error_line
    if file.credentials:
        shown["credentials"] = [_credential(c) for c in file.credentials]
    if file.entry_errors:
        shown["entry_errors"] = [{"pointer": e.pointer, "reason": e.reason} for e in file.entry_errors]
    if file.is_template:
        shown["template"] = True
    return shown


def _server(server: FoundServer) -> dict[str, Any]:
    return {
        "name": server.name,
        "transport": server.transport,
        "launcher": server.launcher,
        "package": server.package,
        "version": server.version,
        "pinned": server.pinned,
        "url": server.url,
        "disabled": server.disabled,
        "file": server.file,
        "pointer": server.pointer,
        "client": server.client,
        "trust": dict(server.trust),
        "credentials": [_credential(c) for c in server.credentials],
    }


def _credential(credential: FoundCredential) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "pointer": credential.pointer,
        "class": credential.class_.value,
        "kind": credential.kind.value,
        "fingerprint": credential.fingerprint,
        "hint": credential.hint,
        "issuer": credential.issuer,
        "confidence": credential.confidence.value,
    }
    for field in ("reference", "external_id", "account"):
        if getattr(credential, field):
            shown[field] = getattr(credential, field)
    for field in ("issued_at", "expires_at"):
        moment = getattr(credential, field)
        if moment is not None:
            shown[field] = moment.isoformat()
    return shown


def _server_table(server: FoundServer) -> Table:
    what = (
        server.url
        or " ".join(part for part in (server.launcher, server.package, server.version) if part)
        or server.command
        or ""
    )
    title = f"{server.name}  {server.transport or 'unknown'}  {what}" + ("  (disabled)" if server.disabled else "")
    return _credential_table(title, server.credentials)


def _credential_table(title: str, credentials: tuple[FoundCredential, ...]) -> Table:
    table = Table(
        title=_plain(title),
        title_justify="left",
        title_style="bold",
        show_header=bool(credentials),
        box=None,
        pad_edge=True,
    )
    for heading in ("place", "class", "kind", "issuer", "hint or reference"):
        table.add_column(heading)
    for credential in credentials:
        shown = credential.hint or credential.reference or ""
        table.add_row(
            _plain(credential.pointer),
            _MARKS[credential.class_],
            credential.kind.value,
            _plain(credential.issuer or ""),
            _plain(shown),
        )
    return table
