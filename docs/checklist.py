"""Write the checklist into docs/probing.md, from the declarations that the product judges by.

python docs/checklist.py
"""

import sys
from pathlib import Path

MANUAL = Path(__file__).resolve().parent / "probing.md"
sys.path.insert(0, str(MANUAL.parent.parent))

from inventory.posture.catalogue import about  # noqa: E402  the project is no installed package
from inventory.posture.model import Check, Target  # noqa: E402

BEGIN, END = "<!-- checklist -->", "<!-- /checklist -->"
TITLES = {
    Target.SERVER: "MCP servers",
    Target.AUTHORIZATION_SERVER: "Authorization servers",
    Target.CLIENT: "Clients",
}
COLUMNS = ("check", "expected", "level", "class", "versions", "severity", "where it says so")


def tables() -> str:
    """One table for each kind of subject."""
    head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    parts = [f"### {title}\n\n{head}\n" + "\n".join(map(row, about(target))) for target, title in TITLES.items()]
    return "\n\n".join(parts)


def row(check: Check) -> str:
    versions = check.versions
    spoken = "all" if not versions else versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"
    severity = check.severity.label.lower() if check.severity else "information"
    cells = (check.id, check.title, check.level, check.safety.value, spoken, severity, check.section)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def written(manual: str) -> str:
    """The manual with the tables as they should be."""
    before, _, rest = manual.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    MANUAL.write_text(written(MANUAL.read_text()))
