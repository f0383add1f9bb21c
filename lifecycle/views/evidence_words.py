"""What a finding was found by, in the words of a record; lengths are kept in seconds and said in days."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from inventory.filters import CRITICALITY
from inventory.posture.catalogue import CHECKS
from lifecycle.rules.wording import length


def shown(evidence: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Each by its name; what is not known is left out."""
    shown: list[tuple[str, Any]] = []
    for name, value in evidence.items():
        if value is None:
            continue
        if name.endswith("_at") or name in {"known_since", "rotate_by", "review_by"}:
            try:
                shown.append((name, datetime.fromisoformat(str(value))))
            except ValueError:
                shown.append((name, value))
        elif name.startswith("max_") or name in {"lifetime", "interval"}:
            shown.append((name, length(timedelta(seconds=int(value)))))
        elif name == "checks" and isinstance(value, list):
            shown.append(
                (name, "; ".join(f"{each} {CHECKS[each].title}" if each in CHECKS else each for each in value))
            )
        elif isinstance(value, list):
            shown.append((name, ", ".join(str(each) for each in value)))
        elif name == "criticality":
            shown.append(("serves", dict(CRITICALITY).get(str(value), "unknown").lower()))
        elif isinstance(value, bool):
            shown.append((name, "yes" if value else "no"))
        else:
            shown.append((name, value))
    return shown


def title(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
