"""What a component keeps outside its process, so that the one that takes its place can go on with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from swarmsim.messaging.codec import decode, encode

Array = TypeVar("Array", bound=NDArray)


class StateStore:
    """A component's place in its swarm's directory: it outlives the process, and goes with the swarm.

    Args:
        path: None where there is none, as in a swarm inside one process; then nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.has_saved_state = path is not None and any(path.parent.glob(f"{path.name}.*"))

    def write(self, state: Mapping[str, object]) -> None:
        """Keep `state` in the place of the one before; whoever is killed meanwhile leaves one of them whole."""
        if self._path is not None:
            _replace(self._path.with_name(f"{self._path.name}.state"), encode(dict(state)))

    def read(self) -> dict | None:
        """Return what was saved last, by this process or by one before it; None where nothing was."""
        if self._path is None:
            return None
        try:
            return decode(self._path.with_name(f"{self._path.name}.state").read_bytes())
        except FileNotFoundError:
            return None

    def array(self, name: str, first: Array) -> Array:
        """Return an array to be changed in place, whose numbers stay; they are those of `first` if none were kept."""
        if self._path is None:
            return first
        path = self._path.with_name(f"{self._path.name}.{name}")
        if not path.exists():
            _replace(path, first.tobytes())
        return np.memmap(path, first.dtype, "r+", shape=first.shape).view(np.ndarray)  # type: ignore[return-value]


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f"~{path.name}")
    beside.write_bytes(content)
    beside.replace(path)
