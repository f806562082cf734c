"""The directory of one run: settings, one line of metrics per round, checkpoints, a summary, pictures."""

import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from swarmsim.errors import SettingsError
from swarmsim.files import write_atomically, writing
from swarmsim.results.checkpoint import Checkpoints
from swarmsim.results.history import History, Round
from swarmsim.results.machine import machine
from swarmsim.results.record import RunRecord, is_number
from swarmsim.settings import parse_yaml

CONFIG, METRICS, SUMMARY, CHECKPOINT = "config.yaml", "metrics.jsonl", "summary.json", "checkpoint"
PACKAGES = "numpy", "gymnasium", "swarmsim"
VERSIONS, FIRST_MODULES = "versions", "first_modules"  # keys of CONFIG besides the settings
HISTORY_SETTINGS = {"seed": int, "env": str, "population": int, "workers": int, "link": str, "preset": str}
_FAILURE_KEYS = {"round", "phase", "component", "error", "message", "traceback"}
REWARD_THRESHOLD = "reward_threshold"


class RunDirectory:
    """The files of one run; each is written atomically, except `metrics.jsonl`, to which whole lines are appended.

    Only one process at a time can write a run: it holds a lock on the metrics, which ends with the process.

    Attributes:
        path: of the directory.
        checkpoints: of the run.

    Raises (`create` and every method):
        SettingsError: a file cannot be written.
    """

    def __init__(self, path: Path, metrics: BinaryIO, keep: int) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / CHECKPOINT, keep)
        self._metrics = metrics

    @classmethod
    def create(cls, out: str, env: str, settings: Mapping[str, Any], keep: int) -> "RunDirectory":
        """Create the directory of a new run at `out`, or at runs/ENV-DATE-TIME if `out` is "auto".

        Raises:
            SettingsError: the directory holds a run already, or cannot be written.
        """
        with writing(f"out: {'runs' if out == 'auto' else Path(out)}"):
            path = _new_path(env) if out == "auto" else Path(out)
            if (path / CONFIG).exists() or (path / METRICS).exists():
                raise SettingsError(f"out: {path} holds a run already; name another directory")
            (path / CHECKPOINT).mkdir(parents=True, exist_ok=True)
            metrics = (path / METRICS).open("xb")
        packages = {name: _version(name) for name in PACKAGES}
        versions = {"python": platform.python_version(), **packages, **machine()}
        text = yaml.safe_dump({**settings, **_relative_modules(settings, path), VERSIONS: versions}, sort_keys=False)
        try:
            _lock(metrics, path)
            write_atomically(path / CONFIG, text.encode())
        except SettingsError:
            metrics.close()
            (path / METRICS).unlink()
            raise
        return cls(path, metrics, keep)

    @classmethod
    def resume(cls, path: str | Path, keep: int) -> "RunDirectory":
        """Open an existing run, for `rewrite_metrics` next; raises SettingsError if it is missing or being written."""
        path = Path(path)
        require_run(path)
        with writing(path):
            (path / CHECKPOINT).mkdir(exist_ok=True)
            (path / METRICS).touch()
            metrics = (path / METRICS).open("r+b")
            metrics.seek(0, os.SEEK_END)
        _lock(metrics, path)
        return cls(path, metrics, keep)

    def rewrite_metrics(self, history: History) -> None:
        """Make the metrics hold the rounds of `history` and nothing else."""
        with writing(self.path / METRICS):
            self._metrics.seek(0)  # the same file, because a new one would not have the lock
            for record in history:
                self._metrics.write(_line(record))
            self._metrics.truncate()

    def append_round(self, history: History) -> None:
        """Append the last round of `history` to the metrics, and update the summary."""
        with writing(self.path / METRICS):
            self._metrics.write(_line(history[-1]))
            self._metrics.flush()
        self._write_summary(history)

    def close(self, history: History, write_pictures: Callable[[History, Path], object] | None = None) -> None:
        """Release the lock, after writing the summary and, if a round has ended, the pictures by `write_pictures`."""
        with writing(self.path / METRICS), self._metrics:
            self._write_summary(history)
            if history.rounds and write_pictures is not None:
                write_pictures(history, self.path)

    def _write_summary(self, history: History) -> None:
        write_atomically(self.path / SUMMARY, (json.dumps(history.summary(), indent=2) + "\n").encode())


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings of a run, unchecked; raises SettingsError if they are missing or damaged."""
    settings = _config(Path(path))
    modules = _absolute_modules(settings, Path(path).resolve())
    return {key: value for key, value in {**settings, **modules}.items() if key not in (VERSIONS, FIRST_MODULES)}


def read_versions(path: str | Path) -> dict[str, Any]:
    """Return the versions of the packages with which the run began, by package; raises as `read_settings`."""
    versions = _config(Path(path)).get(VERSIONS)
    return versions if isinstance(versions, dict) else {}


def read_history(path: str | Path) -> History:
    """Return the history so far of a run; raises SettingsError if one of its files is missing or damaged."""
    path = Path(path)
    config = _config(path)
    summary = _summary(path / SUMMARY)
    settings = {key: summary.get(key, config.get(key)) for key in (*HISTORY_SETTINGS, REWARD_THRESHOLD)}
    for key, kind in HISTORY_SETTINGS.items():
        if not isinstance(settings[key], kind):
            raise SettingsError(f"{path / CONFIG} is damaged: it holds no {key}")
    return History(
        settings=settings,
        directory=path,
        rounds=list(_rounds(path / METRICS)),
        wall_seconds=summary.get("wall_seconds", 0.0),
        failures=summary.get("failures", []),
        messages=summary.get("messages", {}),
    )


def _relative_modules(settings: Mapping[str, Any], run: Path) -> dict[str, str]:
    """Return the folder of a user's modules relative to the run, so that both can be moved; and where it is now."""
    folder = settings.get("modules")
    if folder is None:
        return {}
    return {"modules": os.path.relpath(folder, run.resolve()), FIRST_MODULES: str(folder)}


def _absolute_modules(settings: Mapping[str, Any], run: Path) -> dict[str, str]:
    """Return where the user's modules are: beside the run as before, or where they were if the run alone has moved."""
    folder, first = settings.get("modules"), settings.get(FIRST_MODULES)
    if not isinstance(folder, str):
        return {}
    beside = os.path.normpath(run / folder)
    has_moved_alone = isinstance(first, str) and has_module(first, settings) and not has_module(beside, settings)
    return {"modules": str(first) if has_moved_alone else beside}


def references(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the settings, unchecked, that name an object of a module, as `module:name`."""
    wrappers = settings.get("wrappers")
    several = wrappers if isinstance(wrappers, list | tuple) else ()
    named = (settings.get("env"), settings.get("aggregation"), *several)
    return tuple(name for name in named if isinstance(name, str) and ":" in name)


def has_module(folder: str | None, settings: Mapping[str, Any]) -> bool:
    """Return whether `folder` holds a module that these settings name."""
    tops = [reference.partition(":")[0].partition(".")[0] for reference in references(settings)]
    return folder is not None and any((Path(folder) / name).exists() for top in tops for name in (f"{top}.py", top))


def _rounds(metrics: Path) -> Iterator[Round]:
    for number, line in enumerate(_content(metrics).splitlines(keepends=True), 1):
        try:
            yield Round.decode(json.loads(line))
        except (ValueError, TypeError, LookupError):
            if not line.endswith(b"\n"):
                return  # the run is still writing it
            raise SettingsError(f"{metrics} is damaged: line {number} is no round") from None


def _summary(file: Path) -> dict[str, Any]:
    """Return a run's summary; it is empty before the first round has ended."""
    if not file.exists():
        return {}
    try:
        summary = json.loads(_content(file))
        record = RunRecord({}, failures=summary.get("failures", []), messages=summary.get("messages", {}))
        is_whole = all(failure.keys() >= _FAILURE_KEYS for failure in record.failures)
        is_whole &= is_number(record.n_messages) and is_number(summary.get("wall_seconds", 0.0))
    except (ValueError, TypeError, AttributeError):
        is_whole = False
    if not is_whole:
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
        settings = deepcopy(_parsed(content))
    except Exception as error:  # yaml raises other errors too if a value does not match its tag
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SettingsError(f"{file} is damaged: {problem}") from None
    if not isinstance(settings, dict):
        raise SettingsError(f"{file} is damaged: it holds no settings")
    return settings


_parsed = lru_cache(maxsize=1)(parse_yaml)  # several readers of a run read the same file


def require_run(path: Path) -> None:
    """Raise a SettingsError if there is no run at `path`."""
    if not os.path.isdir(path):  # noqa: PTH112 - False too where it cannot be looked at
        raise SettingsError(f"{path}: there is no such directory")
    if not os.path.isfile(path / CONFIG):  # noqa: PTH113
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
    return json.dumps(record.encode()).encode() + b"\n"


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
