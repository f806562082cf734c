"""One vote of each model, for its most probable action.

Majority voting (Wiering and van Hasselt 2008, "Ensemble Algorithms in Reinforcement Learning", section III).
"""

import numpy as np

from swarmsim.learning.aggregate import ActionProbabilities, proportional


def votes(probabilities: ActionProbabilities) -> ActionProbabilities:
    """Return 1 for each model's most probable action and 0 for the others.

    One more vote is spread evenly over all models and actions, so that every action stays possible.
    """
    n_models, _, n_actions = probabilities.shape
    best = probabilities.argmax(axis=-1)[..., None] == np.arange(n_actions)
    return best + 1 / (n_models * n_actions)


RULE = proportional(votes)
