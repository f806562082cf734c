"""What a run comes to, in a few figures that can be read at a glance."""

from swarmsim.results.history import History
from swarmsim.results.tables import NOTHING, score

FIGURES = {
    "final-score": "last score",
    "best-score": "best score",
    "solved": "solved",
    "n-rounds": "rounds",
    "total-steps": "training steps",
    "speed": "steps/s",
    "wall-time": "wall time",
    "n-failures": "failures",
}


def key_figures(history: History, n_rounds: int | None) -> list[str]:
    """Return the texts of FIGURES.

    Args:
        n_rounds: how many the run was asked for, if that is known.
    """
    summary = history.summary()
    return [
        score(summary["final_score"]),
        score(summary["best_score"]),
        _solved(history),
        f"{len(history)}" if n_rounds is None else f"{len(history)} of {n_rounds}",
        f"{history.env_steps:,}",
        f"{summary['steps_per_second']:,.0f}" if history.rounds else NOTHING,
        _duration(history.wall_seconds) if history.wall_seconds else NOTHING,
        _failures(history),
    ]


def _solved(history: History) -> str:
    threshold = history.settings.get("reward_threshold")
    if history.solved_in is not None:
        return f"in round {history.solved_in}"
    return "no threshold known" if threshold is None else f"no, needs {threshold:g}"


def _failures(history: History) -> str:
    if not history.failures:
        return "none"
    healed = sum(bool(failure.get("healed")) for failure in history.failures)
    return f"{len(history.failures)}, {healed} healed"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
