"""What learning looks like from outside: losses, entropy and the gradient's norm, of updates that are looked at."""

from dataclasses import dataclass

import numpy as np

from swarmsim.learning.networks import Floats

FIGURES = "policy_loss", "value_loss", "entropy", "gradient_norm"


@dataclass(frozen=True)
class Losses:
    """What P models' gradient is made of before its weights, each a mean over the rows that were learnt from, (P,)."""

    policy_loss: Floats
    value_loss: Floats
    entropy: Floats


class LearningStats:
    """Sums over models and updates since they were told last; they change nothing of what is learnt."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._sums = np.zeros(len(FIGURES))
        self._number = 0

    def add(self, losses: Losses, gradient: Floats) -> None:
        """Take in the losses of P models, and their gradient (P, G) before it is clipped."""
        norms = np.sqrt(np.einsum("pg,pg->p", gradient, gradient))
        found = losses.policy_loss, losses.value_loss, losses.entropy, norms
        self._sums += [array.sum(dtype=float) for array in found]
        self._number += len(norms)

    def told(self) -> tuple[dict[str, float], int]:
        """Return the sums by their names, and how many models and updates they are of; begin anew."""
        told = dict(zip(FIGURES, self._sums.tolist(), strict=True)), self._number
        self._clear()
        return told
