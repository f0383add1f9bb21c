"""Access reviews from the command line: list, preview, launch, see how they stand, close."""

import json
from argparse import ArgumentParser
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from access.actors import Actor
from inventory.models import Connection, Environment, Owner
from inventory.states import CredentialKind, ServerRole, TrustModel
from lifecycle.errors import LifecycleError
from lifecycle.tasks import ring
from reviews import running
from reviews.actions.campaigns import cancel_campaign, create_campaign, launch
from reviews.actions.closing import close_what_is_gone
from reviews.errors import ReviewError
from reviews.models import Campaign
from reviews.models.figures import decoys_of, pace, standing
from reviews.models.preview import preview
from reviews.states import NoAnswer, Reviewed
from web.wording import plural

UNFINISHED, USAGE, FAILURE = 1, 2, 3
LISTED = 50


class Command(BaseCommand):
    help = (
        "Access reviews. `preview` says what a launch with the same words would freeze and changes nothing; `close` "
        "takes a campaign as far as it goes without people. A person decides, attests and signs, on the pages or over "
        "REST. Exit code 0: done; 1: `status` or `close` and something still waits; 2: a wrong call; 3: refused."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="verb", required=True)
        listed = commands.add_parser("list", help="Campaigns, newest first.")
        listed.add_argument("--all", action="store_true", help="Those that have ended, too.")
        for verb in ("preview", "launch"):
            made = commands.add_parser(verb)
            made.add_argument("name", help="Of a draft, by name or id, or of a new campaign.")
            made.add_argument("--reviewed", nargs="+", choices=Reviewed.values, default=[Reviewed.CREDENTIAL.value])
            made.add_argument("--due", help="A day or an instant; in 30 days where nothing is said.")
            made.add_argument("--lead", help="An owner, by name or id.")
            made.add_argument("--kind", nargs="+", choices=CredentialKind.values, default=[], dest="kinds")
            made.add_argument("--trust-model", nargs="+", choices=TrustModel.values, default=[], dest="trust_models")
            made.add_argument("--server-role", nargs="+", choices=ServerRole.values, default=[], dest="server_roles")
            made.add_argument("--provider", nargs="+", default=[], dest="providers")
            made.add_argument("--tag", nargs="+", default=[], dest="tags")
            made.add_argument("--environment", nargs="+", default=[], dest="environments", help="By name or id.")
            made.add_argument("--owner", nargs="+", default=[], dest="owners", help="By name or id.")
            made.add_argument("--connection", nargs="+", default=[], dest="connections", help="By name or id.")
            made.add_argument("--no-answer", choices=NoAnswer.values, default=NoAnswer.ESCALATE.value)
            made.add_argument("--second-on-outliers", action="store_true")
            made.add_argument("--decoys", type=int, default=0, metavar="N", help="Planted for each reviewer at most.")
            made.add_argument("--repeats-every", type=int, metavar="DAYS")
        for verb in ("status", "close"):
            one = commands.add_parser(verb)
            one.add_argument("name", help="By name or id.")
        commands.choices["close"].add_argument("--cancel", metavar="REASON", help="End it unsigned.")
        for each in commands.choices.values():
            each.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['verb']}")(options)
        except (ReviewError, LifecycleError) as exc:
            raise CommandError(str(exc), returncode=FAILURE) from exc
        except DatabaseError as exc:
            raise CommandError("The database does not answer, or refused.", returncode=FAILURE) from exc

    def _say(self, said: Any, options: dict[str, Any], *lines: str) -> None:
        if options["format"] == "json":
            self.stdout.write(json.dumps(said, ensure_ascii=False))
        else:
            self.stdout.write("\n".join(lines))

    def _list(self, options: dict[str, Any]) -> None:
        rows = Campaign.objects.select_related("lead").order_by("-id")
        chosen = list((rows if options["all"] else rows.filter(ended_at=None))[:LISTED])
        said = [_as_json(row) for row in chosen]
        lines = [
            f"{row.get_state_display()}: {row.name}, {plural(row.size, 'item')}, due {row.due_at:%Y-%m-%d} ({row.pk})"
            for row in chosen
        ]
        self._say(said, options, *(lines or ["There is no campaign."]))

    def _preview(self, options: dict[str, Any]) -> None:
        row = _found(options["name"], is_draft=True) or Campaign(**self._values(options))
        said = preview(row, now=timezone.now())
        who = ", ".join(f"{each['name']} {each['items']}" for each in said["reviewers"]["first"][:5])
        self._say(
            said,
            options,
            f"{plural(said['size'], 'item')} for {plural(said['reviewers']['number'], 'reviewer')}: {who or 'nobody'}.",
            f"{said['for_any_reviewer']} for whoever is a reviewer.",
            *(f"Not looked at lately: {name}" for name in said["stale"]),
            "Nothing was changed.",
        )

    def _launch(self, options: dict[str, Any]) -> None:
        actor, now = Actor.system("command line"), timezone.now()
        row = _found(options["name"], is_draft=True)
        if row is None:
            row = create_campaign(actor=actor, now=now, **self._values(options))
        row = launch(row, actor=actor, now=now)
        beside = f" and {plural(row.planted, 'decoy')}" if row.planted else ""
        said = f"{row.name} is open: {plural(row.size, 'item')}{beside}, due {row.due_at:%Y-%m-%d}."
        self._say(_as_json(row), options, said)

    def _status(self, options: dict[str, Any]) -> None:
        self._tell(_named(options["name"]), options)

    def _close(self, options: dict[str, Any]) -> None:
        row = _named(options["name"])
        if options["cancel"]:
            cancel_campaign(row, actor=Actor.system("command line"), now=timezone.now(), reason=options["cancel"])
        else:
            close_what_is_gone(now=timezone.now())
            running.carry_on(clock=timezone.now, ring=ring)
        row.refresh_from_db()
        self._tell(row, options)

    def _tell(self, row: Campaign, options: dict[str, Any]) -> None:
        stands, waits = standing(row.pk)
        decoys = decoys_of(row.pk)
        said = {**_as_json(row), **stands, "waiting_on": waits, "pace": pace(row.pk), "decoys": decoys}
        states = ", ".join(f"{number} {name}" for name, number in stands["states"].items())
        self._say(
            said,
            options,
            f"{row.name}: {row.get_state_display().lower()}, {states or 'no items'}.",
            *(f"  waits for {each['name'] or 'any reviewer'}: {each['items']}" for each in waits[:10]),
            *(["  {planted} decoys: {found} found of {decided} decided".format(**decoys)] if row.planted else []),
        )
        if row.ended_at is None:
            raise SystemExit(UNFINISHED)

    def _values(self, options: dict[str, Any]) -> dict[str, Any]:
        days = options["repeats_every"]
        chosen = ("reviewed", "kinds", "trust_models", "server_roles", "providers", "tags", "no_answer")
        return {
            "name": options["name"],
            **{name: options[name] for name in chosen},
            "environments": [_key(Environment, each) for each in options["environments"]],
            "owners": [_key(Owner, each) for each in options["owners"]],
            "connections": [_key(Connection, each) for each in options["connections"]],
            "lead": Owner.objects.get(pk=_key(Owner, options["lead"])) if options["lead"] else None,
            "due_at": _due(options["due"]),
            "second_on_outliers": options["second_on_outliers"],
            "decoys": options["decoys"],
            "repeats_every": timedelta(days=days) if days else None,
        }


def _as_json(row: Campaign) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "name": row.name,
        "state": row.state,
        "size": row.size,
        "due_at": row.due_at.isoformat(),
        "lead": row.lead.name if row.lead else None,
        "digest": row.digest,
    }


def _due(text: str | None) -> datetime:
    if not text:
        return timezone.now() + timedelta(days=30)
    try:
        day = parse_date(text) if len(text) == 10 else None
        at = datetime.combine(day, time(), UTC) if day else parse_datetime(text)
    except ValueError:
        at = None
    if at is None:
        raise CommandError("Give a day (2026-06-30) or an instant (2026-06-30T12:00:00Z).", returncode=USAGE)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _wanted(text: str) -> Q:
    try:
        return Q(pk=UUID(text))
    except ValueError:
        return Q(name=text)


def _key(model: Any, text: str) -> UUID:
    found = list(model._default_manager.filter(_wanted(text)).values_list("pk", flat=True)[:2])
    if len(found) != 1:
        raise CommandError(
            f"{'Several are' if found else 'Nothing is'} called “{text}” there. Give the id.", returncode=USAGE
        )
    key: UUID = found[0]
    return key


def _found(text: str, *, is_draft: bool = False) -> Campaign | None:
    rows = Campaign.objects.filter(_wanted(text))
    found = list((rows.filter(state="draft") if is_draft else rows).order_by("-id")[:2])
    if len(found) > 1:
        raise CommandError(f"Several campaigns are called “{text}”. Give the id.", returncode=USAGE)
    return found[0] if found else None


def _named(text: str) -> Campaign:
    row = _found(text)
    if row is None:
        raise CommandError(f"There is no campaign {text}.", returncode=USAGE)
    return row
