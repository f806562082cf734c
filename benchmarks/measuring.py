"""What the benchmarks share: the machine's description, interleaved repeats, and tables."""

import datetime as dt
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import gymnasium

from swarmsim.config import Config, make_config
from swarmsim.experiment.experiment import Experiment

RAW_STEPS = 40_000


def machine() -> str:
    """Return the date and the machine's size, in one line: figures mean nothing without them."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    today = dt.date.today().isoformat()  # noqa: DTZ011  (the reader's own day)
    cores = len(os.sched_getaffinity(0))
    return f"{today}, {cores} cores ({model}), {memory / 2**20:.0f} GiB, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def interleaved(repeats: int, measures: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Return each measure's figures, all taken in turn `repeats` times, so that a noisy moment hits all alike."""
    figures: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            figures[name].append(measure())
    return figures


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Return the ratios of figures that were taken in turn."""
    return [a / b for a, b in zip(of, to, strict=True)]


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """Return the median of those ratios."""
    return statistics.median(ratios(of, to))


def summary(figures: Sequence[float], form: Callable[[float], str]) -> list[str]:
    """Return the median and the range of figures, as two cells of a table."""
    return [form(statistics.median(figures)), f"{form(min(figures))} to {form(max(figures))}"]


def training_of(**settings: int | str) -> Config:
    """Return a training with these settings, by default one round of the preset `reference`; it keeps no files."""
    return make_config({"preset": "reference", "seed": 1, "rounds": 1, "out": None, **settings}, "benchmark")


def swarm_steps_per_second(config: Config) -> float:
    """Return the steps per second of a swarm's training in all its rounds: some learn more often at first."""
    history = Experiment(config).run()
    return history.env_steps / sum(record.seconds for record in history)


def raw_steps_per_second(env_id: str = "CartPole-v1") -> float:
    """Return the steps per second of one process that does nothing but step one environment."""
    env = gymnasium.make(env_id)
    env.reset(seed=0)
    began = time.perf_counter()
    for step in range(RAW_STEPS):
        _, _, terminated, truncated, _ = env.step(step & 1)
        if terminated or truncated:
            env.reset()
    elapsed = time.perf_counter() - began
    env.close()
    return RAW_STEPS / elapsed


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table, its columns aligned for the terminal."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    head, *body = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    )
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body])
