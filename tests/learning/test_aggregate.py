import itertools

import numpy as np
import pytest

from swarmsim.learning.aggregate import contributions, diversity
from swarmsim.learning.decision import select_actions
from swarmsim.learning.distributions import softmax
from swarmsim.learning.rules import RULES


@pytest.fixture
def probabilities():
    return softmax(np.random.default_rng(0).normal(0, 2, (7, 5, 3)))


def test_softmax_sums_to_one_and_handles_large_logits():
    p = softmax(np.array([[1000.0, 1000.0, -1000.0]]))
    assert np.allclose(p, [[0.5, 0.5, 0.0]])


def test_the_swarms_distribution_is_the_mean_of_its_models(probabilities):
    assert np.allclose(RULES["sum"].distribution(probabilities), probabilities.mean(axis=0))


def test_deterministic_takes_the_most_probable_and_draws_nothing(probabilities):
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    distribution = RULES["sum"].distribution(probabilities)
    assert np.array_equal(select_actions(distribution, None), distribution.argmax(axis=1))
    assert rng.bit_generator.state == state


def test_actions_are_drawn_as_often_as_the_distribution_says():
    rng = np.random.default_rng(0)
    distribution = np.array([0.2, 0.5, 0.3])
    actions = select_actions(np.tile(distribution, (20_000, 1)), rng)
    shares = np.bincount(actions, minlength=3) / 20_000
    assert np.abs(shares - distribution).max() < 4 * np.sqrt(0.25 / 20_000)


def test_an_impossible_action_is_never_drawn():
    actions = select_actions(np.tile([0.0, 1.0, 0.0], (1000, 1)), np.random.default_rng(0))
    assert set(actions) == {1}


def test_the_shares_of_an_action_sum_to_one_and_follow_the_probability(probabilities):
    actions = np.array([0, 1, 2, 0, 1])
    shares = contributions(probabilities[:, np.arange(5), actions])
    assert np.allclose(shares.sum(axis=0), 1.0)
    assert np.allclose(shares[2, 3], probabilities[2, 3, 0] / probabilities[:, 3, 0].sum())


def test_diversity_is_the_mean_distance_of_all_pairs(probabilities):
    pairs = itertools.combinations(range(7), 2)
    distances = [0.5 * np.abs(probabilities[i] - probabilities[j]).sum(axis=-1) for i, j in pairs]
    assert np.allclose(diversity(probabilities), np.mean(distances, axis=0))


def test_a_single_model_and_equal_models_have_no_diversity(probabilities):
    assert not diversity(probabilities[:1]).any()
    assert np.allclose(diversity(np.repeat(probabilities[:1], 4, axis=0)), 0.0)


def test_opposite_certainties_are_as_far_apart_as_can_be():
    assert diversity(np.array([[[1.0, 0.0]], [[0.0, 1.0]]])) == pytest.approx(1.0)
