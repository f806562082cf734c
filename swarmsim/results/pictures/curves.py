"""How several runs on one environment scored, over their training steps."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import median

from swarmsim.results.history import History
from swarmsim.results.pictures.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Picture,
    legend_below,
    mark_solved,
    new_picture,
    set_title,
)

COLOURS = BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY
LOOKS = "o-", "s--", "^-.", "D:"  # with as many colours as there are looks to each


def curves(env: str, groups: Mapping[str, Sequence[History]]) -> Picture:
    """Return the evaluations after evolution of runs on `env` over training steps; at least one has a round.

    Args:
        groups: by their labels, runs that differ in nothing but their seeds; of several also the median is drawn.
    """
    picture = new_picture(4.5 + 0.2 * max(0, len(groups) - 4))
    axes = picture.subplots()
    looks = cycle((color, look) for look in LOOKS for color in COLOURS)
    for (label, histories), (color, look) in zip(groups.items(), looks, strict=False):
        each = [curve(history) for history in histories]
        for steps, scores in each if len(each) > 1 else []:
            axes.plot(steps, scores, look[1:], color=color, alpha=0.45, linewidth=1)
        steps, scores = median_curve(histories)
        name = f"{label} (median of {len(each)} runs)" if len(each) > 1 else label
        axes.plot(steps, scores, look, color=color, linewidth=2, markersize=6 if len(steps) <= 30 else 3, label=name)
    thresholds = [h.settings.get("reward_threshold") for histories in groups.values() for h in histories]
    mark_solved(axes, next((threshold for threshold in thresholds if threshold is not None), None))
    axes.set_xlabel("training steps of the environment")
    axes.set_ylabel("mean return of an evaluation's episodes")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    several = any(len(histories) > 1 for histories in groups.values())
    thin = "; thin lines: single runs" if several else ""
    set_title(axes, f"Evaluations after evolution{thin}", env)
    legend_below(picture, axes, columns=1 if max(map(len, groups)) > 30 else 2)
    return picture


def curve(history: History) -> tuple[list[float], list[float]]:
    """Return the training steps after each round, and the evaluation after evolution."""
    return [float(r.env_steps) for r in history], [r.eval_score_evolved for r in history]


def median_curve(histories: Sequence[History]) -> tuple[list[float], list[float]]:
    """Return the medians of training steps and evaluations, by round, over the rounds that all runs have ended."""
    steps, scores = zip(*map(curve, histories), strict=True)
    return [median(at) for at in zip(*steps, strict=False)], [median(at) for at in zip(*scores, strict=False)]
