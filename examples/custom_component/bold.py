"""An aggregation rule: in each state the models that are surest of themselves decide."""

import numpy as np


def boldest(probabilities):
    """Return the mean opinion (B, A) of the surer half of the models, of all their `probabilities` (P, B, A)."""
    sureness = probabilities.max(axis=-1)
    half = (len(probabilities) + 1) // 2
    surest = np.argsort(-sureness, axis=0, kind="stable")[:half]
    return np.take_along_axis(probabilities, surest[:, :, None], axis=0).mean(axis=0)
