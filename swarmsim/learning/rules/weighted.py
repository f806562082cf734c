"""The mean of the models' probabilities, weighted by 1 / entropy: certain models weigh more.

Inverse entropy weighting (Misra, Bourlard and Tyagi 2003, "New Entropy Based Combination Rules in HMM/ANN Multi-Stream
ASR", section 3).
"""

import numpy as np

from swarmsim.learning.aggregate import ActionProbabilities, log_probabilities, proportional

MIN_ENTROPY = 1e-3  # nats; bounds the weight of a model that is certain


def weighted(probabilities: ActionProbabilities) -> ActionProbabilities:
    """Return each model's probabilities times its weight."""
    entropy = -(probabilities * log_probabilities(probabilities)).sum(axis=-1, keepdims=True)
    return probabilities / np.maximum(entropy, MIN_ENTROPY)


RULE = proportional(weighted)
