"""The mean of the models' probabilities, in which a model weighs the more the more certain it is: 1 / entropy.

Inverse entropy weighting (Misra, Bourlard and Tyagi 2003, "New Entropy Based Combination Rules in HMM/ANN Multi-Stream
ASR", section 3).
"""

import numpy as np

from swarmsim.learning.aggregate import Opinions, logarithms, proportional

LEAST_ENTROPY = 1e-3  # nats; so that nobody who is certain outweighs all others


def weighted(opinions: Opinions) -> Opinions:
    """Return each model's probabilities times its weight."""
    entropy = -(opinions * logarithms(opinions)).sum(axis=-1, keepdims=True)
    return opinions / np.maximum(entropy, LEAST_ENTROPY)


RULE = proportional(weighted)
