"""A replay buffer of single transitions, each with the observation after it (Lin 1992)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.networks import Architecture, Floats


@dataclass(frozen=True)
class Transitions:
    """Transitions (…,) from all environments."""

    observations: Floats  # (…, n_inputs)
    actions: Floats  # (…, D)
    rewards: Floats
    next_observations: Floats  # (…, n_inputs)
    terminated: NDArray[np.bool_]  # the episode ended by the task's own rule, so that no value follows

    def __getitem__(self, rows: Any) -> "Transitions":
        return Transitions(**{name: array[rows] for name, array in vars(self).items()})


class TransitionBuffer:
    """The latest transitions, up to `capacity` of them; a new one replaces the oldest."""

    def __init__(self, architecture: Architecture, capacity: int) -> None:
        self.n_added = 0
        self._capacity = capacity
        observations = capacity, architecture.n_inputs
        self._rows = Transitions(  # zeros take memory only once they are written
            observations=np.zeros(observations, np.float32),
            actions=np.zeros((capacity, architecture.n_actions), np.float32),
            rewards=np.zeros(capacity, np.float32),
            next_observations=np.zeros(observations, np.float32),
            terminated=np.zeros(capacity, np.bool_),
        )

    def __len__(self) -> int:
        return min(self.n_added, self._capacity)

    def __getitem__(self, rows: NDArray[np.int64]) -> Transitions:
        return self._rows[rows]

    def add(self, new: Transitions) -> None:
        """Add transitions (B,)."""
        rows = (self.n_added + np.arange(len(new.rewards))) % self._capacity
        for name, array in vars(new).items():
            getattr(self._rows, name)[rows] = array
        self.n_added += len(rows)

    def state(self) -> dict[str, Any]:
        """Return its state; its arrays are views."""
        return {"n_added": self.n_added, **vars(self._rows[: len(self)])}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of a buffer of the same capacity."""
        self.n_added = state["n_added"]
        for name, array in vars(self._rows).items():
            array[: len(self)] = state[name]
