"""A picture of who reaches what: nodes in lanes from left to right, edges between neighbouring lanes.

Server-rendered: this module only places things, `components/lanes.html` draws them, and a list beside it says the same.
Whatever their number, a lane has at most `most` boxes: nodes of one group become one box with their count, and what
is then still too many the last box counts. In its lane a node stands where its neighbours are, so few edges cross.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

HEIGHT, GAP = 42, 14
TOP = 26
WIDE, NARROW = (232, 56), (140, 38)  # width of a box, space between lanes; five narrow ones fit beside the facts
INSET = 9
PER_LETTER = 7
SWEEPS = 4
PARALLEL = 5  # between two edges with the same ends


@dataclass(frozen=True)
class Node:
    """One box. `lane` counts from the left; `tone` is a class of `.node`; a node that is a way has no box, only words.

    `group` is what nodes can be counted under; a node without one is counted among the rest of its lane. `title` is
    the whole of what the box says in short. `is_kept` nodes are never counted away.
    """

    key: str
    lane: int
    text: str
    sub: str = ""
    url: str = ""
    tone: str = ""
    title: str = ""
    group: str = ""
    is_way: bool = False
    is_kept: bool = False


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
    width: int

    @property
    def letters(self) -> int:
        if self.node.is_way:  # its words are smaller, and nothing is around them
            return int(self.width / 6.5)
        return int((self.width - 2 * INSET) / PER_LETTER)

    @property
    def text(self) -> str:
        return shortened(self.node.text, self.letters)

    @property
    def sub(self) -> str:
        return shortened(self.node.sub, int(self.letters * 1.18))

    @property
    def title(self) -> str:
        return self.node.title or self.node.text

    @property
    def text_x(self) -> int:
        return self.x + INSET

    @property
    def text_y(self) -> int:
        return self.y + (18 if self.node.sub else 26)

    @property
    def sub_y(self) -> int:
        return self.y + 33

    @property
    def middle_x(self) -> int:
        return self.x + self.width // 2

    @property
    def way_y(self) -> int:
        """Where the words of a way stand: on its line."""
        return self.y + HEIGHT // 2 - 5


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
    box_width: int = WIDE[0]
    box_height: int = HEIGHT

    @property
    def view_width(self) -> int:
        """With room for the strokes of the outermost boxes."""
        return self.width + 2

    @property
    def is_still(self) -> bool:
        """Whether nothing in it can be followed, so that it is one picture to whoever does not see it."""
        return not any(box.node.url for box in self.boxes)


# Words for several nodes of one lane that share a box: their lane, the group they are of (or nothing), and they.
Merge = Callable[[int, str, Sequence[Node]], Node]


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def counted(lane: int, group: str, nodes: Sequence[Node]) -> Node:
    """The box of several nodes, where nobody has better words."""
    text = f"{group}, {len(nodes)}" if group else f"{len(nodes)} more"
    return Node(f"{lane}+{group}", lane, text, tone=_common(node.tone for node in nodes))


def _common(tones: Iterable[str]) -> str:
    found = set(tones)
    return found.pop() if len(found) == 1 else ""


def place(
    lanes: Sequence[str],
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    *,
    title: str,
    description: str,
    most: int = 12,
    merge: Merge = counted,
) -> Lanes:
    """Give every node its box and every edge its curve. Edges to nodes that are not there are left out."""
    width, space = NARROW if len(lanes) > 3 else WIDE if len(lanes) == 3 else (WIDE[0], 110)
    nodes, edges = _merged(nodes, edges, most, merge)
    columns = _ordered(len(lanes), nodes, edges)
    tallest = max((len(column) for column in columns), default=0)
    height = TOP + tallest * (HEIGHT + GAP)
    boxes = {}
    for lane, column in enumerate(columns):
        # A short lane stands in the middle of the tall ones.
        offset = TOP + (tallest - len(column)) * (HEIGHT + GAP) // 2
        for i, node in enumerate(column):
            boxes[node.key] = Box(node, lane * (width + space), offset + i * (HEIGHT + GAP), width)
    return Lanes(
        title,
        description,
        [(lane * (width + space), name) for lane, name in enumerate(lanes)],
        list(boxes.values()),
        [*_curves(edges, boxes), *_ways(edges, boxes)],
        width=len(lanes) * width + (len(lanes) - 1) * space,
        height=height,
        box_width=width,
    )


# ── How many ───────────────────────────────────────────────────────────────────────────────────


def _merged(nodes: Sequence[Node], edges: Sequence[Edge], most: int, merge: Merge) -> tuple[list[Node], list[Edge]]:
    """As many nodes as fit, and the edges between them, each once per tone."""
    degree: dict[str, int] = defaultdict(int)
    for edge in edges:
        degree[edge.start] += 1
        degree[edge.end] += 1
    kept: list[Node] = []
    stands_for: dict[str, str] = {}
    for lane in sorted({node.lane for node in nodes}):
        column = [node for node in nodes if node.lane == lane]
        for box, members in _fitted(lane, column, degree, most, merge):
            kept.append(box)
            stands_for.update((member.key, box.key) for member in members)
    moved = (
        Edge(stands_for[edge.start], stands_for[edge.end], edge.tone)
        for edge in edges
        if edge.start in stands_for and edge.end in stands_for
    )
    return kept, list(dict.fromkeys(moved))


def _fitted(
    lane: int, column: list[Node], degree: dict[str, int], most: int, merge: Merge
) -> list[tuple[Node, list[Node]]]:
    """The boxes of one lane, each with the nodes that it stands for."""
    boxes: list[tuple[Node, list[Node]]] = [(node, [node]) for node in column]
    groups: dict[str, list[Node]] = defaultdict(list)
    for node in column:
        if node.group and not node.is_kept:
            groups[node.group].append(node)
    for group, members in sorted(groups.items(), key=lambda item: -len(item[1])):
        if len(boxes) <= most or len(members) < 2:
            break
        keys = {node.key for node in members}
        boxes = [pair for pair in boxes if pair[0].key not in keys]
        boxes.append((merge(lane, group, members), members))
    if len(boxes) <= most:
        return boxes
    weight = {id(pair): (pair[0].is_kept, sum(degree[node.key] for node in pair[1])) for pair in boxes}
    ranked = sorted(boxes, key=lambda pair: weight[id(pair)], reverse=True)
    shown = {id(pair) for pair in ranked[: most - 1]}
    rest = [node for pair in ranked[most - 1 :] for node in pair[1]]
    return [*(pair for pair in boxes if id(pair) in shown), (merge(lane, "", rest), rest)]


# ── In what order ──────────────────────────────────────────────────────────────────────────────


def _ordered(lanes: int, nodes: Sequence[Node], edges: Sequence[Edge]) -> list[list[Node]]:
    """Each lane sorted by where its neighbours stand, to and fro a few times: the barycentre heuristic."""
    columns = [[node for node in nodes if node.lane == lane] for lane in range(lanes)]
    neighbours: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        neighbours[edge.start].append(edge.end)
        neighbours[edge.end].append(edge.start)
    where = {node.key: i / max(len(column), 1) for column in columns for i, node in enumerate(column)}
    lane_of = {node.key: node.lane for node in nodes}
    for sweep in range(SWEEPS):
        forwards = sweep % 2 == 0
        for lane in range(1, lanes) if forwards else range(lanes - 2, -1, -1):
            beside = lane - 1 if forwards else lane + 1

            def centre(node: Node, beside: int = beside) -> float:
                places = [where[key] for key in neighbours[node.key] if lane_of.get(key) == beside]
                return sum(places) / len(places) if places else where[node.key]

            columns[lane].sort(key=centre)  # stable, so that equals stay as they were given
            where.update((node.key, (i + 0.5) / len(columns[lane])) for i, node in enumerate(columns[lane]))
    return columns


# ── Lines ──────────────────────────────────────────────────────────────────────────────────────


def _curves(edges: Sequence[Edge], boxes: dict[str, Box]) -> list[tuple[str, str]]:
    side_by_side: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for edge in edges:
        if edge.start in boxes and edge.end in boxes:
            side_by_side[edge.start, edge.end].append(edge)
    curves = []
    for (start, end), several in side_by_side.items():
        for i, edge in enumerate(several):
            shift = PARALLEL * i - PARALLEL * (len(several) - 1) / 2
            x1, y1 = boxes[start].x + boxes[start].width, boxes[start].y + HEIGHT / 2 + shift
            x2, y2 = boxes[end].x, boxes[end].y + HEIGHT / 2 + shift
            middle = (x1 + x2) / 2
            curves.append((f"M{x1} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2} {y2:g}", edge.tone))
    return curves


def _ways(edges: Sequence[Edge], boxes: dict[str, Box]) -> list[tuple[str, str]]:
    """A way is crossed by a straight line for each tone that leads to it."""
    lines = []
    for box in boxes.values():
        if box.node.is_way:
            tones = list(dict.fromkeys(edge.tone for edge in edges if edge.end == box.node.key))
            for i, tone in enumerate(tones):
                y = box.y + HEIGHT / 2 + PARALLEL * i - PARALLEL * (len(tones) - 1) / 2
                lines.append((f"M{box.x} {y:g}H{box.x + box.width}", tone))
    return lines
