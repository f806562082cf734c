"""Each model's contribution to the decisions, and the diversity of the population."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from swarmsim.names import natural_key
from swarmsim.results.pictures.agg import plainly
from swarmsim.results.pictures.style import Colour, Picture, new_picture, number_rounds, set_title
from swarmsim.results.record import RunRecord

ABSENT = "#D0D0D0"
MIN_COLOUR_RANGE = 0.1  # relative to the equal share, on both sides of it


@plainly
def population(history: RunRecord) -> Picture:
    """Draw each model's contribution and the diversity by round; at least one round has ended."""
    names = sorted({name for r in history for name in r.contribution}, key=natural_key)
    contributions = _contributions(history, names)
    numbers = [r.round for r in history]
    picture = new_picture()
    above, below = picture.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    equal = 100 / history.settings["population"]
    image = _draw_contributions(above, contributions, names, numbers)
    image.set_clim(_limits(contributions, equal))
    _mark_equal_share(picture.colorbar(image, ax=above, pad=0.02), equal)
    absent = "; grey: not there" if np.isnan(contributions).any() else ""
    set_title(above, f"Contribution of each model, and diversity{absent}", history.title)
    _draw_diversity(below, history, numbers)
    return picture


def _draw_contributions(
    axes: Axes, contributions: NDArray[np.float64], names: list[str], numbers: list[int]
) -> AxesImage:
    colours = colormaps["cividis"].with_extremes(bad=ABSENT)
    extent = (numbers[0] - 0.5, numbers[-1] + 0.5, len(names) - 0.5, -0.5)
    image = axes.imshow(contributions, cmap=colours, aspect="auto", extent=extent)
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: _label(names, at)))
    axes.set_ylabel("model")
    axes.tick_params(labelbottom=False)
    return image


def _mark_equal_share(bar: Colorbar, equal: float) -> None:
    bar.ax.axhline(equal, color=Colour.VERMILLION, linewidth=2)
    bar.set_label(f"share of the decisions, %\n(red line: equal share, {equal:.3g} %)", fontsize=9)
    bar.ax.ticklabel_format(useOffset=False)


def _limits(contributions: NDArray[np.float64], equal: float) -> tuple[float, float]:
    """Return both ends of the colour map, whose minimum range keeps small differences from looking large."""
    low, high = equal * (1 - MIN_COLOUR_RANGE), min(equal * (1 + MIN_COLOUR_RANGE), 100.0)
    return min(np.nanmin(contributions), low), max(np.nanmax(contributions), high)


def _draw_diversity(axes: Axes, history: RunRecord, numbers: list[int]) -> None:
    size = 5 if len(numbers) <= 30 else 2.5
    axes.plot(numbers, [r.diversity for r in history], "o-", color=Colour.PURPLE, markersize=size)
    axes.set_ylim(-0.05, 1.05)
    axes.set_yticks([0, 0.5, 1], ["0: agree in all", "0.5", "1: disagree in all"], fontsize=8)
    axes.set_ylabel("diversity")
    axes.grid(alpha=0.3)
    number_rounds(axes, numbers)


def _contributions(history: RunRecord, names: list[str]) -> NDArray[np.float64]:
    """Return the contributions in per cent, (models, rounds); NaN if a model was absent."""
    rows = {name: row for row, name in enumerate(names)}
    contributions = np.full((len(names), len(history)), np.nan)
    for column, r in enumerate(history):
        for name, share in r.contribution.items():
            contributions[rows[name], column] = 100 * share
    return contributions


def _label(names: list[str], at: float) -> str:
    row = round(at)
    if not 0 <= row < len(names):
        return ""
    return names[row].removeprefix("model")[:10] or names[row]
