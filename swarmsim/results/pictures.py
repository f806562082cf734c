"""Pictures of a run."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from swarmsim.results.files import write_whole
from swarmsim.results.history import History

# the colour-blind safe palette of Okabe and Ito
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#999999"


def write_pictures(history: History, folder: Path) -> None:
    """Draw a run into PNG files in `folder`."""
    plot_scores(history, folder / "scores.png")


def plot_scores(history: History, path: Path) -> None:
    """Draw the scores of each round, and every training episode, into a PNG file."""
    rounds = [r.round for r in history]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for r in history:
        spread = [r.round - 0.5 + (i + 0.5) / len(r.train_returns) for i in range(len(r.train_returns))]
        label = "training episode" if r is history[0] else None
        axes.scatter(spread, r.train_returns, s=10, color=GREY, alpha=0.7, linewidths=0, label=label)
    axes.plot(rounds, [r.train_score for r in history], "o-", color=BLUE, label="training, mean")
    axes.plot(rounds, [r.eval_score for r in history], "s--", color=ORANGE, label="evaluation before evolution")
    axes.plot(rounds, [r.eval_score_evolved for r in history], "^-", color=GREEN, label="evaluation after evolution")
    axes.set_xlabel("round")
    axes.set_ylabel("return of an episode")
    axes.set_xticks(rounds if len(rounds) <= 20 else rounds[:: len(rounds) // 10])
    axes.set_title("{env}: {population} models acting as one, seed {seed}".format(**history.settings))
    axes.grid(alpha=0.3)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_whole(path, picture.getvalue())
