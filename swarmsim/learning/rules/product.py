"""The normalised geometric mean of the models' probabilities.

Boltzmann multiplication in the terms of Wiering and van Hasselt 2008, "Ensemble Algorithms in Reinforcement Learning",
section III, with the P-th root taken, which makes it the logarithmic opinion pool of Genest and Zidek 1986, "Combining
Probability Distributions".
"""

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.aggregate import Opinions, Rule, logarithms


def pooled(opinions: Opinions) -> NDArray[np.float64]:
    """Return the swarm's distribution, (B, A)."""
    mean = np.add.reduce(logarithms(opinions)) / len(opinions)
    powers = np.exp(mean - mean.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def evidence(opinions: Opinions) -> Opinions:
    """Return what each model adds to each action's logarithm, from its least liked one upwards."""
    each = logarithms(opinions)
    return each - each.min(axis=-1, keepdims=True)


RULE = Rule(pooled, evidence)
