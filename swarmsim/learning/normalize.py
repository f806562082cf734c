"""Observation normalisation by a running mean and variance."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np

from swarmsim.learning.networks import Floats

MAX_DEVIATIONS = 10.0  # the clip of Stable-Baselines3's VecNormalize
MIN_VARIANCE = 1e-8


class Normalizer:
    """Running mean and variance of observations (Welford 1962; see Chan, Golub and LeVeque 1979)."""

    def __init__(self, n_inputs: int) -> None:
        self._count = 0
        self._mean = np.zeros(n_inputs)
        self._squares = np.zeros(n_inputs)  # the sum of squared distances from the mean

    def count(self, observations: Floats) -> None:
        """Add `observations` (B, n_inputs) to the mean and variance; raises FloatingPointError if one is not finite."""
        count, mean, squares = self._count, self._mean, self._squares
        for observation in observations.astype(np.float64):
            count += 1
            distance = observation - mean
            mean = mean + distance / count
            squares = squares + distance * (observation - mean)
        if not isfinite(np.add.reduce(squares)):
            raise FloatingPointError("the observations to normalise are not finite; their statistics stay as they were")
        self._count, self._mean, self._squares = count, mean, squares

    def normalized(self, observations: Floats) -> Floats:
        """Return `observations` (…, n_inputs) minus the mean, in standard deviations; unchanged before the second."""
        if self._count < 2:
            return observations
        deviation = np.sqrt(self._squares / self._count + MIN_VARIANCE)
        return np.clip((observations - self._mean) / deviation, -MAX_DEVIATIONS, MAX_DEVIATIONS).astype(np.float32)

    def state(self) -> dict[str, Any]:
        return {"count": self._count, "mean": self._mean.copy(), "squares": self._squares.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._count = state["count"]
        self._mean, self._squares = np.array(state["mean"]), np.array(state["squares"])
