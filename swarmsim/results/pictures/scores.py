"""How a run scored, round by round."""

from swarmsim.results.history import History
from swarmsim.results.pictures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Picture,
    legend_below,
    mark_solved,
    new_picture,
    number_rounds,
    set_title,
)


def scores(history: History) -> Picture:
    """Return the scores of each round, and every training episode; `history` has at least one round."""
    picture = new_picture()
    axes = picture.subplots()
    numbers = [r.round for r in history]
    at, returns = _episodes(history)
    dot, opacity = (12, 0.7) if len(returns) <= 400 else (5, 0.5)
    axes.scatter(at, returns, s=dot, color=GREY, alpha=opacity, linewidths=0, label="training episode")
    shrink = 1 if len(numbers) <= 30 else 0.5
    for label, values, look, color, size in (
        ("training, mean", [r.train_score for r in history], "o-", BLUE, 6),
        ("evaluation before evolution", [r.eval_score for r in history], "s--", ORANGE, 9),
        ("evaluation after evolution", [r.eval_score_evolved for r in history], "^-", GREEN, 6),
    ):
        axes.plot(numbers, values, look, color=color, label=label, markersize=size * shrink)
    mark_solved(axes, history.settings.get("reward_threshold"))
    number_rounds(axes, numbers)
    axes.set_xlabel("round, its training episodes from left to right")
    axes.set_ylabel("return of an episode (sum of its rewards)")
    axes.grid(alpha=0.3)
    set_title(axes, "Scores of each round", history.title)
    legend_below(picture, axes)
    return picture


def _episodes(history: History) -> tuple[list[float], list[float]]:
    """Return where each training episode stands within its round, in the order in which they began, and its return."""
    at, returns = [], []
    for r in history:
        at += [r.round - 0.5 + (number + 0.5) / len(r.train_returns) for number in range(len(r.train_returns))]
        returns += r.train_returns
    return at, returns
