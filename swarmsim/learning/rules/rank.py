"""Points for an action by its rank with each model.

Rank voting in the terms of Wiering and van Hasselt 2008, "Ensemble Algorithms in Reinforcement Learning", section III.
"""

from swarmsim.learning.aggregate import Opinions, proportional


def points(opinions: Opinions) -> Opinions:
    """Return 1 for the least liked action of each model, A for its best; ties share."""
    below = (opinions[..., :, None] > opinions[..., None, :]).sum(axis=-1)
    not_above = (opinions[..., :, None] >= opinions[..., None, :]).sum(axis=-1)
    return (below + not_above + 1) / 2


RULE = proportional(points)
