"""The normalised geometric mean of the models' probabilities.

Boltzmann multiplication (Wiering and van Hasselt 2008, "Ensemble Algorithms in Reinforcement Learning", section III)
and its P-th root: the logarithmic pool of Genest and Zidek 1986, "Combining Probability Distributions".
"""

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.aggregate import ActionProbabilities, Rule, log_probabilities


def geometric_mean(probabilities: ActionProbabilities) -> NDArray[np.float64]:
    """Return the swarm's distribution, (B, A)."""
    mean = np.add.reduce(log_probabilities(probabilities)) / len(probabilities)
    powers = np.exp(mean - mean.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def evidence(probabilities: ActionProbabilities) -> ActionProbabilities:
    """Return each model's log-probability of each action above that of its least probable action."""
    logs = log_probabilities(probabilities)
    return logs - logs.min(axis=-1, keepdims=True)


RULE = Rule(geometric_mean, evidence, gradient="pool")
