"""Population-based training: who becomes whose copy, and what hyperparameters become."""

import numpy as np
import pytest

from swarmsim.learning.hyperparameters import A2CSettings, EvolutionSettings, PPOSettings
from swarmsim.learning.led_returns import Worth
from swarmsim.learning.population import copies, inherited, initial_hyperparameters, parents_of, scaled
from swarmsim.learning.seeding import generator

NAMES = PPOSettings().of_each_model


def draws(number):
    return [generator(0, "hyperparameters", f"model{i}") for i in range(number)]


def test_hyperparameters_that_evolve_are_drawn_around_their_setting_and_others_are_the_setting():
    values = initial_hyperparameters(PPOSettings(), EvolutionSettings(spread=1.0), draws(400))
    rates = np.log10(values[:, NAMES.index("learning_rate")] / PPOSettings().learning_rate)
    assert -1 <= rates.min() < -0.95
    assert 0.95 < rates.max() <= 1
    assert abs(rates.mean()) < 0.1
    for name in ("ent_coef", "gae_lambda", "clip_range"):
        assert (values[:, NAMES.index(name)] == getattr(PPOSettings(), name)).all()


def test_a_models_hyperparameters_do_not_depend_on_the_others():
    together = initial_hyperparameters(PPOSettings(), EvolutionSettings(), draws(3))
    apart = initial_hyperparameters(PPOSettings(), EvolutionSettings(), draws(3)[2:])
    np.testing.assert_array_equal(together[2:], apart)


@pytest.mark.parametrize("evolution", [EvolutionSettings(kind="genetic"), EvolutionSettings(spread=0.0)])
def test_without_a_spread_all_models_have_the_setting(evolution):
    values = initial_hyperparameters(A2CSettings(), evolution, draws(3))
    assert (values == [A2CSettings().learning_rate, 0.0, 1.0]).all()


def test_all_hyperparameters_of_the_learner_can_evolve_and_stay_within_their_bounds():
    names = "learning_rate", "ent_coef", "gae_lambda", "clip_range"
    evolution = EvolutionSettings(hyperparameters=names, spread=2.0)
    values = initial_hyperparameters(PPOSettings(ent_coef=0.01), evolution, draws(200))
    assert (values >= 0).all()
    assert (values[:, 2:] <= 1).all()
    assert (np.ptp(values, axis=0) > 0).all()
    assert evolution.evolving(A2CSettings()) == names[:3]


def test_of_lambda_the_distance_from_one_is_scaled():
    np.testing.assert_allclose(scaled(np.array([0.001, 0.0, 0.9, 0.2]), np.full(4, 2.0), NAMES), [0.002, 0, 0.8, 0.4])
    np.testing.assert_allclose(scaled(np.array([0.001, 0.0, 0.9, 0.8]), np.full(4, 20.0), NAMES), [0.02, 0, 0, 1])


def test_the_worst_become_copies_of_the_best_only_where_they_differ_by_more_than_luck():
    returns, settings = np.array([5.0, 100, 40, 50, 60, 0, 45, 55, 98, 52]), EvolutionSettings()
    assert parents_of(Worth(returns, np.full(10, 1.0)), settings).tolist() == [8, 1, 2, 3, 4, 1, 6, 7, 8, 9]
    assert (parents_of(Worth(returns, np.full(10, 500.0)), settings) == np.arange(10)).all()
    assert (parents_of(Worth(returns, np.full(10, np.inf)), settings) == np.arange(10)).all()
    assert parents_of(Worth(np.zeros(1), np.ones(1)), settings).tolist() == [0]


def test_a_copy_inherits_everything_and_its_learning_rate_changes_by_the_factor():
    rng = np.random.default_rng(0)
    genomes, moments = rng.random((3, 5), np.float32), rng.random((3, 2, 5), np.float32)
    values = np.array([[0.001, 0.0, 0.9, 0.2], [0.01, 0.1, 0.8, 0.3], [0.1, 0.2, 0.7, 0.4]])
    parents = np.array([0, 1, 1])
    found = set()
    for seed in range(8):
        new = inherited(values, parents, NAMES, ("learning_rate",), 1.4, np.random.default_rng(seed))
        np.testing.assert_array_equal(new[:2], values[:2])
        np.testing.assert_array_equal(new[2, 1:], values[1, 1:])
        found.add(round(float(new[2, 0]), 6))
    assert found == {0.014, round(0.01 / 1.4, 6)}
    made = copies(genomes, moments, new, parents)
    np.testing.assert_array_equal(made.genomes[2], genomes[1])
    np.testing.assert_array_equal(made.moments[2], moments[1])
    assert made.is_offspring.tolist() == [False, False, True]
    assert made.counts() == {"parents_kept": 2, "crossovers": 0, "mutations": 1}
