"""How a published document differs from the one before, in sentences. Any JSON gives sentences and never an error."""

import json
from collections.abc import Mapping
from typing import Any

from inventory.posture.wording import some

LONGEST = 120
MOST = 5


def differences(previous: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """What changed between two documents, field by field: a sentence each, in the order of their names."""
    said = []
    for name in sorted({*previous, *current}, key=str):
        field = _shown(name)
        if name not in previous:
            said.append(f"{field} appeared: {_shown(current[name])}.")
        elif name not in current:
            said.append(f"{field} is no longer there; it was {_shown(previous[name])}.")
        elif previous[name] != current[name]:
            said.append(_change(field, previous[name], current[name]))
    return said


def _change(field: str, before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list):
        gained = [value for value in after if value not in before]
        lost = [value for value in before if value not in after]
        parts = [f"{verb} {_some(values)}" for verb, values in (("gained", gained), ("lost", lost)) if values]
        return f"{field} {' and '.join(parts)}." if parts else f"{field} lists the same in another order."
    return f"{field} changed from {_shown(before)} to {_shown(after)}."


def _some(values: list[Any]) -> str:
    return some(values, MOST, _shown)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return _some(value) or "nothing"
    text = value if isinstance(value, str) else "an object" if isinstance(value, Mapping) else json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
