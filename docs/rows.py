"""Write the fields of a feed's rows into docs/intake.md, from the declaration that the parser checks by.

DJANGO_SETTINGS_MODULE=config.settings python docs/rows.py
"""

import sys
from pathlib import Path

MANUAL = Path(__file__).resolve().parent / "intake.md"
sys.path.insert(0, str(MANUAL.parent.parent))

from inventory.feeds.shapes import tables  # noqa: E402  the project is no installed package

BEGIN, END = "<!-- rows -->", "<!-- /rows -->"


def written(manual: str) -> str:
    """The manual with the tables as they should be."""
    before, _, rest = manual.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    MANUAL.write_text(written(MANUAL.read_text()))
