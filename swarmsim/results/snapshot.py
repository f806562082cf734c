"""A run at one of its checkpoints, found by the run's directory or by the checkpoint's file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmsim.errors import SettingsError
from swarmsim.results.checkpoint import CheckpointDamaged, Checkpoints, State, read
from swarmsim.results.history import History
from swarmsim.results.run_directory import CHECKPOINT, CONFIG, require_run

FILE = ".npz"


@dataclass(frozen=True)
class Snapshot:
    """What a run was at one moment.

    Attributes:
        run: its directory.
        checkpoint: the file that tells of the moment.
        state: what it holds.
    """

    run: Path
    checkpoint: Path
    state: State

    @property
    def history(self) -> History:
        return History.from_state(self.state["history"], directory=self.run)

    @property
    def environment(self) -> Mapping[str, Any]:
        """Return what the environment was; empty where it left nothing behind."""
        return self.state["components"].get("environment") or {}


def snapshot(path: str | Path, on_damaged: Callable[[CheckpointDamaged], None]) -> Snapshot:
    """Return the newest sound checkpoint of the run at `path`; or that very one, where `path` is a file in a run.

    Args:
        on_damaged: is told of each later one that is not sound.

    Raises:
        SettingsError: there is no run or no checkpoint, or none that is sound.
    """
    path = Path(path)
    if path.is_file() or (path.suffix == FILE and not path.is_dir()):
        state = read(path)
        return Snapshot(run_of(path), path, state)
    require_run(path)
    newest = Checkpoints(path / CHECKPOINT, keep=1).newest(on_damaged)
    if newest is None:
        raise SettingsError(f"{path} holds no checkpoint yet: its first round has not ended")
    return Snapshot(path, *newest)


def run_of(checkpoint: Path) -> Path:
    """Return the directory of the run whose checkpoint this file is.

    Raises:
        SettingsError: it lies in none.
    """
    run = checkpoint.absolute().parent.parent
    if not (run / CONFIG).is_file():
        raise SettingsError(f"{checkpoint} lies in no run directory: there is no {run / CONFIG}")
    return run
