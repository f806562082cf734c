"""Action distributions: how a policy's outputs become log-probabilities, entropies, and their gradients.

`outputs` have the shape (P, B, n_outputs). `actions` are (B,) in rows that all P models share, or (P, B) in rows of
each model's own; the numbers of a continuous action are one more axis, the last.
"""

from dataclasses import dataclass
from math import log, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # of floats; results have the dtype of the outputs
Actions = NDArray[Any]

TINY = np.finfo(np.float32).tiny
LOG_STD_BOUNDS = -4.0, 1.0  # in units of half an action's range


def softmax(logits: Array) -> Array:
    """Return the probabilities of `logits`, over the last axis."""
    powers = logits.T.copy()  # actions first, since numpy is slow at many sums over a short last axis
    powers -= np.maximum.reduce(powers)
    np.exp(powers, out=powers)
    powers /= np.add.reduce(powers)
    return powers.T


@dataclass(frozen=True)
class Categorical:
    """One of `n` actions, counted from 0; the outputs are logits."""

    n: int
    action_shape = ()
    action_type = np.int64

    @property
    def n_outputs(self) -> int:
        return self.n

    def log_prob(self, outputs: Array, actions: Actions) -> Array:
        """Return each action's log-probability, (P, B)."""
        logits = outputs.T.copy()
        logits -= np.maximum.reduce(logits)
        rows = actions.T if actions.ndim == 2 else actions[:, None]
        taken = np.take_along_axis(logits, np.broadcast_to(rows, (1, *logits.shape[1:])), axis=0)[0]
        return (taken - np.log(np.add.reduce(np.exp(logits)))).T

    def log_prob_gradient(self, outputs: Array, actions: Actions) -> tuple[Array, Array]:
        """Return `log_prob`, and its gradient with respect to the outputs: ∂ log π(a) / ∂z_k = [k = a] − π_k."""
        gradient = actions[..., None] == np.arange(self.n)
        return self.log_prob(outputs, actions), gradient - softmax(outputs)

    def entropy(self, outputs: Array) -> Array:
        """Return each distribution's entropy in nats, (P, B): −Σ π_k log π_k."""
        return self._entropy(*self._probabilities(outputs))[..., 0]

    def entropy_gradient(self, outputs: Array) -> Array:
        """Return the entropy's gradient with respect to the outputs: ∂H / ∂z_k = −π_k (log π_k + H)."""
        probabilities, log_probabilities = self._probabilities(outputs)
        return -probabilities * (log_probabilities + self._entropy(probabilities, log_probabilities))

    @staticmethod
    def _probabilities(outputs: Array) -> tuple[Array, Array]:
        probabilities = softmax(outputs)
        return probabilities, np.log(np.maximum(probabilities, TINY))

    @staticmethod
    def _entropy(probabilities: Array, log_probabilities: Array) -> Array:
        return -(probabilities * log_probabilities).sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Gaussian:
    """Vectors of `n` independent numbers; the outputs are their means, then the logarithms of their deviations.

    A log standard deviation outside its bounds is clipped, and has no gradient.
    """

    n: int
    log_std_bounds: tuple[float, float] = LOG_STD_BOUNDS
    action_type = np.float32

    @property
    def action_shape(self) -> tuple[int, ...]:
        return (self.n,)

    @property
    def n_outputs(self) -> int:
        return 2 * self.n

    def means_and_stds(self, outputs: Array) -> tuple[Array, Array]:
        """Return means and standard deviations, (P, B, n) each."""
        return outputs[..., : self.n], np.exp(self._log_stds(outputs))

    def _log_stds(self, outputs: Array) -> Array:
        return np.clip(outputs[..., self.n :], *self.log_std_bounds)

    def log_prob(self, outputs: Array, actions: Actions, min_std: float = 0.0) -> Array:
        """Return each action's log-density, (P, B), with standard deviations raised to at least `min_std`."""
        log_stds = self._log_stds(outputs)
        if min_std:
            log_stds = np.maximum(log_stds, log(min_std))
        distances = (actions - outputs[..., : self.n]) / np.exp(log_stds)
        return self._log_density(distances, log_stds)

    @staticmethod
    def _log_density(distances: Array, log_stds: Array) -> Array:
        """Return log N of vectors, given each number's distance from its mean in standard deviations."""
        return -(0.5 * distances * distances + log_stds + log(2 * pi) / 2).sum(axis=-1, dtype=distances.dtype)

    def log_prob_gradient(self, outputs: Array, actions: Actions) -> tuple[Array, Array]:
        """Return `log_prob`, and its gradient with respect to the outputs.

        With d = (a − μ) / σ, ∂ log N / ∂μ = d / σ and ∂ log N / ∂ log σ = d² − 1.
        """
        log_stds = self._log_stds(outputs)
        stds = np.exp(log_stds)
        distances = (actions - outputs[..., : self.n]) / stds
        by_log_stds = (distances * distances - 1) * self.is_within_bounds(outputs)
        return self._log_density(distances, log_stds), np.concatenate((distances / stds, by_log_stds), axis=-1)

    def entropy(self, outputs: Array) -> Array:
        """Return each distribution's differential entropy in nats, (P, B): Σ (log σ + ½ log 2πe)."""
        return (self._log_stds(outputs) + (1 + log(2 * pi)) / 2).sum(axis=-1, dtype=outputs.dtype)

    def entropy_gradient(self, outputs: Array) -> Array:
        """Return the entropy's gradient with respect to the outputs: H = Σ log σ + constant."""
        by_log_stds = self.is_within_bounds(outputs)
        return np.concatenate((np.zeros_like(by_log_stds), by_log_stds), axis=-1)

    def is_within_bounds(self, outputs: Array) -> Array:
        """Return 1 where a log standard deviation is not clipped, else 0."""
        low, high = self.log_std_bounds
        raw = outputs[..., self.n :]
        return ((raw > low) & (raw < high)).astype(outputs.dtype)


Distribution = Categorical | Gaussian
