"""The mean of the models' probabilities.

Boltzmann addition in the terms of Wiering and van Hasselt 2008, "Ensemble Algorithms in Reinforcement Learning",
section III.
"""

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.aggregate import Opinions, Rule


def mean(opinions: Opinions) -> NDArray[np.float64]:
    """Return the swarm's distribution, (B, A)."""
    return np.add.reduce(opinions) / len(opinions)


RULE = Rule(mean)
