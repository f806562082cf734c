"""Credit: what part of the swarm's policy gradient each model gets.

The policy that acts is the swarm's, π̄, so it is the one to improve. docs/learning.md derives, for each rule, the
gradient of log π̄(a) by a model's outputs; this module has the factors in which it differs from that of log π_i(a).
"""

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.learner import Transition
from swarmsim.learning.networks import Floats

MAX_LOG_RATIO = 20.0  # keeps importance weights finite


def ratio(log_probs: NDArray[np.floating], other_log_probs: NDArray[np.floating]) -> Floats:
    """Return probabilities over other ones, both given as logarithms, as finite numbers."""
    difference = np.asarray(log_probs - other_log_probs, np.float32)
    return np.exp(np.clip(difference, -MAX_LOG_RATIO, MAX_LOG_RATIO))


def log_probs_of(transition: Transition) -> tuple[Floats, Floats]:
    """Return log μ and log π̄ of a transition's actions, (N,): of the policy that drew them, and of the swarm's.

    They differ where one model led. NaN is unknown.
    """
    behaviour = transition.log_probs
    behaviour = np.full(len(transition.rewards), np.nan) if behaviour is None else behaviour
    swarm = behaviour if transition.swarm_log_probs is None else transition.swarm_log_probs
    return behaviour.astype(np.float32), swarm.astype(np.float32)


def behaviour_log_probs(own: Floats, behaviour: Floats, swarm: Floats, *, is_joint: bool) -> Floats:
    """Return what a model's log-probability of an action is to be compared to, for its importance weight, (P, N).

    That of a model on its own is π_i / μ, with the behaviour policy μ. That of the swarm is π̄ / μ. A model does not
    know how the others have changed since an action was taken; it takes its own change for the swarm's:
    π̄ / μ ≈ (π_i / π_i,then) (π̄,then / μ), which is exact for experience of the present policy.

    Args:
        own: (P, N), log π_i of the actions when they were taken.
        behaviour: (N,), log μ, of the swarm or of the model that led; where unknown, the action counts as the model's.
        swarm: (N,), log π̄ then.
    """
    reference = own + (behaviour - swarm) if is_joint else np.broadcast_to(behaviour, own.shape)
    return np.where(np.isnan(behaviour), own, reference).astype(np.float32)


def credit_of(transition: Transition, own: Floats, swarm: Floats) -> Floats:
    """Return each model's credit for a transition's actions, P times its contribution to them, (P, N).

    That of a mixture with equal weights is π_i / π̄, since ∇ log π̄(a) = Σ_i [π_i(a) / (P π̄(a))] ∇ log π_i(a). Times P, a
    model that agrees with all others gets 1. It has no upper bound but P: a lower one would take from an action's only
    supporter what it has earned. Where `pool_gradient` is the gradient, all get 1.

    Args:
        own: (P, N), log π_i of the actions.
        swarm: (N,), log π̄; where it is unknown, all get 1.
    """
    if transition.credits is not None:
        return transition.credits.astype(np.float32)
    if transition.swarm_probabilities is not None:
        return np.ones_like(own)
    return mixture_credit(own, swarm)


def mixture_credit(own: Floats, swarm: Floats) -> Floats:
    """Return the credit of models for actions of a mixture with equal weights, (P, N); arguments as in `credit_of`."""
    return np.where(np.isnan(swarm), np.float32(1), ratio(own, swarm))


def pool_gradient(actions: NDArray[np.int64], swarm_probabilities: Floats) -> Floats:
    """Return P times the gradient of log π̄(a) by each model's logits, under the rule `product`: 1[a] − π̄, (P, B, A).

    Args:
        actions: (P, B).
        swarm_probabilities: (P, B, A), π̄ of all actions.
    """
    return (actions[..., None] == np.arange(swarm_probabilities.shape[-1])) - swarm_probabilities
