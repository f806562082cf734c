"""Credit: for each rule with a gradient, that of the swarm's log-probability by finite differences and by autograd."""

import numpy as np
import pytest
import torch

from swarmsim.learning.aggregate import contributions
from swarmsim.learning.credit import behaviour_log_probs, credit_of, log_probs_of, pool_gradient
from swarmsim.learning.decision import NO_LEADER, decide
from swarmsim.learning.distributions import Categorical, Gaussian, softmax
from swarmsim.learning.learner import Transition
from swarmsim.learning.rules import RULES

P, B, A = 4, 5, 3
WEIGHTS = np.array([0.5, 2.0, 1.2, 0.3])
SMALL = 1e-5


def transition(decision, credits=None):
    none = np.zeros(B, np.bool_)
    return Transition(
        decision.actions,
        np.zeros(B, np.float32),
        none,
        none,
        None,
        ~none,
        decision.log_probs,
        decision.swarm_log_probs,
        credits,
        decision.swarm_probabilities,
    )


def decided(name, outputs, distribution, weights=None, leaders=None):
    return decide(outputs, distribution, RULES[name], np.random.default_rng(1), leaders, weights)


def differences(log_prob, outputs):
    """Return the gradient (P, B, n_outputs) of each row's `log_prob` (B,), by central finite differences."""
    gradient = np.zeros_like(outputs)
    for model, output in np.ndindex(P, outputs.shape[-1]):
        step = np.zeros_like(outputs)
        step[model, :, output] = SMALL
        gradient[model, :, output] = (log_prob(outputs + step) - log_prob(outputs - step)) / (2 * SMALL)
    return gradient


@pytest.mark.parametrize(("name", "weights"), [("sum", None), ("weighted", WEIGHTS), ("product", None)])
def test_the_credit_is_the_gradient_of_the_swarms_log_probability_in_a_discrete_space(name, weights):
    outputs, distribution = np.random.default_rng(0).normal(size=(P, B, A)), Categorical(A)
    decision, rule = decided(name, outputs, distribution, weights), RULES[name]

    def log_prob(outputs):
        probabilities = softmax(outputs) * (1 if weights is None else weights[:, None, None])
        return np.log(rule.distribution(probabilities)[np.arange(B), decision.actions])

    own, own_gradient = distribution.log_prob_gradient(outputs, decision.actions)
    if rule.gradient == "pool":
        own_gradient = pool_gradient(np.tile(decision.actions, (P, 1)), decision.swarm_probabilities)
    given = P * contributions(decision.support) if rule.gradient == "contribution" else None
    credit = credit_of(transition(decision, given), own, log_probs_of(transition(decision))[1])
    np.testing.assert_allclose(credit[:, :, None] * own_gradient / P, differences(log_prob, outputs), atol=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_credit_is_the_gradient_of_the_swarms_log_density_in_a_continuous_space(weights):
    outputs, distribution = np.random.default_rng(0).normal(size=(P, B, 4)), Gaussian(2)
    name = "sum" if weights is None else "weighted"
    decision = decided(name, outputs, distribution, weights)
    own, own_gradient = distribution.log_prob_gradient(outputs, decision.actions)
    given = None if weights is None else P * contributions(decision.support)
    credit = credit_of(transition(decision, given), own, log_probs_of(transition(decision))[1])

    leaves = torch.tensor(outputs, requires_grad=True)
    log_stds = leaves[..., 2:].clamp(-4, 1)
    members = torch.distributions.Normal(leaves[..., :2], log_stds.exp())
    densities = members.log_prob(torch.tensor(decision.actions, dtype=torch.float64)).sum(-1)
    shares = torch.tensor(np.ones(P) if weights is None else weights) / P
    torch.logsumexp(densities + shares.log()[:, None], 0).sum().backward()
    np.testing.assert_allclose(credit[:, :, None] * own_gradient / P, leaves.grad.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["majority", "rank"])
def test_rules_without_a_gradient_credit_each_model_by_its_contribution(name):
    decision = decided(name, np.random.default_rng(0).normal(size=(P, B, A)), Categorical(A))
    assert RULES[name].gradient == "contribution"
    np.testing.assert_allclose((P * contributions(decision.support)).mean(axis=0), 1)


def test_credits_of_a_mixture_are_p_times_the_contributions_without_a_bound():
    outputs = np.zeros((P, B, A))
    outputs[0, :, 1] = 60.0  # the only model that takes this action
    outputs[1:, :, 1] = -60.0
    decision = decided("sum", outputs, Categorical(A))
    own = Categorical(A).log_prob(outputs, np.ones(B, int))
    credit = credit_of(transition(decision), own.astype(np.float32), np.log(np.full(B, 1 / P)).astype(np.float32))
    np.testing.assert_allclose(credit[0], P, rtol=1e-5)
    assert (credit[1:] < 1e-6).all()


def test_where_one_model_leads_its_probability_is_the_behaviour_and_the_swarms_is_known_too():
    outputs, distribution = np.random.default_rng(0).normal(size=(P, B, A)), Categorical(A)
    leaders = np.array([2, NO_LEADER, 0, NO_LEADER, 1])
    decision = decided("sum", outputs, distribution, leaders=leaders)
    own = distribution.log_prob(outputs, decision.actions)
    behaviour, swarm = log_probs_of(transition(decision))
    mixture = np.log(np.exp(own).mean(axis=0))
    np.testing.assert_allclose(swarm, mixture, rtol=1e-5)
    led = leaders != NO_LEADER
    np.testing.assert_allclose(behaviour, np.where(led, own[leaders, np.arange(B)], mixture), rtol=1e-5)
    reference = behaviour_log_probs(own.astype(np.float32), behaviour, swarm, is_joint=True)
    np.testing.assert_allclose(own - reference, np.tile(mixture - behaviour, (P, 1)), atol=1e-5)  # log π̄ / μ


def test_a_model_on_its_own_is_compared_to_the_policy_that_acted():
    own, behaviour = np.log(np.full((P, 2), 0.25, np.float32)), np.log(np.array([0.5, np.nan], np.float32))
    found = behaviour_log_probs(own, behaviour, behaviour, is_joint=False)
    np.testing.assert_allclose(found[:, 0], np.log(0.5))
    np.testing.assert_allclose(found[:, 1], np.log(0.25))  # unknown: it counts as its own
    joint = behaviour_log_probs(own, behaviour, behaviour, is_joint=True)
    np.testing.assert_allclose(joint, own)


def test_an_unknown_probability_is_no_credit():
    unknown = np.array([np.nan, np.nan], np.float32)
    none = np.zeros(2, np.bool_)
    silent = Transition(np.zeros(2, int), np.zeros(2, np.float32), none, none, None, ~none)
    assert (credit_of(silent, np.zeros((P, 2), np.float32), unknown) == 1).all()
