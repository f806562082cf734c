"""The swarm's decision: what its models say of B observations becomes an action for each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.aggregate import Opinions, Rule
from swarmsim.learning.distributions import Distribution, Gaussian, softmax

NO_LEADER = -1
LEAST_STD_OF_OPINIONS = 0.3  # in half ranges; models that are sure of themselves would else know none but their own


@dataclass(frozen=True)
class Decision:
    """What the swarm does, and what its models thought of it.

    Attributes:
        actions: (B,) of a discrete space, (B, D) of a continuous one.
        log_probs: (B,), how probable they were.
        opinions: (P, B, A), of each model on each action, or on each model's mean action (A = P).
        given: (P, B), what each model gave to the action that was taken.
    """

    actions: NDArray[Any]
    log_probs: NDArray[np.float64]
    opinions: Opinions
    given: NDArray[np.float64]


def decide(
    outputs: NDArray[np.float64],
    distribution: Distribution,
    rule: Rule,
    rng: np.random.Generator | None,
    leaders: NDArray[np.int64] | None = None,
) -> Decision:
    """Return the swarm's decision on the models' `outputs` (P, B, n_outputs).

    Args:
        rng: draws the actions; None takes the best ones.
        leaders: (B,), which model decides alone, or NO_LEADER; None where none does anywhere.
    """
    if isinstance(distribution, Gaussian):
        return _decide_numbers(outputs, distribution, rule, rng, leaders)
    opinions = softmax(outputs)
    swarm = _led(rule.distribution(opinions), opinions, leaders)
    actions = chosen(swarm, rng)
    rows = np.arange(actions.size)
    given = rule.given(opinions)[:, rows, actions]
    return Decision(actions, np.log(np.maximum(swarm[rows, actions], np.finfo(np.float64).tiny)), opinions, given)


def chosen(distribution: NDArray[np.float64], rng: np.random.Generator | None) -> NDArray[np.int64]:
    """Return actions (B,): drawn from each row of `distribution` (B, A), or without `rng` the most probable."""
    if rng is None:
        return distribution.argmax(axis=-1)
    below = np.add.accumulate(distribution, axis=-1)
    below[:, -1] = 1.0  # a row's sum can fall short of it by rounding
    return (below > rng.random(len(distribution))[:, None]).argmax(axis=-1)


def _led(swarm: NDArray[np.float64], opinions: Opinions, leaders: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Return the swarm's distribution, in the place of which a leader's own counts where there is one."""
    if leaders is None:
        return swarm
    own = opinions[np.maximum(leaders, 0), np.arange(len(leaders))]
    return np.where((leaders != NO_LEADER)[:, None], own, swarm)


def _decide_numbers(
    outputs: NDArray[np.float64],
    gaussian: Gaussian,
    rule: Rule,
    rng: np.random.Generator | None,
    leaders: NDArray[np.int64] | None,
) -> Decision:
    """Decide on vectors: the swarm draws from the mixture of its models' Gaussians, in which all weigh alike.

    So each model's own proposals are tried, which it learns most from. The best action is one that is proposed, since
    the mean of the means may be what nobody proposes: the rule is asked as if the models' means were actions to choose
    from, and each model's opinion on one its density there, as a part of its highest (the choice by density among the
    proposals of an ensemble: Duell and Udluft 2013, "Ensembles for Continuous Actions in Reinforcement Learning"). A
    model gave to an action what of the mixture's density there is its own.
    """
    means, stds = gaussian.means_and_stds(outputs)
    n_models, n_rows, _ = means.shape
    of_means = gaussian.log_prob(outputs[:, :, None], means.swapaxes(0, 1), least_std=LEAST_STD_OF_OPINIONS)
    if rng is None:
        each = np.arange(n_models)
        weights = rule.distribution(np.exp(of_means - of_means[each, :, each][:, :, None]))
    else:
        weights = np.full((n_rows, n_models), 1 / n_models)
    weights = _led(weights, np.eye(n_models)[:, None].repeat(n_rows, axis=1), leaders)
    drawn, rows = chosen(weights, rng), np.arange(n_rows)
    actions = means[drawn, rows]
    if rng is not None:
        actions = actions + stds[drawn, rows] * rng.standard_normal(actions.shape)
    with np.errstate(divide="ignore"):
        densities = np.log(weights.T) + gaussian.log_prob(outputs, actions)
    top = densities.max(axis=0)
    parts = np.exp(densities - top)
    return Decision(actions.astype(np.float32), top + np.log(parts.sum(axis=0)), softmax(of_means), parts)
