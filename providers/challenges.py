"""Read `WWW-Authenticate` headers (RFC 9110 §11.6.1): what a server says it wants before it answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

# Far beyond what honest servers send. What is longer is cut off, so that reading costs a bounded time.
MAXIMUM_LENGTH = 16_384
MAXIMUM_CHALLENGES = 32

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))', re.DOTALL)
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t]|,|$)")
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))")
_SEPARATORS = re.compile(r"[ \t,]*")
_SPACES = re.compile(r"[ \t]*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: its scheme in lower case and its parameters, their names in lower case too."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge of every `WWW-Authenticate` header, in order.

    Scheme and parameter names are case-insensitive, quoted values may hold commas, and several challenges may share
    one header. Of a parameter given twice in one challenge the first counts. What follows a place that cannot be read
    is skipped up to the next comma, so that one broken challenge does not hide a whole one.
    """
    found: list[Challenge] = []
    for header in headers:
        for challenge in _challenges(header[:MAXIMUM_LENGTH]):
            if len(found) == MAXIMUM_CHALLENGES:
                return found
            found.append(challenge)
    return found


def for_tokens(headers: Iterable[str]) -> Challenge | None:
    """The challenge that asks for an access token: the first `Bearer` one, else the first `DPoP` one."""
    challenges = parse(headers)
    for scheme in ("bearer", "dpop"):
        for challenge in challenges:
            if challenge.scheme == scheme:
                return challenge
    return None


def _challenges(text: str) -> Iterator[Challenge]:
    at = _SEPARATORS.match(text, 0).end()  # type: ignore[union-attr]  # it matches the empty text too
    while at < len(text):
        scheme = _SCHEME.match(text, at)
        if scheme is None:
            at = _past_comma(text, at)
            continue
        parameters: dict[str, str] = {}
        at = _SPACES.match(text, scheme.end()).end()  # type: ignore[union-attr]
        # A lone token68 (`Negotiate YII=`) is no parameter; it is recognised by what follows it.
        if _PARAMETER.match(text, at) is None and (lone := _TOKEN68.match(text, at)):
            at = lone.end()
        while parameter := _PARAMETER.match(text, at):
            name, quoted, plain = parameter.groups()
            parameters.setdefault(name.lower(), plain if quoted is None else _ESCAPED.sub(r"\1", quoted))
            at = _SEPARATORS.match(text, parameter.end()).end()  # type: ignore[union-attr]
        yield Challenge(scheme[1].lower(), parameters)
        at = _SEPARATORS.match(text, at).end()  # type: ignore[union-attr]


def _past_comma(text: str, at: int) -> int:
    comma = text.find(",", at)
    return len(text) if comma < 0 else _SEPARATORS.match(text, comma).end()  # type: ignore[union-attr]
