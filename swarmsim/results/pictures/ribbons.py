"""Where the ribbons between senders, rooms and receivers run, in points from the top: no text lies upon another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import sqrt

from swarmsim.names import called_together, shortened
from swarmsim.results.pictures.flows import DIRECTLY, Counts, Flows, totals, turned
from swarmsim.results.pictures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, YELLOW

LINE = 11.0  # the height of a line of text
WIDEST_GAP, GAP = 30.0, 8.0  # between nodes
LONGEST_NAME, LONGEST_ROOM = 18, 20  # characters for which there is room
THICKEST, THINNEST = 40.0, 1.0  # of ribbons

NOTES = {DIRECTLY: "to one alone", "_command": "who comes and goes", "_logging": "a mirror of messages"}
COLOURS = {
    "observation": BLUE,
    "logits": ORANGE,
    "action": GREEN,
    "control": VERMILLION,
    "evolution": PURPLE,
    DIRECTLY: SKY,
    "_command": GREY,
}
OTHER_COLOURS = (YELLOW, BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)


@dataclass
class Node:
    """A room, or all components of one kind."""

    lines: Sequence[str]
    color: str
    height: float
    top: float = 0.0

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


@dataclass(frozen=True)
class Ribbon:
    """A number of messages on their way: the middles of its ends, and how thick it is."""

    number: int
    start: float
    end: float
    thickness: float
    color: str


@dataclass(frozen=True)
class Layout:
    """Three columns, each as high as `height` at most, and what runs between them."""

    senders: Sequence[Node]
    rooms: Sequence[Node]
    receivers: Sequence[Node]
    sent: Sequence[Ribbon]
    taken: Sequence[Ribbon]
    height: float


def laid_out(flows: Flows, height: float) -> Layout:
    """Return where all is drawn, `height` high or as high as the texts need; thickness goes by the square root."""
    sizes = _Sizes(THICKEST / sqrt(max([*flows.sent.values(), *flows.taken.values()])))
    taken_by = turned(flows.taken)
    senders = _components(flows, flows.senders, sizes.stacked(flows.sent))
    receivers = _components(flows, flows.receivers, sizes.stacked(taken_by))
    rooms = _rooms(flows, sizes.stacked(turned(flows.sent)), sizes.stacked(flows.taken))
    columns = senders, rooms, receivers
    height = max(height, *(sum(node.height + GAP for node in column.values()) for column in columns))
    for column in columns:
        _spread(list(column.values()), height)
    starts, ends = sizes.ends(senders, rooms, flows.sent), sizes.ends(rooms, senders, turned(flows.sent))
    sent = [
        Ribbon(number, starts[kind, room], ends[room, kind], sizes.thickness(number), rooms[room].color)
        for (kind, room), number in flows.sent.items()
    ]
    starts, ends = sizes.ends(rooms, receivers, flows.taken), sizes.ends(receivers, rooms, taken_by)
    taken = [
        Ribbon(number, starts[room, kind], ends[kind, room], sizes.thickness(number), rooms[room].color)
        for (room, kind), number in flows.taken.items()
    ]
    return Layout([*senders.values()], [*rooms.values()], [*receivers.values()], sent, taken, height)


@dataclass(frozen=True)
class _Sizes:
    scale: float

    def thickness(self, number: int) -> float:
        return max(THINNEST, self.scale * sqrt(number))

    def row(self, number: int) -> float:
        """Return the height that an end of a ribbon takes, with its number beside it."""
        return max(LINE, self.thickness(number) + 1)

    def stacked(self, numbers: Counts) -> Mapping[str, float]:
        """Return the height of all ends at each node that comes first in `numbers`."""
        heights = dict.fromkeys(totals(numbers), 0.0)
        for (node, _), number in numbers.items():
            heights[node] += self.row(number)
        return heights

    def ends(
        self, nodes: Mapping[str, Node], others: Mapping[str, Node], numbers: Counts
    ) -> Mapping[tuple[str, str], float]:
        """Return where each ribbon touches its node: in the order of the nodes at its other end."""
        found = {}
        heights = self.stacked(numbers)
        for name, node in nodes.items():
            at = node.middle - heights[name] / 2
            for other in others:
                if (name, other) in numbers:
                    row = self.row(numbers[name, other])
                    found[name, other] = at + row / 2
                    at += row
        return found


def _components(flows: Flows, kinds: Sequence[str], heights: Mapping[str, float]) -> dict[str, Node]:
    column = {}
    for kind in kinds:
        lines = [shortened(line, LONGEST_NAME) for line in called_together(kind, flows.processes[kind])]
        column[kind] = Node(lines, GREY, max(LINE * len(lines), heights[kind]))
    return column


def _rooms(flows: Flows, inward: Mapping[str, float], outward: Mapping[str, float]) -> dict[str, Node]:
    total, others = totals(flows.taken), cycle(OTHER_COLOURS)
    column = {}
    for room in flows.rooms:
        number = f"{total[room]:,}"
        lines = [f"{shortened(room, LONGEST_ROOM - len(number))}: {number}"]
        lines += [NOTES[room]] if room in NOTES else []
        height = max(LINE * len(lines) + 4, inward[room], outward[room])
        column[room] = Node(lines, COLOURS.get(room) or next(others), height)
    return column


def _spread(nodes: Sequence[Node], height: float) -> None:
    """Put a column's nodes one below the other, in the middle of `height`."""
    free = height - sum(node.height for node in nodes)
    gap = min(WIDEST_GAP, free / len(nodes))
    top = (free - gap * (len(nodes) - 1)) / 2
    for node in nodes:
        node.top = top
        top += node.height + gap
