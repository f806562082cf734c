"""Who talked to whom, in which room, how much."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

from swarmsim.results.history import History
from swarmsim.results.pictures.flows import flows_of
from swarmsim.results.pictures.ribbons import LINE, Node, Ribbon, laid_out
from swarmsim.results.pictures.style import DARK, HEIGHT, WIDTH, Picture, new_picture, set_title

POINTS = 72  # to an inch
TITLE, HEADS, FOOT = 44.0, 18.0, 24.0  # heights above and below the columns, in points
SENDERS, RECEIVERS, NODE = 116.0, WIDTH * POINTS - 116.0, 7.0  # where components stand, and how wide
ROOM_LEFT, ROOM_RIGHT = 228.0, WIDTH * POINTS - 228.0


def rooms(history: History) -> Picture:
    """Return who sent how many messages to which room and who took them; at least one was counted."""
    layout = laid_out(flows_of(history.messages), HEIGHT * POINTS - TITLE - HEADS - FOOT)
    height = layout.height + HEADS + FOOT
    picture = new_picture((height + TITLE) / POINTS)
    picture.set_layout_engine("none")
    axes = picture.add_axes((0, 0, 1, height / (height + TITLE)))
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH * POINTS)
    axes.set_ylim(layout.height + FOOT, -HEADS)
    set_title(axes, "Who talks to whom, in which room, and how much: messages taken", history.title)
    for x, text in ((SENDERS, "sent by"), ((ROOM_LEFT + ROOM_RIGHT) / 2, "in the room"), (RECEIVERS, "taken by")):
        axes.text(x, -HEADS / 2, text, ha="center", va="center", fontsize=9, style="italic", color=DARK)
    note = "A ribbon's width goes by the square root of its number. What several have taken counts once for each."
    axes.text(WIDTH * POINTS / 2, layout.height + FOOT / 2, note, ha="center", va="center", fontsize=8, color=DARK)
    for ribbon in layout.sent:
        _draw_ribbon(axes, ribbon, SENDERS + NODE, ROOM_LEFT)
        _write_number(axes, ribbon, SENDERS + NODE + 4, ribbon.start, "left")
    for ribbon in layout.taken:
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
    """Draw a kind of components, with its name on the left (-1) or on the right (1)."""
    left = x if side < 0 else x - NODE
    axes.add_patch(Rectangle((left, node.top), NODE, node.height, color=DARK, linewidth=0))
    align = "right" if side < 0 else "left"
    _write(axes, node, x + side * 5, align, DARK)


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
