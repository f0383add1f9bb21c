"""Makes realistic secrets at run time, so that none is ever written down."""

from __future__ import annotations

import random
import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
import string
import zlib
from typing import Any

LETTERS = string.ascii_letters + string.digits
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PRINTABLE = LETTERS + "_-"


def noise(size: int, alphabet: str = LETTERS) -> str:
    return "".join(random.choices(alphabet, k=size))


def hexadecimal(size: int) -> str:
    return noise(size, "0123456789abcdef")


def github_token(prefix: str = "ghp") -> str:
    """With the checksum that real ones have."""
    body = noise(30)
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, rest = divmod(number, 62)
        digits = _BASE62[rest] + digits
    return f"{prefix}_{body}{digits.rjust(6, '0')}"


def sample_of(pattern: re.Pattern[str]) -> str:
    """A random string that the expression matches; look-arounds and boundaries are left to chance."""
    return _written(sre_parser.parse(pattern.pattern))


def _written(parsed: Any) -> str:
    return "".join(_one(op, argument) for op, argument in parsed)


def _one(op: Any, argument: Any) -> str:
    if op is sre.LITERAL:
        return chr(argument)
    if op is sre.IN:
        return random.choice(_members(argument))
    if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        low, high, inner = argument
        count = random.randint(int(low), min(int(high), int(low) + 12))
        return "".join(_written(inner) for _ in range(count))
    if op is sre.SUBPATTERN:
        return _written(argument[-1])
    if op is sre.BRANCH:
        return _written(random.choice(argument[1]))
    if op in (sre.AT, sre.ASSERT, sre.ASSERT_NOT):
        return ""
    if op is sre.CATEGORY:
        return random.choice(LETTERS)
    raise AssertionError(f"unexpected {op}")


def _members(items: Any) -> str:
    found = ""
    for op, argument in items:
        if op is sre.LITERAL:
            found += chr(argument)
        elif op is sre.RANGE:
            found += "".join(map(chr, range(argument[0], argument[1] + 1)))
        elif op is sre.CATEGORY:
            found += {sre.CATEGORY_DIGIT: string.digits, sre.CATEGORY_SPACE: "\n"}.get(argument, _PRINTABLE)
    return found
