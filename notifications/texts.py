"""Texts of others made fit for a line of a mail or a header: pure."""

import re
import unicodedata

LONGEST_SUBJECT = 200
LONGEST_ERROR = 300
_SPACES = re.compile(r"\s+")


def one_line(text: object, longest: int = LONGEST_SUBJECT) -> str:
    """One printable line: without control characters and without signs that turn the direction of reading.

    A name that somebody gave a server could else end a header, forge a line of a mail or read as something else.
    """
    kept = "".join(" " if char in "\r\n\t" else char for char in str(text) if char.isspace() or _is_shown(char))
    line = _SPACES.sub(" ", kept).strip()
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _is_shown(char: str) -> bool:
    # Cc control, Cf format (direction, zero width), Cs surrogates, Co private use, Cn unassigned.
    return not unicodedata.category(char).startswith("C")
