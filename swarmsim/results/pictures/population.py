"""Which models decided, and how far they differ."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from swarmsim.names import by_number
from swarmsim.results.history import History
from swarmsim.results.pictures.style import (
    PURPLE,
    VERMILLION,
    Picture,
    new_picture,
    number_rounds,
    set_title,
)

ABSENT = "#D0D0D0"
LEAST_SPREAD = 0.1  # of the colours, on both sides of the equal share


def population(history: History) -> Picture:
    """Return each model's share of the decisions and the diversity, by round; `history` has at least one round."""
    names = sorted({name for r in history for name in r.contribution}, key=by_number)
    shares = _shares(history, names)
    numbers = [r.round for r in history]
    picture = new_picture()
    above, below = picture.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    equal = 100 / history.settings["population"]
    image = _draw_shares(above, shares, names, numbers)
    image.set_clim(_limits(shares, equal))
    _mark_equal_share(picture.colorbar(image, ax=above, pad=0.02), equal)
    absent = "; grey: not there" if np.isnan(shares).any() else ""
    set_title(above, f"Which models decided, and how far they differ{absent}", history.title)
    _draw_diversity(below, history, numbers)
    return picture


def _draw_shares(axes: Axes, shares: NDArray[np.float64], names: list[str], numbers: list[int]) -> AxesImage:
    colours = colormaps["cividis"].with_extremes(bad=ABSENT)
    extent = (numbers[0] - 0.5, numbers[-1] + 0.5, len(names) - 0.5, -0.5)
    image = axes.imshow(shares, cmap=colours, aspect="auto", extent=extent)
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: _label(names, at)))
    axes.set_ylabel("model")
    axes.tick_params(labelbottom=False)
    return image


def _mark_equal_share(bar: Colorbar, equal: float) -> None:
    bar.ax.axhline(equal, color=VERMILLION, linewidth=2)
    bar.set_label(f"share of the decisions, %\n(red line: equal share, {equal:.3g} %)", fontsize=9)
    bar.ax.ticklabel_format(useOffset=False)


def _limits(shares: NDArray[np.float64], equal: float) -> tuple[float, float]:
    """Return the least and the greatest share that have a colour of their own; shares that are alike look alike."""
    low, high = equal * (1 - LEAST_SPREAD), min(equal * (1 + LEAST_SPREAD), 100.0)
    return min(np.nanmin(shares), low), max(np.nanmax(shares), high)


def _draw_diversity(axes: Axes, history: History, numbers: list[int]) -> None:
    axes.plot(numbers, [r.diversity for r in history], "o-", color=PURPLE, markersize=5 if len(numbers) <= 30 else 2.5)
    axes.set_ylim(-0.05, 1.05)
    axes.set_yticks([0, 0.5, 1], ["0: agree in all", "0.5", "1: disagree in all"], fontsize=8)
    axes.set_ylabel("diversity")
    axes.grid(alpha=0.3)
    number_rounds(axes, numbers)


def _shares(history: History, names: list[str]) -> NDArray[np.float64]:
    """Return the shares in per cent (models, rounds); NaN where a model was not there."""
    rows = {name: row for row, name in enumerate(names)}
    shares = np.full((len(names), len(history)), np.nan)
    for column, r in enumerate(history):
        for name, share in r.contribution.items():
            shares[rows[name], column] = 100 * share
    return shares


def _label(names: list[str], at: float) -> str:
    row = round(at)
    if not 0 <= row < len(names):
        return ""
    return names[row].removeprefix("model")[:10] or names[row]
