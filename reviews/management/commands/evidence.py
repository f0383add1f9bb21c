"""Build, list and verify evidence packs."""

import json
import sys
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from access.actors import Actor
from reviews import verifying
from reviews.actions.evidence import request_pack
from reviews.models import EvidencePack
from reviews.pack_shapes import USUAL_PURPOSE
from reviews.packing.building import build, place_of, population_of
from reviews.packs import EVERYTHING_PRESENT, PackRefused, PackState

BROKEN, USAGE, FAILURE = 1, 2, 3
SHOWN = 50


class Command(BaseCommand):
    help = (
        "Evidence packs: build one here and now, list them, or verify one. "
        "Exit code 0: done, or it holds; 1: it does not hold; 2: a wrong call; 3: it could not be built."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        made = verbs.add_parser("build", help="Build a pack and wait for it.")
        made.add_argument("--purpose", default=USUAL_PURPOSE)
        made.add_argument("--since", default="", help="A day or an instant; 90 days ago where nothing is said.")
        made.add_argument(
            "--until", default="", help="As everything stood then; where nothing is said, as it stands now."
        )
        made.add_argument("--sample", type=int, default=0, help="How many credentials to draw.")
        made.add_argument("--seed", default="")
        made.add_argument("--population", default=EVERYTHING_PRESENT, help="As the list of credentials is filtered.")
        verbs.add_parser("list", help="The newest packs.")
        checked = verbs.add_parser("verify", help="Verify a pack, as the script in it does.")
        checked.add_argument("pack")
        checked.add_argument("--public-key", action="append", default=[])
        for each in verbs.choices.values():
            each.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *_args: Any, **options: Any) -> None:
        getattr(self, f"_{options['verb']}")(options)

    def _build(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        try:
            population_of(options["population"])
            pack = request_pack(
                purpose=options["purpose"],
                begins_at=_moment(options["since"]),
                ends_at=_moment(options["until"]),
                sample_size=options["sample"],
                sample_seed=options["seed"],
                sample_filter=options["population"],
                actor=Actor.system("command line"),
                now=now,
            )
        except (PackRefused, ValidationError) as exc:
            said = " ".join(exc.messages) if isinstance(exc, ValidationError) else str(exc)
            raise CommandError(said, returncode=USAGE) from exc
        build(pack.pk, clock=timezone.now)
        pack.refresh_from_db()
        if pack.state != PackState.READY:
            raise CommandError(pack.error or "Another worker builds it; see its page.", returncode=FAILURE)
        self._say(options, _said(pack), f"{place_of(pack)}\nsha256 {pack.sha256}\nmanifest {pack.manifest_sha256}")

    def _list(self, options: dict[str, Any]) -> None:
        packs = [_said(pack) for pack in EvidencePack.objects.defer("summary").order_by("-pk")[:SHOWN]]
        lines = [f"{each['id']}  {each['state']:<9}  {each['sha256'][:12]:<12}  {each['purpose']}" for each in packs]
        self._say(options, packs, "\n".join(lines) or "No pack was built yet.")

    def _verify(self, options: dict[str, Any]) -> None:
        try:
            keys = [verifying.key_from(each) for each in options["public_key"]]
        except ValueError as exc:
            raise CommandError(str(exc), returncode=USAGE) from exc
        pack = verifying.Pack(options["pack"], *keys)
        problem = ""
        try:
            pack.check()
        except verifying.Broken as exc:
            problem = str(exc)
        found = {"holds": not problem, "problem": problem, "checked": pack.held, "not_checked": pack.unchecked}
        lines = [f"Holds: {each}." for each in pack.held] + [f"Not checked: {each}." for each in pack.unchecked]
        self._say(options, found, f"Does not hold: {problem}." if problem else "\n".join(lines))
        if problem:
            sys.exit(BROKEN)

    def _say(self, options: dict[str, Any], found: Any, text: str) -> None:
        self.stdout.write(json.dumps(found) if options["format"] == "json" else text)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        day = parse_date(text)
        found = parse_datetime(text) if day is None else datetime(day.year, day.month, day.day)  # noqa: DTZ001
    except ValueError as exc:
        raise CommandError(str(exc), returncode=USAGE) from exc
    if found is None:
        raise CommandError(f"{text!r} is no day and no instant.", returncode=USAGE)
    return found if found.tzinfo else timezone.make_aware(found)


def _said(pack: EvidencePack) -> dict[str, Any]:
    return {
        "id": str(pack.pk),
        "purpose": pack.purpose,
        "state": str(pack.state),
        "begins_at": pack.begins_at.isoformat(),
        "ends_at": pack.ends_at.isoformat() if pack.ends_at else None,
        "taken_at": pack.taken_at.isoformat() if pack.taken_at else None,
        "size": pack.size,
        "sha256": pack.sha256,
        "manifest_sha256": pack.manifest_sha256,
        "file": str(place_of(pack)) if pack.state == PackState.READY else None,
    }
