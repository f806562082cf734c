"""Adam for a whole population: each model's weights, a row of (P, G), have moments of their own."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.networks import Floats

BETA1, BETA2 = 0.9, 0.999

# Names in checkpoints that differ from the fields here: checkpoints of earlier versions stay readable.
_CHECKPOINT_NAMES = {
    "reward_count_and_squares": "rewards",
    "largest_advantage_std": "spreads",
    "cumulative_advantage": "merits",
}


@dataclass(frozen=True)
class TrainingState:
    """All that learning leaves behind: arrays to be changed in place, wherever they lie.

    Attributes:
        weights, first_moment, second_moment: (P, G).
        n_updates: (1,), how many updates were made of them.
        reward_count_and_squares: (2,), the number of rewards that were seen, and the sum of their squares.
        largest_advantage_std: (P,), the largest standard deviation that a model's advantages have had.
        cumulative_advantage: (P,), how much better its actions than the swarm's would have been.
    """

    weights: Floats
    first_moment: Floats
    second_moment: Floats
    n_updates: NDArray[np.int64]
    reward_count_and_squares: NDArray[np.float64]
    largest_advantage_std: NDArray[np.float32]
    cumulative_advantage: NDArray[np.float64]

    @classmethod
    def of(cls, weights: Floats) -> "TrainingState":
        """Return the memory of models that have `weights` and have learnt nothing yet."""
        n = len(weights)
        moments = np.zeros_like(weights), np.zeros_like(weights)
        return cls(weights, *moments, np.zeros(1, np.int64), np.zeros(2), np.zeros(n, np.float32), np.zeros(n))

    def checkpoint_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by their names in a checkpoint; views, not copies."""
        return {_CHECKPOINT_NAMES.get(name, name): array for name, array in vars(self).items()}


class Adam:
    """Adam (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1) on the weights of `memory`, in place.

    The moments are kept without their factors 1 − β, which do not change from update to update and so are
    part of the step's size and of epsilon instead: two passes over all weights less.
    """

    def __init__(self, memory: TrainingState, learning_rate: float, eps: float) -> None:
        self.training_state = memory
        self.learning_rate = learning_rate
        self.eps = eps

    def begin_update(self) -> None:
        """Count an update; then `step` each model once."""
        self.training_state.n_updates[0] += 1
        n_updates = int(self.training_state.n_updates[0])
        root = sqrt((1 - BETA2) / (1 - BETA2**n_updates))
        self._size = np.float32(self.learning_rate * (1 - BETA1) / (1 - BETA1**n_updates) / root)
        self._eps = np.float32(self.eps / root)

    def step(self, models: slice, gradient: Floats) -> None:
        """Move the weights of `models` against their `gradient`, which is used up."""
        first, second = self.training_state.first_moment[models], self.training_state.second_moment[models]
        first *= np.float32(BETA1)
        first += gradient
        second *= np.float32(BETA2)
        second += np.multiply(gradient, gradient, out=gradient)
        root = np.sqrt(second, out=gradient)
        root += self._eps
        move = np.divide(first, root, out=gradient)
        move *= self._size
        self.training_state.weights[models] -= move
