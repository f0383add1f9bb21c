"""Geometry of the small pictures. Numbers in, numbers out; the templates put them into SVG."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

AGE_WIDTH = 64.0
AGE_LIMIT = AGE_WIDTH * 2 / 3
LATE_SHARE = 0.85  # of the limit: from here on the bar is orange


@dataclass(frozen=True)
class AgeBar:
    within: float  # length of the bar up to the limit
    beyond: float  # length past it
    tone: str  # crit, high or nothing


def age_bar(days: int, limit: int) -> AgeBar:
    """The limit stands at two thirds, so that the last third can show by how much it was passed."""
    share = days / limit if limit > 0 else 2.0
    within = round(min(share, 1.0) * AGE_LIMIT, 1)
    beyond = round(min(max(share - 1.0, 0.0) * AGE_LIMIT, AGE_WIDTH - AGE_LIMIT), 1)
    return AgeBar(within, beyond, "crit" if days > limit else "high" if share >= LATE_SHARE else "")


def spark(points: Sequence[float]) -> list[tuple[float, float]]:
    """Points in a box of 96 by 28. It claims a direction only: the scale is its own lowest and highest."""
    low, high = min(points), max(points)
    step = 92 / (len(points) - 1) if len(points) > 1 else 0.0
    height = 22 / (high - low) if high > low else 0.0
    middle = 0.0 if high > low else 11.0
    return [(round(2 + i * step, 1), round(25 - (point - low) * height - middle, 1)) for i, point in enumerate(points)]


@dataclass(frozen=True)
class Part:
    tone: str  # a class c-<tone>: crit, high, med, low, ok, woad, ink, faint, none
    value: int
    label: str = ""


@dataclass(frozen=True)
class Segment:
    tone: str
    x: float
    width: float
    is_tall: bool


def segments(parts: Sequence[Part], width: float = 400, gap: float = 2) -> list[Segment]:
    """Shares of a whole with gaps between; what is there never shrinks to nothing, and the worst stands taller."""
    shown = [part for part in parts if part.value > 0]
    if not shown:
        return [Segment("none", 0.5, width - 1, False)]
    room = width - gap * (len(shown) - 1)
    total = sum(part.value for part in shown)
    widths = [max(part.value / total * room, 3.0) for part in shown]
    scale = room / sum(widths)
    found, x = [], 0.0
    for part, each in zip(shown, widths, strict=True):
        found.append(Segment(part.tone, round(x, 1), round(each * scale, 1), part.tone == "crit"))
        x += each * scale + gap
    return found


TALLY_KINDS = {  # kind → words, in the order in which a day's marks stand
    "rotation": "rotation,rotations",
    "expiry": "expiry,expiries",
    "waiver": "waiver,waivers",
    "review": "review,reviews",
}
TALLY_ROW = 8
TALLY_MOST = TALLY_ROW * 2


@dataclass(frozen=True)
class Mark:
    kind: str
    x: int
    y: int


def tally(counts: Mapping[str, int]) -> Iterator[Mark]:
    """One mark for each thing due, eight to a row and two rows; the words beside it give the full number."""
    kinds = [kind for kind in TALLY_KINDS for _ in range(counts.get(kind, 0))]
    for i, kind in enumerate(kinds[:TALLY_MOST]):
        yield Mark(kind, i % TALLY_ROW * 7, 24 - i // TALLY_ROW * 15)
