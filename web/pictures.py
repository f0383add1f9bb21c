"""Geometry of the small pictures. Numbers in, numbers out; the templates put them into SVG."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

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


def spark(points: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Lines in a box of 96 by 28. It claims a direction only: the scale is its own lowest and highest.

    Where nothing was recorded a line ends and another begins after it: a gap is never drawn over.
    """
    known = [point for point in points if point is not None]
    low, high = min(known, default=0), max(known, default=0)
    step = 92 / (len(points) - 1) if len(points) > 1 else 0.0
    height = 22 / (high - low) if high > low else 0.0
    middle = 0.0 if high > low else 11.0
    lines: list[list[tuple[float, float]]] = [[]]
    for i, point in enumerate(points):
        if point is not None:
            lines[-1].append((round(2 + i * step, 1), round(25 - (point - low) * height - middle, 1)))
        elif lines[-1]:
            lines.append([])
    return [line for line in lines if line]


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


AXIS_LEFT, AXIS_RIGHT = 170.0, 990.0
ROW_TOP, ROW_HEIGHT = 29, 46
DAY = timedelta(days=1)
SHOWN_FROM = 2 * DAY  # of history; a younger bar would be a dot


@dataclass(frozen=True)
class Life:
    """One version of a credential in time. An unknown issue is drawn open from where it was first seen."""

    label: str
    hint: str
    start: datetime
    end: datetime | None  # still there when nothing
    is_start_known: bool
    is_current: bool


@dataclass(frozen=True)
class Bar:
    life: Life
    y: int
    x: float
    width: float
    beyond: tuple[float, float] | None  # x and width of what lies past the limit
    limit_x: float | None
    days_over: int


@dataclass(frozen=True)
class Lives:
    bars: list[Bar]
    ticks: list[tuple[float, str]]
    now_x: float
    height: int


def _month_ticks(start: datetime, end: datetime) -> Iterator[tuple[datetime, str]]:
    months = (end.year - start.year) * 12 + end.month - start.month
    step = next((each for each in (1, 2, 3, 6, 12) if months / each <= 9), max(months // 9, 12))
    for i in range(months + 1):
        index = start.month - 1 + i
        at = start.replace(
            year=start.year + index // 12, month=index % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0
        )
        if start <= at <= end and (at.month - 1) % min(step, 12) == 0:
            yield at, f"{at:%b}" if at.month > 1 else f"{at:%b %Y}"


def lives(versions: Sequence[Life], limit: timedelta | None, now: datetime) -> Lives | None:
    """The versions side by side, the limit of the current one, and today. Nothing when there is too little to see."""
    if not versions or now - min(life.start for life in versions) < SHOWN_FROM:
        return None
    first = min(life.start for life in versions)
    ends = [life.start + limit for life in versions if life.is_current and limit is not None]
    room = (now - first) / 3
    last = max([now, *(end for end in ends if end <= now + room)])
    start, end = first - (last - first) * 0.04, last + (last - first) * 0.1
    scale = (AXIS_RIGHT - AXIS_LEFT) / (end - start).total_seconds()

    def x(at: datetime) -> float:
        return round(AXIS_LEFT + (at - start).total_seconds() * scale, 1)

    bars = []
    for i, life in enumerate(versions):
        until = life.end or now
        over = until - life.start - limit if limit is not None and life.is_current else timedelta()
        limit_at = life.start + limit if limit is not None and life.is_current else None
        within = until - over if over > timedelta() else until
        bars.append(
            Bar(
                life,
                ROW_TOP + i * ROW_HEIGHT,
                x(life.start),
                max(round(x(within) - x(life.start), 1), 2.0),
                (x(within) + 1, round(x(until) - x(within) - 1, 1)) if over > timedelta() else None,
                x(limit_at) if limit_at is not None and limit_at <= end else None,
                max(over.days, 0),
            )
        )
    ticks = [(x(at), words) for at, words in _month_ticks(start, end)]
    return Lives(bars, ticks, x(now), ROW_TOP + len(versions) * ROW_HEIGHT + 12)


BURN_LEFT, BURN_RIGHT, BURN_TOP, BURN_BASE = 40.0, 990.0, 22.0, 182.0
BURN_MONTHS = 24  # of history at most


@dataclass(frozen=True)
class Month:
    """How many there were when a month ended, of what is to go and of what takes its place.

    Where it is not `is_known`, only what was left later was ever seen, so there were at least so many.
    """

    start: datetime
    leaving: int
    arriving: int
    is_known: bool


@dataclass(frozen=True)
class Column:
    css: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class BurnDown:
    columns: list[Column]
    ticks: list[tuple[float, str]]
    most: int
    now_x: float
    end_x: float
    height: int = 206


def burn_down(months: Sequence[Month], *, now: datetime, ends_at: datetime) -> BurnDown | None:
    """Two columns a month against the date on which one of them should be nought. Nothing when there was never any."""
    shown = list(months)[-BURN_MONTHS:]
    most = max((max(month.leaving, month.arriving) for month in shown), default=0)
    if not most:
        return None
    start, end = shown[0].start, max(ends_at, now) + timedelta(days=45)
    scale = (BURN_RIGHT - BURN_LEFT) / (end - start).total_seconds()

    def x(at: datetime) -> float:
        return round(BURN_LEFT + (at - start).total_seconds() * scale, 1)

    width = round(timedelta(days=12).total_seconds() * scale, 1)
    columns = []
    for month in shown:
        pair = ((month.leaving, "c-ink" if month.is_known else "c-none"), (month.arriving, "c-woad"))
        for i, (value, css) in enumerate(pair):
            if value:
                height = max(round(value / most * (BURN_BASE - BURN_TOP), 1), 1.5)
                left = round(x(month.start) + i * (width + 1), 1)
                columns.append(Column(css, left, round(BURN_BASE - height, 1), width, height))
    ticks = [(x(at), words) for at, words in _month_ticks(start, end)]
    return BurnDown(columns, ticks, most, x(now), x(ends_at))


STACK_LEFT, STACK_TOP = 40.0, 14.0


@dataclass(frozen=True)
class Slot:
    """One day or week: a word below it, which may be empty, and its parts from the ground up; no parts draw a gap."""

    tick: str
    parts: Sequence[tuple[str, int]]  # tone and value


@dataclass(frozen=True)
class Stacks:
    columns: list[Column]
    ticks: list[tuple[float, str]]
    most: int
    width: int
    height: int
    base: float


def stacks(slots: Sequence[Slot], width: int = 1000, height: int = 150) -> Stacks | None:
    """Columns side by side on one scale from nought. Nothing when there is nothing to see."""
    most = max((sum(value for _, value in slot.parts) for slot in slots), default=0)
    if not most:
        return None
    base = height - 24.0
    step = (width - STACK_LEFT - 10) / len(slots)
    thickness = round(min(max(step - 2, 1.5), 28), 1)
    columns, ticks = [], []
    for i, slot in enumerate(slots):
        x = round(STACK_LEFT + i * step + (step - thickness) / 2, 1)
        ground = base
        for tone, value in slot.parts:
            if value <= 0:
                continue
            tall = max(round(value / most * (base - STACK_TOP), 1), 1.5)
            ground = round(ground - tall, 1)
            columns.append(Column(f"c-{tone}", x, ground, thickness, tall))
        if slot.tick:
            ticks.append((x, slot.tick))
    return Stacks(columns, ticks, most, width, height, base)
