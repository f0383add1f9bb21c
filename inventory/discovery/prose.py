"""Whether a secret stands in what a person wrote: a comment, a reason, the address of a ticket."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

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
# `the password is …`, which a value must look like, or each such sentence would hold one; and `curl -u name:…`.
_SAID = re.compile(
    r"(?:\b(?i:password|passphrase|passwd|secret|token|key)\s+is\s+[\"'`]?"
    r"(?=[^\s-]{10})(?=[^\s-]{0,80}[0-9])(?=[^\s-]{0,80}[a-z])(?=[^\s-]{0,80}[A-Z])"
    r"|(?<![\w-])(?:-u|--user)[\s=]\s*[\"']?[^\s:\"']{1,80}:)(?P<value>[^\s\"'`]{8,})"
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s\"'<>`]+")
_QUOTES = "\"'`"


def holds_secret(text: str) -> bool:
    """A known format, a value under a name that says it is secret, or one that travels in an address.

    A word that merely looks random is none: people write commits, digests and ids. Read as it is written and as it is
    meant: a chat or a word processor may have put signs between that nobody sees, and an address bar percent signs.
    """
    return any(_holds_secret(each) for each in dict.fromkeys((text, _meant(text))))


def _meant(text: str) -> str:
    decoded = unquote(text, errors="replace") if "%" in text else text
    return "".join(char for char in unicodedata.normalize("NFKC", decoded) if unicodedata.category(char) != "Cf")


def _holds_secret(text: str) -> bool:
    if any(not m.format.is_identifier and not formats.is_public(text[m.start : m.end]) for m in formats.find(text)):
        return True
    for found in _NAMED.finditer(text):
        value = found["value"].strip(_QUOTES).rstrip(".!?)")
        # What follows the colon of a scheme is an address, which is looked at as one below.
        if value.startswith("//") or _WORD.fullmatch(value):
            continue
        if _is_literal(_JUDGE.value(value, found["name"], "", Where.FIELD)):
            return True
    if any(_is_literal(_JUDGE.value(found["value"], "password", "", Where.FIELD)) for found in _SAID.finditer(text)):
        return True
    for found in _SCHEME.finditer(text):
        if _is_literal(_JUDGE.value(found["value"], "authorization", "", Where.HEADER)):
            return True
    return any(_is_literal(_JUDGE.address(found[0], "url", "")[1]) for found in _URL.finditer(text))


def _is_literal(drafts: list[Draft]) -> bool:
    return any(draft.class_ is Class.LITERAL and not draft.is_identifier and not draft.is_guess for draft in drafts)
