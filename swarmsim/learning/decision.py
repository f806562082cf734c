"""The swarm's decision: the models' outputs for B observations become one action for each."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.aggregate import ActionProbabilities, Rule, log_probabilities
from swarmsim.learning.distributions import Distribution, Gaussian, softmax
from swarmsim.learning.led_returns import Worth
from swarmsim.learning.seeding import generator

NO_LEADER = -1
MIN_COMPARED_STD = 0.3  # in half ranges of an action; narrower models would give each other's means a density of 0


@lru_cache(maxsize=1024)
def leader_in_turn(seed: int, episode: int, n_models: int, led_fraction: float) -> int:
    """Return which of `n_models` decides alone in a training episode, or NO_LEADER.

    Its return then tells what the model is worth, as each head of Bootstrapped DQN plays its own episodes (Osband
    et al. 2016, arXiv 1602.04621, algorithm 1). Models lead in turn, in an order that is drawn for each turn.
    """
    if generator(seed, "led", episode).random() >= led_fraction:
        return NO_LEADER
    turn, place = divmod(episode, n_models)
    return int(generator(seed, "leaders", turn).permutation(n_models)[place])


@lru_cache(maxsize=1024)
def promising_leader(seed: int, episode: int, worth: Worth, led_fraction: float) -> int:
    """Return the same with leaders by Thompson sampling, so that models lead as often as they may be the best."""
    if leader_in_turn(seed, episode, len(worth.returns), led_fraction) == NO_LEADER:
        return NO_LEADER
    return worth.sample(generator(seed, "thompson", episode))


@dataclass(slots=True)  # not frozen: one is made in every step
class Decision:
    """The swarm's actions, and its models' action distributions."""

    actions: NDArray[Any]  # (B,) in a discrete space, (B, D) in a continuous one
    log_probs: NDArray[np.float64]  # (B,), log-probabilities or log-densities under the policy that drew the actions
    probabilities: ActionProbabilities  # (P, B, A); in a continuous space, of each model's mean action (A = P)
    support: NDArray[np.float64]  # (P, B), each model's support for the action that was taken
    swarm_log_probs: NDArray[np.float64] | None = None  # (B,), under the swarm's distribution, where some have a leader
    swarm_probabilities: NDArray[np.float64] | None = None  # (B, A), if the rule's gradient needs them


def decide(
    outputs: NDArray[np.float64],
    distribution: Distribution,
    rule: Rule,
    rng: np.random.Generator | None,
    leaders: NDArray[np.int64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> Decision:
    """Return the swarm's decision from the models' `outputs` (P, B, n_outputs).

    Args:
        rng: draws the actions; None takes the most probable ones.
        leaders: (B,), the model that decides alone, or NO_LEADER; None if no observation has a leader.
        weights: (P,), of the models' votes, with the mean 1; None if all weigh the same.
    """
    if isinstance(distribution, Gaussian):
        return _decide_continuous(outputs, distribution, rule, rng, leaders, weights)
    probabilities = softmax(outputs)
    votes = probabilities if weights is None else probabilities * weights[:, None, None]
    swarm = rule.distribution(votes)
    policy = _with_leaders(swarm, probabilities, leaders)
    actions = select_actions(policy, rng)
    rows = np.arange(actions.size)
    return Decision(
        actions,
        log_probabilities(policy[rows, actions]),
        probabilities,
        rule.support(votes)[:, rows, actions],
        None if leaders is None else log_probabilities(swarm[rows, actions]),
        swarm if rule.gradient == "pool" else None,
    )


def select_actions(distribution: NDArray[np.float64], rng: np.random.Generator | None) -> NDArray[np.int64]:
    """Return actions (B,) drawn from the rows of `distribution` (B, A); without `rng`, the most probable ones."""
    if rng is None:
        return distribution.argmax(axis=-1)
    cumulative = np.add.accumulate(distribution, axis=-1)
    cumulative[:, -1] = 1.0  # rounding can leave the sum of a row below 1
    return (cumulative > rng.random(len(distribution))[:, None]).argmax(axis=-1)


def _with_leaders(
    swarm: NDArray[np.float64], probabilities: ActionProbabilities, leaders: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """Return the swarm's distribution (B, A), replaced by the leader's own in rows that have a leader."""
    if leaders is None:
        return swarm
    own = probabilities[np.maximum(leaders, 0), np.arange(len(leaders))]
    return np.where((leaders != NO_LEADER)[:, None], own, swarm)


def _decide_continuous(
    outputs: NDArray[np.float64],
    gaussian: Gaussian,
    rule: Rule,
    rng: np.random.Generator | None,
    leaders: NDArray[np.int64] | None,
    weights: NDArray[np.float64] | None,
) -> Decision:
    """Return the decision in a continuous space, where the swarm is the mixture of its Gaussians.

    With `rng`, actions are drawn from the mixture, so every model's proposals are tried, from which it learns most.
    Without, the action is one of the models' means, since the mean of the means may be what no model proposes. The rule
    chooses among the means as among discrete actions, where a model's preference is its density at each mean, relative
    to its maximum (choice by density among the proposals of an ensemble: Duell and Udluft 2013, "Ensembles for
    Continuous Actions in Reinforcement Learning"). A model's support is its part of the mixture's density there.
    """
    means, stds = gaussian.means_and_stds(outputs)
    n_models, n_rows, _ = means.shape
    log_densities_of_means = gaussian.log_prob(outputs[:, :, None], means.swapaxes(0, 1), min_std=MIN_COMPARED_STD)
    if rng is None:
        each = np.arange(n_models)
        highest = log_densities_of_means[each, :, each][:, :, None]
        densities = np.exp(log_densities_of_means - highest)
        mixture = rule.distribution(densities if weights is None else densities * weights[:, None, None])
    else:
        mixture = np.full((n_rows, n_models), 1 / n_models)
        mixture = mixture if weights is None else mixture * weights
    policy = _with_leaders(mixture, np.eye(n_models)[:, None].repeat(n_rows, axis=1), leaders)
    selected, rows = select_actions(policy, rng), np.arange(n_rows)
    actions = means[selected, rows]
    if rng is not None:
        actions = actions + stds[selected, rows] * rng.standard_normal(actions.shape)
    own = gaussian.log_prob(outputs, actions)
    with np.errstate(divide="ignore"):
        log_densities = np.log(mixture.T) + own
    top = log_densities.max(axis=0)
    support = np.exp(log_densities - top)  # relative to the largest, so that none underflows
    swarm = log_probs = top + np.log(support.sum(axis=0))
    if leaders is not None:
        log_probs = np.where(leaders == NO_LEADER, swarm, own[selected, rows])
    probabilities = softmax(log_densities_of_means)
    led = None if leaders is None else swarm
    return Decision(actions.astype(np.float32), log_probs, probabilities, support, led)


def decide_squashed(
    outputs: NDArray[np.float64],
    gaussian: Gaussian,
    rule: Rule,
    rng: np.random.Generator,
    leaders: NDArray[np.int64] | None = None,
) -> Decision:
    """Return the decision whose actions are drawn from the models' Gaussians and squashed by tanh.

    A model's support is its density there, also where another one leads. Arguments are those of `decide`.
    """
    decision = decide(outputs, gaussian, rule, rng, leaders)
    log_densities = gaussian.log_prob(outputs, decision.actions)
    support = np.exp(log_densities - log_densities.max(axis=0))
    return replace(decision, actions=np.tanh(decision.actions), support=support)


def mean_actions(outputs: NDArray[np.float64], gaussian: Gaussian) -> NDArray[np.float32]:
    """Return what each model proposes, (P, B, D): the mean of its Gaussian, squashed by tanh."""
    means, _ = gaussian.means_and_stds(outputs)
    return np.tanh(means).astype(np.float32)


def highest_rated(proposals: NDArray[np.float32], ratings: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the actions (B, D) among `proposals` (Q, B, D) whose mean rating is highest, given `ratings` (P, Q, B)."""
    best = np.add.reduce(ratings).argmax(axis=0)
    return proposals[best, np.arange(len(best))]
