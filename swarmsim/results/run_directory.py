"""The directory of one run: settings, a line of metrics a round, checkpoints, a summary, pictures."""

import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from swarmsim.errors import SettingsError
from swarmsim.files import write_whole, writing
from swarmsim.results.checkpoint import CheckpointDamaged, Checkpoints, State
from swarmsim.results.history import TOLD, History, Round

CONFIG, METRICS, SUMMARY, CHECKPOINT = "config.yaml", "metrics.jsonl", "summary.json", "checkpoint"
PACKAGES = "numpy", "gymnasium", "swarmsim"
VERSIONS = "versions"


class RunDirectory:
    """The files of one run; each appears whole or not at all, but for `metrics.jsonl`, which grows by whole lines.

    No two processes write one run: a lock on its metrics is this process's alone, and ends with it.

    Raises (`create` and every method):
        SettingsError: a file cannot be written.
    """

    def __init__(self, path: Path, metrics: BinaryIO, keep: int) -> None:
        self.path = path
        self._metrics = metrics
        self._checkpoints = Checkpoints(path / CHECKPOINT, keep)

    @classmethod
    def create(cls, out: str, env: str, settings: Mapping[str, Any], keep: int) -> "RunDirectory":
        """Return the directory of a new run at `out`, or at runs/ENV-DATE-TIME where `out` is "auto".

        Args:
            keep: how many checkpoints are kept.

        Raises:
            SettingsError: there is a run already, or it cannot be written.
        """
        with writing(f"out: {'runs' if out == 'auto' else Path(out)}"):
            path = _new_path(env) if out == "auto" else Path(out)
            if (path / CONFIG).exists() or (path / METRICS).exists():
                raise SettingsError(f"out: {path} holds a run already; name another directory")
            (path / CHECKPOINT).mkdir(parents=True, exist_ok=True)
            metrics = (path / METRICS).open("xb")
        versions = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
        text = yaml.safe_dump({**settings, VERSIONS: versions}, sort_keys=False)
        try:
            _lock(metrics, path)
            write_whole(path / CONFIG, text.encode())
        except SettingsError:
            metrics.close()
            (path / METRICS).unlink()
            raise
        return cls(path, metrics, keep)

    @classmethod
    def resume(cls, path: str | Path, keep: int) -> "RunDirectory":
        """Return the directory of a run that is there, to go on with it; `restore` puts its metrics right.

        Raises:
            SettingsError: there is no run, another process runs in it, or it cannot be written.
        """
        path = Path(path)
        require_run(path)
        with writing(path):
            (path / CHECKPOINT).mkdir(exist_ok=True)
            (path / METRICS).touch()
            metrics = (path / METRICS).open("r+b")
            metrics.seek(0, os.SEEK_END)
        _lock(metrics, path)
        return cls(path, metrics, keep)

    def restore(self, history: History) -> None:
        """Have the metrics hold the rounds of `history`, and nothing else."""
        with writing(self.path / METRICS):
            self._metrics.seek(0)  # written over, as a file in its place would be another one, without the lock
            for record in history:
                self._metrics.write(_line(record))
            self._metrics.truncate()

    def add_round(self, history: History) -> None:
        """Add the last round of `history` to the metrics, and sum up what is known so far."""
        with writing(self.path / METRICS):
            self._metrics.write(_line(history[-1]))
            self._metrics.flush()
        self._sum_up(history)

    def _sum_up(self, history: History) -> None:
        write_whole(self.path / SUMMARY, (json.dumps(history.summary(), indent=2) + "\n").encode())

    def save(self, round_number: int, state: State, complete: bool) -> Path:
        """Write a checkpoint taken after a `complete` round, or within it; the oldest ones go."""
        return self._checkpoints.save(round_number, state, complete)

    def newest(self, on_damaged: Callable[[CheckpointDamaged], None]) -> tuple[Path, State] | None:
        """Return the last sound checkpoint and its state; None where there has never been one.

        Args:
            on_damaged: is told of each later one that is not sound.

        Raises:
            SettingsError: there are checkpoints, but none is sound.
        """
        return self._checkpoints.newest(on_damaged)

    def close(self, history: History) -> None:
        """Write what is known at the end of the run, however it ended, and let others go on with it."""
        with writing(self.path / METRICS), self._metrics:
            self._sum_up(history)
            if history.rounds:
                from swarmsim.results.pictures import write_pictures

                write_pictures(history, self.path)


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings of the run at `path`, not yet checked.

    Raises:
        SettingsError: there is no run, or its settings are damaged.
    """
    return {key: value for key, value in _config(Path(path)).items() if key != VERSIONS}


def read_versions(path: str | Path) -> dict[str, Any]:
    """Return the versions of what the run at `path` began with, by package.

    Raises:
        SettingsError: there is no run, or its settings are damaged.
    """
    versions = _config(Path(path)).get(VERSIONS)
    return versions if isinstance(versions, dict) else {}


def read_history(path: str | Path) -> History:
    """Return what the run at `path` has shown so far, whether it goes on or has ended.

    Raises:
        SettingsError: there is no run, or one of its files is damaged.
    """
    path = Path(path)
    settings = _config(path)
    summary = _summary(path / SUMMARY)
    keys = (*TOLD, "reward_threshold")
    return History(
        settings={key: summary.get(key, settings.get(key)) for key in keys},
        directory=path,
        rounds=list(_rounds(path / METRICS)),
        wall_seconds=summary.get("wall_seconds", 0.0),
        failures=summary.get("failures", []),
        messages=summary.get("messages", {}),
    )


def _rounds(metrics: Path) -> Iterator[Round]:
    for number, line in enumerate(_content(metrics).splitlines(keepends=True), 1):
        try:
            yield Round.from_dict(json.loads(line))
        except (ValueError, TypeError):
            if not line.endswith(b"\n"):
                return  # it is being written
            raise SettingsError(f"{metrics} is damaged: line {number} is no round") from None


def _summary(file: Path) -> dict[str, Any]:
    """Return a run's summary; an empty one before its first round has ended."""
    if not file.exists():
        return {}
    try:
        summary = json.loads(_content(file))
    except ValueError:
        summary = None
    if not isinstance(summary, dict):
        raise SettingsError(f"{file} is damaged: it is no summary of a run")
    return summary


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None


def _config(path: Path) -> dict[str, Any]:
    require_run(path)
    file = path / CONFIG
    content = _content(file)
    try:
        settings = yaml.safe_load(content)
    except Exception as error:  # yaml raises more than its own errors where a value is not what its tag says
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SettingsError(f"{file} is damaged: {problem}") from None
    if not isinstance(settings, dict):
        raise SettingsError(f"{file} is damaged: it holds no settings")
    return settings


def require_run(path: Path) -> None:
    """Raise a SettingsError where no run lies at `path`."""
    if not path.is_dir():
        raise SettingsError(f"{path}: there is no such directory")
    if not (path / CONFIG).is_file():
        raise SettingsError(f"{path} is no run directory: one has {CONFIG}, {METRICS} and {CHECKPOINT}/")


def _lock(metrics: BinaryIO, path: Path) -> None:
    try:
        fcntl.lockf(metrics, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        metrics.close()
        is_taken = error.errno in (errno.EACCES, errno.EAGAIN)
        reason = "another process runs in it" if is_taken else f"it cannot be locked: {error.strerror}"
        raise SettingsError(f"{path}: {reason}") from None


def _line(record: Round) -> bytes:
    return json.dumps(record.to_dict()).encode() + b"\n"


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


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
