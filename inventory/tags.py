"""Tags: short words by which people, feeds and providers sort credentials, and which policies select by. Pure."""

import re
from collections.abc import Iterable

MOST, LONGEST = 20, 60  # of one credential; characters of one tag
RULE = f"A tag is of lower-case letters, digits and . _ : - and has at most {LONGEST} of them."

_TAG = re.compile(rf"[a-z0-9._:-]{{1,{LONGEST}}}")
_FOREIGN = re.compile(r"[^a-z0-9._:-]+")


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def as_tag(name: str, value: str = "") -> str:
    """What a provider calls a label, as a tag: `Cost Center`, `R&D` → `cost-center:r-d`. Empty when nothing is left."""
    parts = (_FOREIGN.sub("-", part.lower()).strip("-") for part in (name, value))
    return ":".join(part for part in parts if part)[:LONGEST].rstrip(":-")


def tags_of(labels: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """A provider's labels as tags, in a settled order and no more than a credential may have."""
    return tuple(sorted({tag for name, value in labels if (tag := as_tag(name, value))})[:MOST])
