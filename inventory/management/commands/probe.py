"""Look at live MCP servers and say how they answer the authorization checklist; needs no database."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from inventory import outside
from inventory.posture.model import VERSIONS
from inventory.probe_report import document, plain, show
from inventory.probing import Lent, Looked, look
from inventory.states import Verdict
from providers.addresses import origin, split
from providers.authorization import ProbeClient
from providers.base import Secret
from providers.errors import ProviderError
from providers.fetch import Fetcher
from providers.mcp import Revocable, TestCredentials
from providers.mcp_requests import LISTING_METHODS
from providers.observations import SafetyClass
from providers.references import ReferenceKind, References, parse_reference

FINE, FINDINGS, USAGE, FAILURE = 0, 1, 2, 3
LEVELS = ("low", "medium", "high", "critical")
MOST_URLS = 10_000
LONGEST_PREVIOUS = 64 << 20

# Options whose value is a credential by reference, and what it is lent for.
_REFERENCES = {
    "token": "the server's own credential: for the handshake and the list of tools",
    "expired_token": "a token that has expired (MCP-RS-14)",
    "other_token": "a token of the same issuer for another resource (MCP-RS-15)",
    "low_scope_token": "a token whose scope is too small for --low-scope-method (MCP-RS-17)",
    "revocable_token": "a token that may be revoked (MCP-RS-18)",
}
_CLIENT_REFERENCES = {
    "client_secret": "the secret of --client-id",
    "registration_token": "an initial access token for registrations of class M",
}


class Command(BaseCommand):
    help = "Look at live MCP servers and say how they and their authorization servers answer the checklist."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("urls", nargs="*", metavar="URL", help="addresses of MCP servers")
        for name, purpose in (_REFERENCES | _CLIENT_REFERENCES).items():
            parser.add_argument(f"--{name.replace('_', '-')}", metavar="REFERENCE", default="", help=purpose)
        parser.add_argument(
            "--low-scope-method",
            choices=sorted(LISTING_METHODS),
            default="tools/list",
            help="a method that only lists, and needs more than the scope of --low-scope-token",
        )
        parser.add_argument(
            "--revocation-endpoint", metavar="URL", default="", help="where --revocable-token is revoked"
        )
        parser.add_argument("--client-id", metavar="ID", default="", help="a client registered for such checks")
        parser.add_argument("--client-issuer", metavar="ISSUER", default="", help="the issuer that knows --client-id")
        parser.add_argument("--client-redirect", metavar="URI", default="", help="a redirect URI of --client-id")
        parser.add_argument(
            "--opt-in",
            metavar="CLASSES",
            default="",
            help="C: test credentials are used; M: clients are registered and removed",
        )
        parser.add_argument("--minimum", choices=VERSIONS, default="", help="the oldest version that policy allows")
        parser.add_argument("--previous", type=Path, help="what --format json printed before, to compare with")
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", help="json prints one document on stdout"
        )
        parser.add_argument(
            "--fail-on",
            choices=["none", *LEVELS],
            default="none",
            help="exit 1 when a check of at least this severity is violated (default: none)",
        )
        parser.add_argument(
            "--launch",
            nargs="...",
            metavar="COMMAND",
            default=[],
            help="launch this server and list its tools; takes the rest of the line",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        log = Console(stderr=True)
        given = self._checked(options)
        try:
            looked = self._look(given, log)
            if options["format"] == "json":
                shown = [document(each) for each in looked]
                json.dump(shown[0] if len(shown) == 1 else shown, sys.stdout, indent=2)
                sys.stdout.write("\n")
            else:
                out = Console(file=sys.stdout)
                for each in looked:
                    show(each, out)
            sys.stdout.flush()
        except OSError as error:
            log.print(f"The probe could not finish: {error.strerror or 'input or output failed'}.", style="red")
            # What is still in the buffer can go nowhere; Python would try again at its end and answer with 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(FAILURE)
        code = _code(looked, options["fail_on"])
        if code:
            sys.exit(code)

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The command line as what it means. Raises `CommandError` with a sentence for what cannot be meant."""
        urls, command = list(dict.fromkeys(options["urls"])), options["launch"]
        if not urls and not command:
            raise CommandError("Name at least one URL, or a command with --launch.", returncode=USAGE)
        if len(urls) > MOST_URLS:
            raise CommandError(f"Name at most {MOST_URLS} URLs at once.", returncode=USAGE)
        for url in urls:
            if split(url) is None:
                raise CommandError(f"{plain(url[:200])} is no http or https address.", returncode=USAGE)
        lending = [name for name in (*_REFERENCES, *_CLIENT_REFERENCES, "client_id") if options[name]]
        if lending and len(urls) != 1:
            raise CommandError("A credential is for one server: name one URL with it.", returncode=USAGE)
        wanted = {each.strip().upper() for each in options["opt_in"].split(",") if each.strip()}
        if wanted - {"C", "M"}:
            raise CommandError("--opt-in takes C, M or both: --opt-in C,M.", returncode=USAGE)
        if options["revocable_token"] and not (options["revocation_endpoint"] and options["client_id"]):
            raise CommandError(
                "--revocable-token needs --revocation-endpoint and the --client-id that it was issued to.",
                returncode=USAGE,
            )
        try:
            lent = self._lent(options, urls[0]) if lending else Lent()
        except (ProviderError, ValueError) as error:
            raise CommandError(str(error), returncode=USAGE) from error
        return {
            "urls": urls,
            "commands": [command] if command else [],
            "lent": lent,
            "opted_in": frozenset(SafetyClass(each) for each in wanted),
            "previous": self._previous(options["previous"]),
            "minimum": options["minimum"],
        }

    def _lent(self, options: Mapping[str, Any], url: str) -> Lent:
        """Every credential with the one place that it is for. Raises `ValueError` and `ProviderError`."""
        secrets = {name: _resolved(options[name], url) for name in _REFERENCES if options[name]}
        issuer, endpoint = options["client_issuer"], options["revocation_endpoint"]
        of_client = {name: options[name] for name in _CLIENT_REFERENCES if options[name]}
        if (of_client or options["client_id"]) and not issuer:
            raise ValueError("Say with --client-issuer which authorization server the client belongs to.")
        if endpoint and origin(endpoint) != origin(issuer):
            raise ValueError("--revocation-endpoint is not at the authorization server of --client-issuer.")
        secrets |= {name: _resolved(reference, issuer) for name, reference in of_client.items()}
        secret = secrets.get("client_secret")
        revocable = None
        if "revocable_token" in secrets:
            revocable = Revocable(
                token=secrets["revocable_token"],
                endpoint=endpoint,
                client_id=options["client_id"],
                client_secret=secret,
            )
        client = None
        if issuer and options["client_id"]:
            client = ProbeClient(
                client_id=options["client_id"],
                redirect_uri=options["client_redirect"],
                secret=secret,
                resource=url,
            )
        return Lent(
            token=secrets.get("token"),
            credentials=TestCredentials(
                expired=secrets.get("expired_token"),
                other_audience=secrets.get("other_token"),
                low_scope=secrets.get("low_scope_token"),
                low_scope_method=options["low_scope_method"],
                revocable=revocable,
            ),
            issuer=issuer,
            client=client,
            registration_token=secrets.get("registration_token"),
        )

    def _previous(self, path: Path | None) -> dict[str, Any]:
        """Snapshots by address, from a document of an earlier probe."""
        if path is None:
            return {}
        try:
            with path.open("rb") as file:
                content = file.read(LONGEST_PREVIOUS)
            read = json.loads(content)
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.", returncode=USAGE) from error
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{path} is no document of an earlier probe.", returncode=USAGE) from error
        servers = [
            each.get("server") for each in (read if isinstance(read, list) else [read]) if isinstance(each, dict)
        ]
        found = {
            server["url"]: server["snapshot"]
            for server in servers
            if isinstance(server, dict)
            and isinstance(server.get("snapshot"), dict)
            and isinstance(server.get("url"), str)
        }
        if not found:
            raise CommandError(f"{path} is no document of an earlier probe.", returncode=USAGE)
        return found

    def _look(self, given: dict[str, Any], log: Console) -> list[Looked]:
        columns = (SpinnerColumn(), TextColumn("{task.completed} looked at"))
        with Progress(*columns, console=log, transient=True, disable=not log.is_terminal) as bar:
            task = bar.add_task("probe", total=None)

            async def run() -> list[Looked]:
                async with Fetcher(outside.guard(), user_agent=outside.USER_AGENT) as fetcher:
                    return await look(
                        fetcher=fetcher,
                        clock=lambda: datetime.now(UTC),
                        progress=lambda _address: bar.advance(task),
                        **given,
                    )

            return asyncio.run(run())


def _resolved(reference: str, meant_for: str) -> Secret:
    """The secret of a reference, for the host of an address.

    Whoever gives the command reads with their own rights and names place and host in the same breath: what they name
    is listed by that.
    """
    parts = split(meant_for)
    if parts is None:
        raise ValueError("A credential needs the http or https address that it is for.")
    found = parse_reference(reference)
    is_variable = found.kind is ReferenceKind.VARIABLE
    references = References(
        folders=[Path(found.place).parent] if found.kind is ReferenceKind.FILE else [],
        variables=[found.place] if is_variable else [],
    )
    host = parts.netloc.rpartition("@")[2]
    return references.resolve(reference, bound_to=host, host=host)


def _code(looked: Iterable[Looked], fail_on: str) -> int:
    looked = list(looked)
    if fail_on != "none":
        least = LEVELS.index(fail_on) + 1
        violated = [result for each in looked for result in each.results if result.verdict == Verdict.VIOLATED]
        if any(result.severity >= least for result in violated):
            return FINDINGS
    return FINE if any(each.is_reached for each in looked) else FAILURE
