"""A run at one of its checkpoints, found by the run's directory or by the checkpoint's file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swarmsim.errors import SettingsError
from swarmsim.results.checkpoint import BEST, CheckpointDamaged, Checkpoints, State, read_finite_checkpoint
from swarmsim.results.history import History
from swarmsim.results.run_directory import CHECKPOINT, CONFIG, require_run
from swarmsim.settings import user_path

FILE = ".npz"


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment: its directory, the checkpoint file that was read, and that file's content."""

    run: Path
    checkpoint: Path
    state: State

    @property
    def history(self) -> History:
        return History.decode(self.state["history"], directory=self.run)


def snapshot(path: str | Path, on_damaged: Callable[[CheckpointDamaged], None], *, best: bool = False) -> Snapshot:
    """Read the newest sound checkpoint of the run at `path`, or the checkpoint at `path` if that is a file in a run.

    Args:
        best: whether to read that of the best evaluation instead; `path` must be a run then.
        on_damaged: called with the error of each newer checkpoint that is damaged.

    Raises:
        SettingsError: there is no run or no checkpoint, or no sound one.
    """
    path = user_path(path)
    if best:
        return _best(path)
    if path.is_file() or (path.suffix == FILE and not path.is_dir()):
        state = read_finite_checkpoint(path)
        return Snapshot(run_of(path), path, state)
    require_run(path)
    newest = Checkpoints(path / CHECKPOINT, keep=1).read_newest(on_damaged)
    if newest is None:
        raise SettingsError(f"{path} holds no checkpoint yet: its first round has not ended")
    return Snapshot(path, *newest)


def _best(run: Path) -> Snapshot:
    if run.is_file():
        raise SettingsError(f"{run} is a file: the best checkpoint is that of a run directory")
    require_run(run)
    path = run / CHECKPOINT / BEST
    if not path.exists():
        raise SettingsError(
            f"{run} holds no best checkpoint: no evaluation of it has ended, or an earlier version ran it"
        )
    return Snapshot(run, path, read_finite_checkpoint(path))


def run_of(checkpoint: Path) -> Path:
    """Return the run directory that a checkpoint file belongs to; raises SettingsError if it is in no run directory."""
    run = checkpoint.absolute().parent.parent
    if not (run / CONFIG).is_file():
        raise SettingsError(f"{checkpoint} is in no run directory: there is no {run / CONFIG}")
    return run
