"""State that a component saves outside its process, so that a replacement can continue from it."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from swarmsim.messaging.codec import decode, encode
from swarmsim.messaging.queues.directory import replace_file, storage

SAVE_SECONDS = 0.1  # at least between two saves that are not urgent


class StateStore:
    """The files of one component in its swarm's directory; they outlive its process, and go with the swarm.

    Args:
        path: None where there is no such directory, as in a swarm inside one process; nothing is saved then.
        given_state: a state for the component to continue from, unless an earlier process has saved a later one.

    Attributes:
        has_saved_state: whether an earlier process of this component has written a state.
        given_state: the given state; None if there is a later one.
    """

    def __init__(self, path: Path | None, given_state: Mapping[str, Any] | None = None) -> None:
        self._path = path
        self._written_at = time.monotonic()
        self.has_saved_state = path is not None and path.with_name(f"{path.name}.state").exists()
        self.given_state = None if self.has_saved_state else given_state

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

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array in a file, for changes in place: zeros, unless an earlier process has left its numbers there.

        Call `write` once the array is complete: without a written state, the next process begins anew.

        Raises:
            StorageError: the temporary directory is full or cannot be used.
        """
        array = np.zeros(shape, dtype)  # takes memory only where it is written
        if self._path is None or not array.nbytes:
            return array
        path = self._path.with_name(f"{self._path.name}.{name}")
        if not self.has_saved_state:
            with storage(self._path.parent), path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, array.nbytes)  # a full disk is an error here, not a signal later
        return np.memmap(path, dtype, "r+", shape=shape).view(np.ndarray)
