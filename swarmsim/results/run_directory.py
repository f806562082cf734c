"""The directory of one run: settings, a line of metrics a round, checkpoints, a summary, a plot."""

import io
import json
import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from swarmsim.errors import SettingsError
from swarmsim.results.history import History, Round

CONFIG, METRICS, SUMMARY, CHECKPOINT, PLOT = (
    "config.yaml", "metrics.jsonl", "summary.json", "checkpoint", "scores.png",
)  # fmt: skip
PACKAGES = "numpy", "gymnasium", "swarmsim"


class RunDirectory:
    """The files of one run; each appears whole or not at all, but for `metrics.jsonl`, which grows by whole lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics = (path / METRICS).open("a", encoding="utf-8")

    @classmethod
    def create(cls, out: str, env: str, settings: Mapping[str, Any]) -> "RunDirectory":
        """Return the directory of a new run at `out`, or at runs/ENV-DATE-TIME where `out` is "auto".

        Raises:
            SettingsError: there is a run already, or it cannot be written.
        """
        try:
            path = _new_path(env) if out == "auto" else Path(out)
            if (path / CONFIG).exists() or (path / METRICS).exists():
                raise SettingsError(f"out: {path} holds a run already; name another directory")
            (path / CHECKPOINT).mkdir(parents=True, exist_ok=True)
            versions = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
            text = yaml.safe_dump({**settings, "versions": versions}, sort_keys=False)
            _write_whole(path / CONFIG, text.encode())
            return cls(path)
        except OSError as error:
            where = Path("runs") if out == "auto" else Path(out)
            raise SettingsError(f"out: {where} cannot be written: {error.strerror}") from None

    def add_round(self, record: Round) -> None:
        self._metrics.write(json.dumps(record.to_dict()) + "\n")
        self._metrics.flush()

    def save_weights(self, round_number: int, weights: Mapping[str, NDArray[np.float32]]) -> Path:
        """Write every model's weights (G,), by its name, after this round; the round before's go."""
        path = self.path / CHECKPOINT / f"round-{round_number:04d}.npz"
        content = io.BytesIO()
        np.savez(content, **dict(weights))  # type: ignore[arg-type]  # numpy's stub confuses names with its flag
        _write_whole(path, content.getvalue())
        for older in path.parent.glob("round-*.npz"):
            if older != path:
                older.unlink()
        return path

    def close(self, history: History) -> None:
        """Write what is known at the end of the run, however it ended."""
        self._metrics.close()
        _write_whole(self.path / SUMMARY, (json.dumps(history.summary(), indent=2) + "\n").encode())
        if history.rounds:
            from swarmsim.results.plots import plot_scores

            plot_scores(history, self.path / PLOT)


def load_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the weights that `save_weights` wrote, by the models' names."""
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def _new_path(env: str) -> Path:
    stem = f"{env.replace('/', '-').replace(':', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 1
    while True:
        path = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1


def _write_whole(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
