"""An aggregation rule: in each state the models with the most confident votes decide."""

import numpy as np


def boldest(probabilities):
    """Return the mean (B, A) of the `probabilities` (P, B, A) of the more confident half of the models."""
    confidence = probabilities.max(axis=-1)
    half = (len(probabilities) + 1) // 2
    chosen = np.argsort(-confidence, axis=0, kind="stable")[:half]
    return np.take_along_axis(probabilities, chosen[:, :, None], axis=0).mean(axis=0)
