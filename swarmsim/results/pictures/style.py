"""Size, colours, titles and legends of all pictures."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from swarmsim.results.pictures.agg import png

WIDTH, HEIGHT = 8.0, 4.5  # inches
DPI = 120


class Colour:
    """The palette of Okabe and Ito (2008), which colour-blind people can distinguish, and two greys."""

    BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
    PURPLE, SKY, YELLOW = "#CC79A7", "#56B4E9", "#F0E442"
    GREY, DARK = "#999999", "#333333"


class Picture(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        return png(self)


def new_picture(height: float = HEIGHT) -> Picture:
    """Return an empty picture, `height` inches high."""
    return Picture(figsize=(WIDTH, height), dpi=DPI, layout="constrained")


def set_title(axes: Axes, first: str, second: str) -> None:
    """Set a title of two lines: what the picture shows, and the run."""
    axes.set_title(f"{first}\n{second}", fontsize=11, parse_math=False)


def number_rounds(axes: Axes, numbers: list[int]) -> None:
    """Set the ticks of the horizontal axis to whole rounds, at most about ten."""
    axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlabel("round")
