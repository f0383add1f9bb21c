"""A picture of who reaches what: nodes in lanes from left to right, edges between neighbouring lanes.

Server-rendered: this module only places things, `components/lanes.html` draws them, and a list beside it says the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT, GAP = 232, 42, 14
TOP = 26
TEXT_LENGTH = 27


@dataclass(frozen=True)
class Node:
    """One box. `lane` counts from the left; `tone` is on, bad or empty."""

    key: str
    lane: int
    text: str
    sub: str = ""
    url: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Edge:
    start: str
    end: str
    tone: str = ""


@dataclass(frozen=True)
class Box:
    node: Node
    x: int
    y: int

    @property
    def text(self) -> str:
        return shortened(self.node.text)

    @property
    def sub(self) -> str:
        return shortened(self.node.sub, TEXT_LENGTH + 5)

    @property
    def text_x(self) -> int:
        return self.x + 11

    @property
    def text_y(self) -> int:
        return self.y + (18 if self.node.sub else 26)

    @property
    def sub_y(self) -> int:
        return self.y + 33


@dataclass(frozen=True)
class Lanes:
    """The picture, placed."""

    title: str
    description: str
    names: list[tuple[int, str]]
    boxes: list[Box]
    paths: list[tuple[str, str]] = field(default_factory=list)
    width: int = 0
    height: int = 0
    box_width: int = WIDTH
    box_height: int = HEIGHT

    @property
    def view_width(self) -> int:
        """With room for the strokes of the outermost boxes."""
        return self.width + 2


def shortened(text: str, length: int = TEXT_LENGTH) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def place(lanes: Sequence[str], nodes: Sequence[Node], edges: Sequence[Edge], *, title: str, description: str) -> Lanes:
    """Give every node its box and every edge its curve. Edges to nodes that are not drawn are left out."""
    space = 56 if len(lanes) > 2 else 110
    columns: dict[int, list[Node]] = {lane: [] for lane in range(len(lanes))}
    for node in nodes:
        columns[node.lane].append(node)
    tallest = max((len(column) for column in columns.values()), default=0)
    height = TOP + tallest * (HEIGHT + GAP)
    boxes = {}
    for lane, column in columns.items():
        # A short lane stands in the middle of the tall ones.
        offset = TOP + (tallest - len(column)) * (HEIGHT + GAP) // 2
        for i, node in enumerate(column):
            boxes[node.key] = Box(node, lane * (WIDTH + space), offset + i * (HEIGHT + GAP))
    paths = []
    for edge in edges:
        start, end = boxes.get(edge.start), boxes.get(edge.end)
        if start is None or end is None:
            continue
        x1, y1 = start.x + WIDTH, start.y + HEIGHT // 2
        x2, y2 = end.x, end.y + HEIGHT // 2
        middle = (x1 + x2) / 2
        paths.append((f"M{x1} {y1}C{middle:g} {y1} {middle:g} {y2} {x2} {y2}", edge.tone))
    return Lanes(
        title,
        description,
        [(lane * (WIDTH + space), name) for lane, name in enumerate(lanes)],
        list(boxes.values()),
        paths,
        width=len(lanes) * WIDTH + (len(lanes) - 1) * space,
        height=height,
    )
