"""Adam for a whole population: each model's weights, a row of (P, G), have moments of their own."""

from math import sqrt

import numpy as np

from swarmsim.learning.policy import Floats

BETA1, BETA2 = 0.9, 0.999


class Adam:
    """Adam (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1) on `weights` (P, G), in place.

    The moments are kept without their factors 1 − β, which do not change from update to update and so are
    part of the step's size and of epsilon instead: two passes over all weights less.
    """

    def __init__(self, weights: Floats, learning_rate: float, eps: float) -> None:
        self.weights = weights
        self.learning_rate = learning_rate
        self.eps = eps
        self.n_updates = 0
        self.first_moment = np.zeros_like(weights)
        self.second_moment = np.zeros_like(weights)

    def begin_update(self) -> None:
        """Count an update; then `step` each model once."""
        self.n_updates += 1
        root = sqrt((1 - BETA2) / (1 - BETA2**self.n_updates))
        self._size = np.float32(self.learning_rate * (1 - BETA1) / (1 - BETA1**self.n_updates) / root)
        self._eps = np.float32(self.eps / root)

    def step(self, models: slice, gradient: Floats) -> None:
        """Move the weights of `models` against their `gradient`, which is used up."""
        first, second = self.first_moment[models], self.second_moment[models]
        first *= np.float32(BETA1)
        first += gradient
        second *= np.float32(BETA2)
        second += np.multiply(gradient, gradient, out=gradient)
        root = np.sqrt(second, out=gradient)
        root += self._eps
        move = np.divide(first, root, out=gradient)
        move *= self._size
        self.weights[models] -= move
