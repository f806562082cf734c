"""What a rule is, by which many opinions become those of the swarm; who gave how much; how far opinions differ."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Opinions = NDArray[np.float64]  # (P, B, A): of each model, in each environment, a probability for each action


def themselves(opinions: Opinions) -> Opinions:
    """Return the opinions: what each model gives each action is its probability."""
    return opinions


@dataclass(frozen=True)
class Rule:
    """How opinions (P, B, A) become the swarm's distribution (B, A), and what each model gave each action (P, B, A).

    A model's contribution to an action is its part of what all gave: Σ over the models is 1.
    """

    distribution: Callable[[Opinions], NDArray[np.float64]]
    given: Callable[[Opinions], Opinions] = themselves


def proportional(given: Callable[[Opinions], Opinions]) -> Rule:
    """Return the rule by which an action has the part of all that it is `given` (P, B, A)."""

    def distribution(opinions: Opinions) -> NDArray[np.float64]:
        totals = np.add.reduce(given(opinions))
        return totals / totals.sum(axis=-1, keepdims=True)

    return Rule(distribution, given)


def logarithms(opinions: Opinions) -> Opinions:
    """Return those of all probabilities, which are finite also where one is 0."""
    return np.log(np.maximum(opinions, np.finfo(np.float64).tiny))


def contributions(given: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each model's share (P, B) of what all `given` (P, B) to B actions; equal ones where nobody gave any."""
    totals = np.add.reduce(given)
    nothing = totals <= 0
    return np.where(nothing, 1 / len(given), given / np.where(nothing, 1.0, totals))


def diversity(opinions: Opinions) -> NDArray[np.float64]:
    """Return (B,): the mean total variation distance of all pairs of P distributions, `opinions` (P, B, A).

    ½ Σ_a |p_i(a) − p_j(a)|, averaged over the pairs; 0 for a single model. Sorted values give the
    sum over all pairs at once: the k-th smallest of P counts 2k + 1 − P times.
    """
    n_models = len(opinions)
    if n_models == 1:
        return np.zeros(opinions.shape[1])
    counts = 2 * np.arange(n_models) + 1 - n_models
    differences = (counts[:, None, None] * np.sort(opinions, axis=0)).sum(axis=0)
    return differences.sum(axis=-1) / (n_models * (n_models - 1))
