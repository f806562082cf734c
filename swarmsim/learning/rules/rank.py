"""Points for an action by its rank in each model.

Rank voting (Wiering and van Hasselt 2008, "Ensemble Algorithms in Reinforcement Learning", section III).
"""

from swarmsim.learning.aggregate import ActionProbabilities, proportional


def points(probabilities: ActionProbabilities) -> ActionProbabilities:
    """Return 1 for each model's least probable action, up to A for its most probable; ties share their points."""
    below = (probabilities[..., :, None] > probabilities[..., None, :]).sum(axis=-1)
    not_above = (probabilities[..., :, None] >= probabilities[..., None, :]).sum(axis=-1)
    return (below + not_above + 1) / 2


RULE = proportional(points)
