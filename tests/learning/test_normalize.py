"""Running normalisation, against that of Stable-Baselines3."""

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd

from swarmsim.learning.normalize import Normalizer


def counted(batches):
    normalizer = Normalizer(3)
    for batch in batches:
        normalizer.count(batch)
    return normalizer


def test_mean_and_deviation_are_those_of_stable_baselines3():
    rng = np.random.default_rng(0)
    batches = [rng.normal((1, -50, 0.01), (2, 10, 0.001), (4, 3)).astype(np.float32) for _ in range(25)]
    reference = RunningMeanStd(epsilon=0, shape=(3,))
    for batch in batches:
        reference.update(batch)
    shown = rng.normal((1, -50, 0.01), (2, 10, 0.001), (5, 3)).astype(np.float32)
    expected = np.clip((shown - reference.mean) / np.sqrt(reference.var + 1e-8), -10, 10)
    np.testing.assert_allclose(counted(batches).normalized(shown), expected, rtol=1e-4)


def test_far_values_are_clipped_and_too_few_change_nothing():
    batch = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
    assert counted([batch]).normalized(np.full((1, 3), 1e6, np.float32)).tolist() == [[10, 10, 10]]
    assert counted([]).normalized(batch).tolist() == batch.tolist()


def test_it_continues_from_its_state():
    batch = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    whole, restored = counted([batch, batch * 2]), Normalizer(3)
    restored.restore(counted([batch]).state())
    restored.count(batch * 2)
    np.testing.assert_array_equal(whole.normalized(batch), restored.normalized(batch))
