"""Aggregation rules: action distributions of P models become the swarm's; also contributions and diversity."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TINY = np.finfo(np.float64).tiny

ActionProbabilities = NDArray[np.float64]  # (P, B, A): each model's probability of each action, in each of B states


def identity(probabilities: ActionProbabilities) -> ActionProbabilities:
    return probabilities


@dataclass(frozen=True)
class Rule:
    """How action distributions (P, B, A) become the swarm's (B, A), and how much each model supports each action.

    The support is made of non-negative numbers (P, B, A); a model's contribution to an action is its share of it.

    Attributes:
        gradient: what the gradient of the swarm's log-probability by a model's outputs is. mixture: π_i / π̄ times that
            of its own; pool: 1[a] − π̄; contribution: P times its contribution times that of its own, which is exact for
            weighted mixtures, and stands in for a gradient where the rule has none.
        is_weighted: whether the rule gets probabilities times the models' weights.
    """

    distribution: Callable[[ActionProbabilities], NDArray[np.float64]]
    support: Callable[[ActionProbabilities], ActionProbabilities] = identity
    gradient: Literal["mixture", "pool", "contribution"] = "contribution"
    is_weighted: bool = False


def proportional(support: Callable[[ActionProbabilities], ActionProbabilities]) -> Rule:
    """Return the rule under which the swarm's probability of an action is its share of all `support` (P, B, A)."""

    def distribution(probabilities: ActionProbabilities) -> NDArray[np.float64]:
        totals = np.add.reduce(support(probabilities))
        return totals / totals.sum(axis=-1, keepdims=True)

    return Rule(distribution, support)


def log_probabilities(probabilities: ActionProbabilities) -> ActionProbabilities:
    """Return the logarithms, which stay finite where a probability is 0."""
    return np.log(np.maximum(probabilities, TINY))


def contributions(support: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each model's share (P, B) of the `support` (P, B) for B actions; equal shares if all is 0."""
    totals = np.add.reduce(support)
    is_unsupported = totals <= 0
    return np.where(is_unsupported, 1 / len(support), support / np.where(is_unsupported, 1.0, totals))


def diversity(probabilities: ActionProbabilities) -> NDArray[np.float64]:
    """Return (B,), the mean pairwise total variation distance of P distributions; 0 for a single model.

    Total variation is ½ Σ_a |p_i(a) − p_j(a)|. The sum over all pairs is computed from sorted values at once: the k-th
    smallest of P (from 0) counts 2k + 1 − P times.
    """
    n_models = len(probabilities)
    if n_models == 1:
        return np.zeros(probabilities.shape[1])
    counts = 2 * np.arange(n_models) + 1 - n_models
    differences = (counts[:, None, None] * np.sort(probabilities, axis=0)).sum(axis=0)
    return differences.sum(axis=-1) / (n_models * (n_models - 1))
