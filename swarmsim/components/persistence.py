"""State that a component saves outside its process, so that a replacement can continue from it."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from swarmsim.messaging.codec import decode, encode
from swarmsim.messaging.queues.directory import replace_file, storage

SAVE_SECONDS = 0.1  # at least between two saves that are not urgent

Array = TypeVar("Array", bound=NDArray)


class StateStore:
    """The files of one component in its swarm's directory; they outlive its process, and go with the swarm.

    Args:
        path: None where there is no such directory, as in a swarm inside one process; nothing is saved then.

    Attributes:
        has_saved_state: whether an earlier process of this component has saved anything.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written_at = time.monotonic()
        self.has_saved_state = path is not None and any(path.parent.glob(f"{path.name}.*"))

    def write(self, state: Mapping[str, object]) -> None:
        """Replace the saved state; a process that is killed meanwhile leaves one of the two whole.

        Raises:
            StorageError: the temporary directory is full or cannot be used.
        """
        if self._path is not None:
            with storage(self._path.parent):
                replace_file(self._path.with_name(f"{self._path.name}.state"), encode(dict(state)))
        self._written_at = time.monotonic()

    def write_if_due(self, state: Callable[[], Mapping[str, object]]) -> None:
        """Write `state()`, unless the last write is less than `SAVE_SECONDS` ago."""
        if time.monotonic() - self._written_at > SAVE_SECONDS:
            self.write(state())

    def read(self) -> dict[str, Any] | None:
        """Return the state that was written last, by this process or one before it; None without any."""
        if self._path is None:
            return None
        try:
            return decode(self._path.with_name(f"{self._path.name}.state").read_bytes())
        except FileNotFoundError:
            return None

    def array(self, name: str, first: Array) -> Array:
        """Return an array in a file, for changes in place; its numbers are those of `first` if nothing is saved.

        Raises:
            StorageError: the temporary directory is full or cannot be used.
        """
        if self._path is None:
            return first
        path = self._path.with_name(f"{self._path.name}.{name}")
        with storage(self._path.parent):
            if not path.exists():
                replace_file(path, first.tobytes())
        return np.memmap(path, first.dtype, "r+", shape=first.shape).view(np.ndarray)  # type: ignore[return-value]
