"""The mean of the models' probabilities.

Boltzmann addition (Wiering and van Hasselt 2008, "Ensemble Algorithms in Reinforcement Learning", section III).
"""

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.aggregate import ActionProbabilities, Rule


def mean(probabilities: ActionProbabilities) -> NDArray[np.float64]:
    """Return the swarm's distribution, (B, A)."""
    return np.add.reduce(probabilities) / len(probabilities)


RULE = Rule(mean, gradient="mixture")
