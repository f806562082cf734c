"""Rules by which the opinions of many models become those of the swarm; who gave how much; how far they differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Opinions = NDArray[np.float64]  # (P, B, A): of each model, in each environment, a probability for each action

LEAST_ENTROPY = 1e-3  # nats; so that nobody who is certain outweighs all others


def summed(opinions: Opinions) -> NDArray[np.float64]:
    """Return the mean of the models' probabilities, (B, A).

    Boltzmann addition in the terms of Wiering and van Hasselt 2008, "Ensemble Algorithms in Reinforcement
    Learning", section III.
    """
    return np.add.reduce(opinions) / len(opinions)


def multiplied(opinions: Opinions) -> NDArray[np.float64]:
    """Return the normalised geometric mean of the models' probabilities, (B, A).

    Boltzmann multiplication in the terms of Wiering and van Hasselt 2008, section III, with the P-th root taken,
    which makes it the logarithmic opinion pool of Genest and Zidek 1986, "Combining Probability Distributions".
    """
    pooled = np.add.reduce(_logarithms(opinions)) / len(opinions)
    powers = np.exp(pooled - pooled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def evidence(opinions: Opinions) -> Opinions:
    """Return what each model adds, in a product, to each action's logarithm, from its least liked one upwards."""
    logarithms = _logarithms(opinions)
    return logarithms - logarithms.min(axis=-1, keepdims=True)


def _logarithms(opinions: Opinions) -> Opinions:
    return np.log(np.maximum(opinions, np.finfo(np.float64).tiny))


def votes(opinions: Opinions) -> Opinions:
    """Return 1 for the action that a model likes best, and 0 for the others.

    Majority voting (Wiering and van Hasselt 2008, section III). One more vote, which is spread evenly over all
    models and actions, keeps every action possible.
    """
    n_models, _, n_actions = opinions.shape
    best = opinions.argmax(axis=-1)[..., None] == np.arange(n_actions)
    return best + 1 / (n_models * n_actions)


def points(opinions: Opinions) -> Opinions:
    """Return the rank of each action with each model: 1 for its least liked one, A for its best; ties share.

    Rank voting (Wiering and van Hasselt 2008, section III).
    """
    below = (opinions[..., :, None] > opinions[..., None, :]).sum(axis=-1)
    not_above = (opinions[..., :, None] >= opinions[..., None, :]).sum(axis=-1)
    return (below + not_above + 1) / 2


def weighted(opinions: Opinions) -> Opinions:
    """Return each model's probabilities times its weight, which is the higher the more certain it is: 1 / entropy.

    Inverse entropy weighting (Misra, Bourlard and Tyagi 2003, "New Entropy Based Combination Rules in HMM/ANN
    Multi-Stream ASR", section 3).
    """
    entropy = -(opinions * _logarithms(opinions)).sum(axis=-1, keepdims=True)
    return opinions / np.maximum(entropy, LEAST_ENTROPY)


def proportional(given: Callable[[Opinions], Opinions], opinions: Opinions) -> NDArray[np.float64]:
    """Return the distribution (B, A) in which an action has the part of all that it was `given`."""
    totals = np.add.reduce(given(opinions))
    return totals / totals.sum(axis=-1, keepdims=True)


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


RULES: Mapping[str, Rule] = {
    "sum": Rule(summed),
    "product": Rule(multiplied, evidence),
    "majority": Rule(partial(proportional, votes), votes),
    "rank": Rule(partial(proportional, points), points),
    "weighted": Rule(partial(proportional, weighted), weighted),
}


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
