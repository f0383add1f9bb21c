"""Write the table of rights into docs/rights.md, from the declaration that pages and the API ask.

DJANGO_SETTINGS_MODULE=config.settings python docs/rights.py
"""

import sys
from collections import defaultdict
from pathlib import Path

import django

MANUAL = Path(__file__).resolve().parent / "rights.md"
sys.path.insert(0, str(MANUAL.parent.parent))

from access.doors import doors  # noqa: E402  the project is no installed package
from access.rights import TABLE, Reach, Right, holders  # noqa: E402
from access.roles import Role  # noqa: E402

BEGIN, END = "<!-- rights -->", "<!-- /rights -->"
CELLS = {Reach.EVERYWHERE: "all", Reach.OWN: "own", None: "–"}


def who_may() -> str:
    """One line for each right, one column for each role."""
    lines = [f"| may | {' | '.join(role.value for role in Role)} |", f"|---|{'---|' * len(Role)}"]
    for right, held in TABLE.items():
        if right in {Right.ANYBODY, Right.SIGNED_IN}:
            continue
        having = holders(right)
        lines.append(f"| {held.says} | {' | '.join(CELLS[having.get(role)] for role in Role)} |")
    return "\n".join(lines)


def where() -> str:
    """By right, every page and every verb of the API that takes more than the right to read."""
    found: defaultdict[Right | None, list[str]] = defaultdict(list)
    for door in doors():
        for verb, right in door.rights.items():
            if right is not Right.READ and "*" not in door.path:
                found[right].append(f"`{verb.upper()} {door.path}`" if door.is_api else f"`{door.path}`")
    lines = ["| may | where |", "|---|---|"]
    for right, held in TABLE.items():
        if places := sorted(set(found[right])):
            lines.append(f"| {held.says} | {' '.join(places)} |")
    return "\n".join(lines)


def written(manual: str) -> str:
    """The manual with the tables as they should be."""
    before, _, rest = manual.partition(BEGIN)
    tables = f"{who_may()}\n\n## Where each right is asked for\n\n{where()}"
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    django.setup()
    MANUAL.write_text(written(MANUAL.read_text()))
