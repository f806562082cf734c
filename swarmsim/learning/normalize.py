"""Running normalisation: observations in standard deviations from their mean, as far as both are known."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from swarmsim.learning.networks import Floats

MOST_DEVIATIONS = 10.0  # as Stable-Baselines3's VecNormalize clips observations
LEAST_VARIANCE = 1e-8


class Normalizer:
    """Mean and variance of all observations that were counted (Welford 1962, as in Chan, Golub and LeVeque 1979)."""

    def __init__(self, n_inputs: int) -> None:
        self._count = 0
        self._mean = np.zeros(n_inputs)
        self._squares = np.zeros(n_inputs)  # the sum of squared distances from the mean

    def count(self, observations: Floats) -> None:
        """Take `observations` (B, n_inputs) into account."""
        for observation in observations.astype(np.float64):
            self._count += 1
            distance = observation - self._mean
            self._mean += distance / self._count
            self._squares += distance * (observation - self._mean)

    def normalized(self, observations: Floats) -> Floats:
        """Return `observations` (…, n_inputs) less their mean, in standard deviations; as they are, before any two."""
        if self._count < 2:
            return observations
        deviation = np.sqrt(self._squares / self._count + LEAST_VARIANCE)
        return np.clip((observations - self._mean) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS).astype(np.float32)

    def state(self) -> dict[str, Any]:
        return {"count": self._count, "mean": self._mean.copy(), "squares": self._squares.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._count = state["count"]
        self._mean, self._squares = np.array(state["mean"]), np.array(state["squares"])
