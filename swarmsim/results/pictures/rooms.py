"""The messages between components: senders, rooms and receivers, joined by ribbons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import sqrt

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

from swarmsim.names import describe_group, shorten
from swarmsim.results.flows import DIRECTLY, Counts, Flows, flows_of, swap, totals
from swarmsim.results.pictures.agg import plainly
from swarmsim.results.pictures.style import HEIGHT, WIDTH, Colour, Picture, new_picture, set_title
from swarmsim.results.record import RunRecord

POINTS = 72  # per inch
TITLE, HEADS, FOOT = 44.0, 18.0, 24.0  # heights above and below the columns, in points
SENDERS, RECEIVERS, NODE = 116.0, WIDTH * POINTS - 116.0, 7.0  # horizontal positions and width of components
ROOM_LEFT, ROOM_RIGHT = 228.0, WIDTH * POINTS - 228.0
LINE = 11.0  # height of a line of text
WIDEST_GAP, GAP = 30.0, 8.0  # between nodes
LONGEST_NAME, LONGEST_ROOM = 18, 20  # in characters
THICKEST, THINNEST = 40.0, 1.0  # of ribbons

NOTES = {DIRECTLY: "to one alone", "_command": "who comes and goes", "_logging": "a mirror of messages"}
COLOURS = {
    "observation": Colour.BLUE,
    "logits": Colour.ORANGE,
    "action": Colour.GREEN,
    "control": Colour.VERMILLION,
    "evolution": Colour.PURPLE,
    DIRECTLY: Colour.SKY,
    "_command": Colour.GREY,
}
OTHER_COLOURS = (Colour.YELLOW, Colour.BLUE, Colour.ORANGE, Colour.GREEN, Colour.PURPLE, Colour.SKY, Colour.VERMILLION)


# --- the layout, in points from the top: no text overlaps another


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
    """A number of messages: the heights of both ends' middles, and the thickness."""

    number: int
    start: float
    end: float
    thickness: float
    color: str


@dataclass(frozen=True)
class Layout:
    """Three columns, each at most `height` high, and the ribbons between them."""

    senders: Sequence[Node]
    rooms: Sequence[Node]
    receivers: Sequence[Node]
    sent: Sequence[Ribbon]
    received: Sequence[Ribbon]
    height: float


def lay_out(flows: Flows, height: float) -> Layout:
    """Compute the layout, `height` high or as high as the texts need."""
    scale = _Scale(THICKEST / sqrt(max([*flows.sent.values(), *flows.received.values()])))
    received_by = swap(flows.received)
    senders = _component_nodes(flows, flows.senders, scale.node_heights(flows.sent))
    receivers = _component_nodes(flows, flows.receivers, scale.node_heights(received_by))
    rooms = _room_nodes(flows, scale.node_heights(swap(flows.sent)), scale.node_heights(flows.received))
    columns = senders, rooms, receivers
    height = max(height, *(sum(node.height + GAP for node in column.values()) for column in columns))
    for column in columns:
        _spread(list(column.values()), height)
    starts, ends = scale.ends(senders, rooms, flows.sent), scale.ends(rooms, senders, swap(flows.sent))
    sent = [
        Ribbon(number, starts[kind, room], ends[room, kind], scale.thickness(number), rooms[room].color)
        for (kind, room), number in flows.sent.items()
    ]
    starts, ends = scale.ends(rooms, receivers, flows.received), scale.ends(receivers, rooms, received_by)
    received = [
        Ribbon(number, starts[room, kind], ends[kind, room], scale.thickness(number), rooms[room].color)
        for (room, kind), number in flows.received.items()
    ]
    return Layout([*senders.values()], [*rooms.values()], [*receivers.values()], sent, received, height)


@dataclass(frozen=True)
class _Scale:
    """Heights in points of numbers of messages; the thickness is proportional to the square root."""

    points: float

    def thickness(self, number: int) -> float:
        return max(THINNEST, self.points * sqrt(number))

    def row_height(self, number: int) -> float:
        """Return the height of a ribbon's end and the number written at it."""
        return max(LINE, self.thickness(number) + 1)

    def node_heights(self, numbers: Counts) -> Mapping[str, float]:
        """Return the total height of the ends at each node, which is the first part of the keys."""
        heights = dict.fromkeys(totals(numbers), 0.0)
        for (node, _), number in numbers.items():
            heights[node] += self.row_height(number)
        return heights

    def ends(
        self, nodes: Mapping[str, Node], others: Mapping[str, Node], numbers: Counts
    ) -> Mapping[tuple[str, str], float]:
        """Return the middle of each ribbon's end at `nodes`, in the order of the nodes at the other end."""
        middles = {}
        heights = self.node_heights(numbers)
        for name, node in nodes.items():
            at = node.middle - heights[name] / 2
            for other in others:
                if (name, other) in numbers:
                    row = self.row_height(numbers[name, other])
                    middles[name, other] = at + row / 2
                    at += row
        return middles


def _component_nodes(flows: Flows, kinds: Sequence[str], heights: Mapping[str, float]) -> dict[str, Node]:
    column = {}
    for kind in kinds:
        lines = [shorten(line, LONGEST_NAME) for line in describe_group(kind, flows.processes[kind])]
        column[kind] = Node(lines, Colour.GREY, max(LINE * len(lines), heights[kind]))
    return column


def _room_nodes(flows: Flows, inward: Mapping[str, float], outward: Mapping[str, float]) -> dict[str, Node]:
    total, others = totals(flows.received), cycle(OTHER_COLOURS)
    column = {}
    for room in flows.rooms:
        number = f"{total[room]:,}"
        lines = [f"{shorten(room, LONGEST_ROOM - len(number))}: {number}"]
        lines += [NOTES[room]] if room in NOTES else []
        height = max(LINE * len(lines) + 4, inward[room], outward[room])
        column[room] = Node(lines, COLOURS.get(room) or next(others), height)
    return column


def _spread(nodes: Sequence[Node], height: float) -> None:
    """Place a column's nodes below each other, centred in `height`."""
    free = height - sum(node.height for node in nodes)
    gap = min(WIDEST_GAP, free / len(nodes))
    top = (free - gap * (len(nodes) - 1)) / 2
    for node in nodes:
        node.top = top
        top += node.height + gap


# --- the drawing


@plainly
def rooms(history: RunRecord) -> Picture:
    """Draw how many messages each kind of component sent to and received from each room; at least one was counted."""
    layout = lay_out(flows_of(history.messages), HEIGHT * POINTS - TITLE - HEADS - FOOT)
    height = layout.height + HEADS + FOOT
    picture = new_picture((height + TITLE) / POINTS)
    picture.set_layout_engine("none")
    axes = picture.add_axes((0, 0, 1, height / (height + TITLE)))
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH * POINTS)
    axes.set_ylim(layout.height + FOOT, -HEADS)
    set_title(axes, "Who talks to whom, in which room, and how much: messages taken", history.title)
    for x, text in ((SENDERS, "sent by"), ((ROOM_LEFT + ROOM_RIGHT) / 2, "in the room"), (RECEIVERS, "taken by")):
        axes.text(x, -HEADS / 2, text, ha="center", va="center", fontsize=9, style="italic", color=Colour.DARK)
    note = "A ribbon's width goes by the square root of its number. What several have taken counts once for each."
    axes.text(
        WIDTH * POINTS / 2, layout.height + FOOT / 2, note, ha="center", va="center", fontsize=8, color=Colour.DARK
    )
    for ribbon in layout.sent:
        _draw_ribbon(axes, ribbon, SENDERS + NODE, ROOM_LEFT)
        _write_number(axes, ribbon, SENDERS + NODE + 4, ribbon.start, "left")
    for ribbon in layout.received:
        _draw_ribbon(axes, ribbon, ROOM_RIGHT, RECEIVERS - NODE)
        _write_number(axes, ribbon, RECEIVERS - NODE - 4, ribbon.end, "right")
    for node in layout.senders:
        _draw_components(axes, node, SENDERS, -1)
    for node in layout.receivers:
        _draw_components(axes, node, RECEIVERS, 1)
    for node in layout.rooms:
        _draw_room(axes, node)
    return picture


def _draw_ribbon(axes: Axes, ribbon: Ribbon, left: float, right: float) -> None:
    half, bend = ribbon.thickness / 2, (left + right) / 2
    upper = [(left, ribbon.start - half), (bend, ribbon.start - half), (bend, ribbon.end - half)]
    lower = [(right, ribbon.end + half), (bend, ribbon.end + half), (bend, ribbon.start + half)]
    points = [*upper, (right, ribbon.end - half), *lower, (left, ribbon.start + half), upper[0]]
    curve = [Path.CURVE4] * 3
    outline = Path(points, [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY])
    axes.add_patch(PathPatch(outline, facecolor=ribbon.color, alpha=0.5, linewidth=0))


def _write_number(axes: Axes, ribbon: Ribbon, x: float, y: float, align: str) -> None:
    text = axes.text(x, y, f"{ribbon.number:,}", ha=align, va="center", fontsize=8)
    if ribbon.thickness < LINE / 2:
        text.set_bbox({"facecolor": "white", "linewidth": 0, "pad": 0.5})


def _draw_components(axes: Axes, node: Node, x: float, side: int) -> None:
    """Draw the node of a kind of components, with its name on the left (-1) or on the right (1)."""
    left = x if side < 0 else x - NODE
    axes.add_patch(Rectangle((left, node.top), NODE, node.height, color=Colour.DARK, linewidth=0))
    align = "right" if side < 0 else "left"
    _write(axes, node, x + side * 5, align, Colour.DARK)


def _draw_room(axes: Axes, node: Node) -> None:
    box = FancyBboxPatch(
        (ROOM_LEFT + 3, node.top + 3),
        ROOM_RIGHT - ROOM_LEFT - 6,
        node.height - 6,
        boxstyle="round,pad=3",
        facecolor="white",
        edgecolor=node.color,
        linewidth=1.5,
    )
    axes.add_patch(box)
    _write(axes, node, (ROOM_LEFT + ROOM_RIGHT) / 2, "center", "black")


def _write(axes: Axes, node: Node, x: float, align: str, color: str) -> None:
    """Write a node's lines around its middle, the first one in bold."""
    for number, line in enumerate(node.lines):
        y = node.middle + (number - (len(node.lines) - 1) / 2) * LINE
        weight = "bold" if number == 0 else "normal"
        axes.text(x, y, line, ha=align, va="center", fontsize=8, color=color, weight=weight, parse_math=False)
