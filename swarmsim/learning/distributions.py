"""What a policy's outputs mean: a distribution over actions, its log-probabilities, and their gradients.

`outputs` have the shape (P, B, n_outputs). `actions` are those of B rows that all P models share, or (P, B) of each
model's own rows; where one action is several numbers, they are the last axis.
"""

from dataclasses import dataclass
from math import log, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # of one kind of floating point numbers, the same in and out
Actions = NDArray[Any]

LOG_STD_BOUNDS = -4.0, 1.0  # of actions in units of half their range


def softmax(logits: Array) -> Array:
    """Return the probabilities of `logits`, over the last axis."""
    powers = logits.T.copy()  # actions outermost, since numpy is slow at many sums of a few numbers each
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
        """Return (P, B), the logarithm of each action's probability."""
        logits = outputs.T.copy()
        logits -= np.maximum.reduce(logits)
        rows = actions.T if actions.ndim == 2 else actions[:, None]
        taken = np.take_along_axis(logits, np.broadcast_to(rows, (1, *logits.shape[1:])), axis=0)[0]
        return (taken - np.log(np.add.reduce(np.exp(logits)))).T

    def log_prob_gradient(self, outputs: Array, actions: Actions) -> tuple[Array, Array]:
        """Return what `log_prob` does, and its gradient by the outputs: ∂ log π(a) / ∂z_k = [k = a] − π_k."""
        gradient = actions[..., None] == np.arange(self.n)
        return self.log_prob(outputs, actions), gradient - softmax(outputs)

    def entropy(self, outputs: Array) -> Array:
        """Return (P, B), each distribution's entropy in nats: −Σ π_k log π_k."""
        return self._entropy(*self._probabilities(outputs))[..., 0]

    def entropy_gradient(self, outputs: Array) -> Array:
        """Return the gradient of each distribution's entropy by its outputs: ∂H / ∂z_k = −π_k (log π_k + H)."""
        probabilities, log_probabilities = self._probabilities(outputs)
        return -probabilities * (log_probabilities + self._entropy(probabilities, log_probabilities))

    @staticmethod
    def _probabilities(outputs: Array) -> tuple[Array, Array]:
        probabilities = softmax(outputs)
        return probabilities, np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))

    @staticmethod
    def _entropy(probabilities: Array, log_probabilities: Array) -> Array:
        return -(probabilities * log_probabilities).sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Gaussian:
    """Vectors of `n` numbers, each drawn by itself; the outputs are their means, then what their deviations come from.

    The logarithm of a deviation is its output, kept within `LOG_STD_BOUNDS`, beyond which nothing draws it further.
    """

    n: int
    action_type = np.float32

    @property
    def action_shape(self) -> tuple[int, ...]:
        return (self.n,)

    @property
    def n_outputs(self) -> int:
        return 2 * self.n

    def means_and_stds(self, outputs: Array) -> tuple[Array, Array]:
        """Return both, (P, B, n) each."""
        return outputs[..., : self.n], np.exp(self._log_stds(outputs))

    def _log_stds(self, outputs: Array) -> Array:
        return np.clip(outputs[..., self.n :], *LOG_STD_BOUNDS)

    def log_prob(self, outputs: Array, actions: Actions, least_std: float = 0.0) -> Array:
        """Return (P, B), the logarithm of each action's density, where no deviation counts as less than `least_std`."""
        log_stds = self._log_stds(outputs)
        if least_std:
            log_stds = np.maximum(log_stds, log(least_std))
        distances = (actions - outputs[..., : self.n]) / np.exp(log_stds)
        return self._log_density(distances, log_stds)

    @staticmethod
    def _log_density(distances: Array, log_stds: Array) -> Array:
        """Return log N of vectors, given how many deviations each number lies off its mean."""
        return -(0.5 * distances * distances + log_stds + log(2 * pi) / 2).sum(axis=-1, dtype=distances.dtype)

    def log_prob_gradient(self, outputs: Array, actions: Actions) -> tuple[Array, Array]:
        """Return what `log_prob` does, and its gradient by the outputs.

        With d = (a − μ) / σ, ∂ log N / ∂μ = d / σ and ∂ log N / ∂ log σ = d² − 1.
        """
        log_stds = self._log_stds(outputs)
        stds = np.exp(log_stds)
        distances = (actions - outputs[..., : self.n]) / stds
        of_stds = (distances * distances - 1) * self._moves(outputs)
        return self._log_density(distances, log_stds), np.concatenate((distances / stds, of_stds), axis=-1)

    def entropy(self, outputs: Array) -> Array:
        """Return (P, B), each distribution's differential entropy in nats: Σ (log σ + ½ log 2πe)."""
        return (self._log_stds(outputs) + (1 + log(2 * pi)) / 2).sum(axis=-1, dtype=outputs.dtype)

    def entropy_gradient(self, outputs: Array) -> Array:
        """Return the gradient of each distribution's entropy by its outputs: H = Σ log σ + constant."""
        moves = self._moves(outputs)
        return np.concatenate((np.zeros_like(moves), moves), axis=-1)

    def _moves(self, outputs: Array) -> Array:
        """Tell, by 1 or 0, which deviations are within their bounds."""
        low, high = LOG_STD_BOUNDS
        raw = outputs[..., self.n :]
        return ((raw > low) & (raw < high)).astype(outputs.dtype)


Distribution = Categorical | Gaussian
