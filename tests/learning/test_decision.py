"""The swarm's decision: by every rule, by one leader, and in continuous spaces."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swarmsim.learning.aggregate import contributions
from swarmsim.learning.decision import NO_LEADER, decide, leader_in_turn
from swarmsim.learning.distributions import Categorical, Gaussian
from swarmsim.learning.rules import RULES

CERTAIN = 50.0  # a logit by which no other action has a chance


def random_probabilities(seed, n_models=4, n_rows=3, n_actions=5):
    return np.random.default_rng(seed).dirichlet(np.ones(n_actions), (n_models, n_rows))


@pytest.mark.parametrize("name", RULES)
@given(seed=st.integers(0, 1000), n_models=st.integers(1, 6), n_actions=st.integers(2, 6))
def test_every_rule_gives_a_distribution_and_shares_that_sum_to_one(name, seed, n_models, n_actions):
    rule, probabilities = RULES[name], random_probabilities(seed, n_models, 3, n_actions)
    swarm = rule.distribution(probabilities)
    assert swarm.shape == (3, n_actions)
    np.testing.assert_allclose(swarm.sum(axis=-1), 1)
    assert (swarm > 0).all()
    for action in range(n_actions):
        support = rule.support(probabilities)[:, :, action]
        assert (support >= 0).all()
        np.testing.assert_allclose(contributions(support).sum(axis=0), 1)


@pytest.mark.parametrize("name", RULES)
def test_the_swarm_prefers_the_action_that_all_models_prefer(name):
    probabilities = random_probabilities(3)
    probabilities[:, :, 2] += 1
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    assert (RULES[name].distribution(probabilities).argmax(axis=-1) == 2).all()


def test_rules_differ_on_the_same_action_distributions():
    probabilities = np.array([[[0.9, 0.1, 0.0]], [[0.05, 0.5, 0.45]], [[0.05, 0.5, 0.45]]])
    for name, best in {"sum": 1, "product": 1, "majority": 1, "rank": 1}.items():
        assert RULES[name].distribution(probabilities).argmax() == best, name
    probabilities = np.array([[[0.98, 0.02]], [[0.4, 0.6]], [[0.4, 0.6]]])
    for name, best in {"sum": 0, "product": 0, "majority": 1, "rank": 1}.items():
        assert RULES[name].distribution(probabilities).argmax() == best, name


def test_the_built_in_rules_are_there_by_the_names_of_their_files():
    assert {"majority", "product", "rank", "sum", "weighted"} <= RULES.keys()


def test_a_product_is_the_geometric_mean():
    probabilities = random_probabilities(1)
    geometric = np.exp(np.log(probabilities).mean(axis=0))
    expected = geometric / geometric.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(RULES["product"].distribution(probabilities), expected)


def test_contributions_are_equal_where_there_is_no_support():
    np.testing.assert_allclose(contributions(np.zeros((4, 2))), 0.25)


def test_a_leader_decides_alone():
    outputs = np.zeros((3, 2, 4))
    for model in range(3):
        outputs[model, :, model] = CERTAIN
    found = decide(outputs, Categorical(4), RULES["sum"], np.random.default_rng(0), np.array([2, 1]))
    assert found.actions.tolist() == [2, 1]
    np.testing.assert_allclose(found.log_probs, 0, atol=1e-9)
    numbers = np.stack([[[model, -20.0]] * 2 for model in range(3)]).astype(float)
    found = decide(numbers, Gaussian(1), RULES["sum"], np.random.default_rng(0), np.array([2, 1]))
    np.testing.assert_allclose(found.actions[:, 0], [2, 1], atol=0.2)


def test_without_a_leader_all_decide():
    outputs = np.random.default_rng(0).normal(size=(3, 200, 4))
    alone, together = np.full(200, NO_LEADER), None
    drawn = [
        decide(outputs, Categorical(4), RULES["sum"], np.random.default_rng(1), leaders)
        for leaders in (alone, together)
    ]
    assert (drawn[0].actions == drawn[1].actions).all()
    np.testing.assert_array_equal(drawn[0].log_probs, drawn[1].log_probs)


def test_every_model_leads_equally_often_in_turn():
    led = [leader_in_turn(0, episode, n_models=5, led_fraction=1.0) for episode in range(50)]
    assert np.bincount(led).tolist() == [10] * 5
    assert all(sorted(led[turn : turn + 5]) == list(range(5)) for turn in range(0, 50, 5))
    half = [leader_in_turn(0, episode, n_models=5, led_fraction=0.5) for episode in range(1000)]
    assert 0.4 < np.mean([who == NO_LEADER for who in half]) < 0.6
    assert {leader_in_turn(0, episode, 5, 0.0) for episode in range(20)} == {NO_LEADER}


def test_numbers_are_drawn_from_the_mixture_whose_density_is_returned():
    rng = np.random.default_rng(0)
    outputs = np.repeat(rng.normal(0, 0.7, (4, 1, 4)), 4000, axis=1)
    found = decide(outputs, Gaussian(2), RULES["sum"], rng)
    assert found.actions.shape == (4000, 2)
    means, stds = outputs[:, 0, :2], np.exp(outputs[:, 0, 2:])
    members = torch.distributions.Independent(torch.distributions.Normal(torch.tensor(means), torch.tensor(stds)), 1)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(probs=torch.ones(4, dtype=torch.float64)), members
    )
    expected = mixture.log_prob(torch.tensor(found.actions, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(found.log_probs, expected, atol=1e-4)
    np.testing.assert_allclose(found.actions.mean(axis=0), means.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(found.actions.var(axis=0), mixture.variance.numpy(), rtol=0.15)


@pytest.mark.parametrize(("name", "best"), [("sum", 0.55), ("rank", 0.5), ("product", -0.2)])
def test_the_best_numbers_are_a_proposal_that_many_others_are_near_to(name, best):
    """Amid the cluster by the sum; nearest to the median by the rank, and to the mean (0.11) by the product."""
    means = np.array([-0.9, 0.5, 0.55, 0.6, -0.2])
    outputs = np.stack([means, np.full(5, -3.0)], axis=-1)[:, None]
    found = decide(outputs, Gaussian(1), RULES[name], None)
    assert found.actions[0, 0] == pytest.approx(best)


def test_nothing_is_drawn_for_the_best_numbers():
    outputs = np.random.default_rng(0).normal(size=(4, 3, 2))
    first, second = (decide(outputs, Gaussian(1), RULES["sum"], None) for _ in range(2))
    np.testing.assert_array_equal(first.actions, second.actions)
