"""Scores: of one run by round, and of several runs on one environment by training steps."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import median

from matplotlib.axes import Axes

from swarmsim.results.pictures.agg import plainly
from swarmsim.results.pictures.style import Colour, Picture, new_picture, number_rounds, set_title
from swarmsim.results.record import RunRecord

COLOURS = Colour.BLUE, Colour.ORANGE, Colour.GREEN, Colour.VERMILLION, Colour.PURPLE, Colour.SKY
MOST_LABELS = 40  # of groups, in a legend
LINE_STYLES = "o-", "s--", "^-.", "D:"  # each is used with all colours


@plainly
def scores(history: RunRecord) -> Picture:
    """Draw the scores of each round and the return of each training episode; at least one round has ended."""
    picture = new_picture()
    axes = picture.subplots()
    numbers = [r.round for r in history]
    at, returns = _episodes(history)
    dot, opacity = (12, 0.7) if len(returns) <= 400 else (5, 0.5)
    axes.scatter(at, returns, s=dot, color=Colour.GREY, alpha=opacity, linewidths=0, label="training episode")
    shrink = 1 if len(numbers) <= 30 else 0.5
    for label, values, style, color, size in (
        ("training, mean", [r.train_score for r in history], "o-", Colour.BLUE, 6),
        ("evaluation before evolution", [r.eval_score for r in history], "s--", Colour.ORANGE, 9),
        ("evaluation after evolution", [r.eval_score_evolved for r in history], "^-", Colour.GREEN, 6),
    ):
        axes.plot(numbers, values, style, color=color, label=label, markersize=size * shrink)
    at, returns = _evaluations(history)
    if at:
        axes.plot(at, returns, "D", color=Colour.PURPLE, label="evaluation within training", markersize=5 * shrink)
    _mark_solved(axes, history.settings.get("reward_threshold"))
    number_rounds(axes, numbers)
    axes.set_xlabel("round, its training episodes from left to right")
    axes.set_ylabel("return of an episode (sum of its rewards)")
    axes.grid(alpha=0.3)
    set_title(axes, "Scores of each round", history.title)
    _legend_below(picture, axes)
    return picture


def _episodes(history: RunRecord) -> tuple[list[float], list[float]]:
    """Return the position within its round, in the order of beginning, and the return of each training episode."""
    at, returns = [], []
    for r in history:
        at += [r.round - 0.5 + (number + 0.5) / len(r.train_returns) for number in range(len(r.train_returns))]
        returns += r.train_returns
    return at, returns


def _evaluations(history: RunRecord) -> tuple[list[float], list[float]]:
    """Return the position within its round, by training steps, and the return of each evaluation within training."""
    at, returns, before = [], [], 0
    for r in history:
        at += [r.round - 0.5 + (steps - before) / (r.env_steps - before) for steps, _ in r.evaluations]
        returns += [score for _, score in r.evaluations]
        before = r.env_steps
    return at, returns


@plainly
def curves(env: str, groups: Mapping[str, Sequence[RunRecord]]) -> Picture:
    """Draw the evaluations after evolution of runs on `env` over training steps; each run has at least one round.

    Args:
        groups: runs that differ only in their seeds, by label; the median of several runs is drawn too.
    """
    picture = new_picture(4.5 + 0.2 * max(0, min(len(groups), MOST_LABELS) - 4))
    axes = picture.subplots()
    styles = cycle((color, style) for style in LINE_STYLES for color in COLOURS)
    for number, ((label, histories), (color, style)) in enumerate(zip(groups.items(), styles, strict=False)):
        runs = [curve(history) for history in histories]
        for steps, returns in runs if len(runs) > 1 else []:
            axes.plot(steps, returns, style[1:], color=color, alpha=0.45, linewidth=1)
        steps, returns = median_curve(histories)
        name = f"{label} (median of {len(runs)} runs)" if len(runs) > 1 else label
        name = name if number < MOST_LABELS else f"_{name}"  # matplotlib leaves these out
        size = 6 if len(steps) <= 30 else 3
        axes.plot(steps, returns, style, color=color, linewidth=2, markersize=size, label=name)
    thresholds = [h.settings.get("reward_threshold") for histories in groups.values() for h in histories]
    _mark_solved(axes, next((threshold for threshold in thresholds if threshold is not None), None))
    axes.set_xlabel("training steps of the environment")
    axes.set_ylabel("mean return of an evaluation's episodes")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    several = any(len(histories) > 1 for histories in groups.values())
    thin = "; thin lines: single runs" if several else ""
    set_title(axes, f"Evaluations after evolution{thin}", env)
    _legend_below(picture, axes, columns=1 if max(map(len, groups)) > 30 else 2)
    return picture


def curve(history: RunRecord) -> tuple[list[float], list[float]]:
    """Return the training steps after each round, and the evaluation after evolution."""
    return [float(r.env_steps) for r in history], [r.eval_score_evolved for r in history]


def median_curve(histories: Sequence[RunRecord]) -> tuple[list[float], list[float]]:
    """Return the medians of training steps and evaluations by round, over the rounds that all runs have ended."""
    steps, returns = zip(*map(curve, histories), strict=True)
    return [median(at) for at in zip(*steps, strict=False)], [median(at) for at in zip(*returns, strict=False)]


def _mark_solved(axes: Axes, threshold: float | None) -> None:
    """Draw the score from which an environment counts as solved, if it is known."""
    if threshold is not None:
        axes.axhline(threshold, color=Colour.DARK, linestyle=":", linewidth=1.5, label=f"solved from {threshold:g} on")


def _legend_below(figure: Picture, axes: Axes, columns: int = 3) -> None:
    """Put the legend below `axes`, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
