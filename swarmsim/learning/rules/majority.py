"""One vote of each model, for the action that it likes best.

Majority voting in the terms of Wiering and van Hasselt 2008, "Ensemble Algorithms in Reinforcement Learning",
section III.
"""

import numpy as np

from swarmsim.learning.aggregate import Opinions, proportional


def votes(opinions: Opinions) -> Opinions:
    """Return 1 for the best action of each model, and 0 for the others.

    One more vote, which is spread evenly over all models and actions, keeps every action possible.
    """
    n_models, _, n_actions = opinions.shape
    best = opinions.argmax(axis=-1)[..., None] == np.arange(n_actions)
    return best + 1 / (n_models * n_actions)


RULE = proportional(votes)
