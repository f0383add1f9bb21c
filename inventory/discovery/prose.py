"""Whether a secret stands in what a person wrote: a comment, a reason, the address of a ticket."""

from __future__ import annotations

import re

from inventory.discovery import formats
from inventory.discovery.classify import Draft, Judge, Where
from inventory.discovery.model import Class

_JUDGE = Judge(b"only asks whether, keeps nothing")
_NAMED = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9_.-]{1,60})[\"'`]?\s*(?::=|[:=])\s*(?P<value>\"[^\"]*\"|'[^']*'|`[^`]*`|[^\s,;]+)"
)
_WORD = re.compile(r"[^\W\d_]*|[A-Z]{2,10}-\d+|\d{1,7}|.{0,7}")  # of a language, a ticket, a number, or too short
_SCHEME = re.compile(
    r"\b(?:bearer|basic|token|apikey|api-key|ssws)\s+(?P<value>[A-Za-z0-9+/=._~-]{16,})", re.IGNORECASE
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s\"'<>`]+")
_QUOTES = "\"'`"


def holds_secret(text: str) -> bool:
    """A known format, a value under a name that says it is secret, or one that travels in an address.

    A word that merely looks random is none: people write commits, digests and ids.
    """
    if any(not m.format.is_identifier and not formats.is_public(text[m.start : m.end]) for m in formats.find(text)):
        return True
    for found in _NAMED.finditer(text):
        value = found["value"].strip(_QUOTES).rstrip(".!?)")
        # What follows the colon of a scheme is an address, which is looked at as one below.
        if value.startswith("//") or _WORD.fullmatch(value):
            continue
        if _is_literal(_JUDGE.value(value, found["name"], "", Where.FIELD)):
            return True
    for found in _SCHEME.finditer(text):
        if _is_literal(_JUDGE.value(found["value"], "authorization", "", Where.HEADER)):
            return True
    return any(_is_literal(_JUDGE.address(found[0], "url", "")[1]) for found in _URL.finditer(text))


def _is_literal(drafts: list[Draft]) -> bool:
    return any(draft.class_ is Class.LITERAL and not draft.is_identifier and not draft.is_guess for draft in drafts)
