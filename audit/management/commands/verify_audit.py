"""Walk the audit chain and compare it with the exported heads."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from audit.errors import PlaceInvalid, PlaceRefuses
from audit.exports import Comparison, compare
from audit.places import place_at
from web.wording import plural


class Command(BaseCommand):
    help = "Verify the audit chain. Exit 0 when it holds, 1 with the first thing that does not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--heads", default="", help="Where exported heads are: a folder, or s3://bucket/prefix?region=REGION."
        )
        parser.add_argument(
            "--public-key",
            action="append",
            default=[],
            help="Ed25519 public key in hex that you hold from elsewhere; keys it vouches for are accepted too.",
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        given = options["public_key"]
        try:
            trusted = [_key(text) for text in ([given] if isinstance(given, str) else given)]
            place = place_at(str(options["heads"] or settings.CHAIN_HEADS_DIR), key=settings.CHAIN_HEADS_S3_KEY)
        except (ValueError, PlaceInvalid) as exc:
            raise CommandError(str(exc), returncode=2) from exc
        try:
            found = compare(place, trusted=trusted)
        except PlaceRefuses as exc:
            raise CommandError(str(exc), returncode=3) from exc
        problem, heads = found.problem, len(found.documents.heads)
        if problem is None and not heads and (options["heads"] or trusted):
            problem = f"there is no exported head in {place.address} to compare it with"
        if options["format"] == "json":
            self.stdout.write(json.dumps(_said(found, problem)))
        elif problem is None:
            chain = found.chain
            self.stdout.write(
                f"The chain holds: {plural(chain.count, 'entry,entries')}, last {chain.seq}, {chain.hash.hex()}."
            )
            for line in _compared(found, has_key=bool(trusted)):
                self.stdout.write(line)
        elif found.chain.broken:
            self.stderr.write(f"The chain does not hold: {problem}. {found.chain.count} entries before it do.")
        else:
            self.stderr.write(
                f"The {found.chain.count} entries follow from each other, but not from what was signed: {problem}."
            )
        for warning in found.warnings:
            self.stderr.write(f"Warning: {warning}.")
        if problem is not None:
            raise SystemExit(1)


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("A public key is 64 hexadecimal digits.")
    return key


def _said(found: Comparison, problem: str | None) -> dict[str, Any]:
    chain, last = found.chain, found.documents.last
    return {
        "entries": chain.count,
        "last": chain.seq,
        "hash": chain.hash.hex(),
        "holds": problem is None,
        "heads": len(found.documents.heads),
        "heads_by_given_keys": found.documents.by_given_keys,
        "last_head": last.seq if last else None,
        "last_signed_at": last.signed_at.isoformat() if last else None,
        "uncovered": found.uncovered,
        "keys": [key.public_key.hex() for key in found.documents.keys],
        "warnings": found.warnings,
        "problem": problem,
    }


def _compared(found: Comparison, *, has_key: bool) -> list[str]:
    """What the exported heads add, and what nobody checked."""
    documents, last = found.documents, found.documents.last
    if last is None:
        return ["No exported head was there to compare it with: that the whole was not written anew is not checked."]
    agreed = f"It agrees with {plural(len(documents.heads), 'exported head')}"
    if not has_key:
        lines = [f"{agreed}. Whose key signed them is not checked: --public-key."]
    elif documents.by_earlier_keys:
        lines = [
            f"{agreed}: {documents.by_given_keys} signed by the given key or by keys that it vouches for.",
            f"{plural(documents.by_earlier_keys, 'head is,heads are')} of keys before it, which it does not vouch for.",
        ]
    else:
        lines = [f"{agreed} signed by the given key, or by keys that it vouches for."]
    lines.append(f"The last one is of entry {last.seq}, signed {last.signed_at:%Y-%m-%d %H:%M} UTC.")
    if found.uncovered:
        lines.append(f"No head covers the {plural(found.uncovered, 'entry,entries')} behind it yet.")
    return lines
