"""Run directories as runs leave them."""

from dataclasses import asdict
from pathlib import Path

from swarmsim.config import make_config
from swarmsim.results.history import History
from swarmsim.results.pictures import write_pictures
from swarmsim.results.run_directory import RunDirectory
from tests.results.rounds import a_round

FAILURE = {
    "round": 2,
    "phase": "train",
    "component": "environment",
    "error": "ValueError",
    "message": "it is broken",
    "traceback": "Traceback (most recent call last):\n  …\nValueError: it is broken",
    "healed": False,
}


def a_run(path: Path, n_rounds: int = 2, ends: bool = True, failures=(), **settings) -> Path:
    """Leave a run at `path`; one that has not ended is as far as it came, without pictures."""
    config = make_config({"env": "X-v0", "population": 2, "workers": 1, **settings, "out": str(path)}, "tests")
    directory = RunDirectory.create(str(path), config.env, asdict(config), keep=1)
    told = {key: getattr(config, key) for key in ("seed", "env", "population", "workers", "link", "preset")}
    history = History({**told, "reward_threshold": 40.0}, path, failures=list(failures))
    for number in range(1, n_rounds + 1):
        history.rounds.append(a_round(number, eval_score_evolved=21.5 * number, eval_score=20.0 * number))
        directory.append_round(history)
    history.count_messages("models0-1", [("observation", "environment", 40)])
    if ends:
        directory.close(history, write_pictures)
    else:
        directory._metrics.close()
    return path
