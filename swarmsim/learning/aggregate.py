"""Many action distributions become one action; who contributed to it, and how far opinions differ."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = TypeVar("Array", bound=NDArray[np.floating])
Rule = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def softmax(logits: Array) -> Array:
    """Return the probabilities of `logits`, over the last axis."""
    powers = logits.T.copy()  # actions outermost, since numpy is slow at many sums of a few numbers each
    powers -= np.maximum.reduce(powers)
    np.exp(powers, out=powers)
    powers /= np.add.reduce(powers)
    return powers.T


def summed(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the swarm's distribution (B, A): the mean of its models' `probabilities` (P, B, A).

    Boltzmann addition in the terms of Wiering and van Hasselt 2008, "Ensemble Algorithms in
    Reinforcement Learning", section III.
    """
    return np.add.reduce(probabilities) / len(probabilities)


RULES: Mapping[str, Rule] = {"sum": summed}


def chosen(distribution: NDArray[np.float64], deterministic: bool, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return actions (B,): the most probable of each row of `distribution` (B, A), or drawn from it."""
    if deterministic:
        return distribution.argmax(axis=-1)
    below = np.add.accumulate(distribution, axis=-1)
    below[:, -1] = 1.0  # a row's sum can fall short of it by rounding
    return (below > rng.random(len(distribution))[:, None]).argmax(axis=-1)


def contributions(probabilities: NDArray[np.float64], actions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each model's share (P, B) in each of B actions (B,): p_i(a) / Σ_j p_j(a); shares of an action sum to 1."""
    given = probabilities[:, np.arange(actions.size), actions]
    return given / given.sum(axis=0)


def diversity(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (B,): the mean total variation distance of all pairs of P distributions, `probabilities` (P, B, A).

    ½ Σ_a |p_i(a) − p_j(a)|, averaged over the pairs; 0 for a single model. Sorted values give the
    sum over all pairs at once: the k-th smallest of P counts 2k + 1 − P times.
    """
    n_models = len(probabilities)
    if n_models == 1:
        return np.zeros(probabilities.shape[1])
    counts = 2 * np.arange(n_models) + 1 - n_models
    differences = (counts[:, None, None] * np.sort(probabilities, axis=0)).sum(axis=0)
    return differences.sum(axis=-1) / (n_models * (n_models - 1))
