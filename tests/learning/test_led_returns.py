"""What models are worth by the episodes that they led."""

import numpy as np
import pytest

from swarmsim.learning.led_returns import KEEP, LedReturns

NAMES = "a", "b", "c"


def led(**returns):
    found = LedReturns()
    for name, values in returns.items():
        for value in values:
            found.add(name, value)
    return found


def test_nothing_is_known_until_a_model_has_led_twice():
    worth = led(a=[10.0], b=[500.0]).worth(NAMES)
    assert np.isinf(worth.errors).all()
    assert not worth.differs(1, 0, 0.0)
    assert (worth.weights() == 1).all()


def test_old_episodes_are_forgotten():
    found = led(a=[0.0] * 50 + [100.0] * 50)
    assert found.means()["a"] == pytest.approx(100, abs=0.01)
    assert led(a=[0.0, 100.0]).means()["a"] == pytest.approx(100 / (1 + KEEP))


def test_few_noisy_episodes_are_shrunk_to_the_common_mean_and_many_clear_ones_are_not():
    noisy = led(a=[0.0, 200.0], b=[20.0, 210.0], c=[10.0, 190.0]).worth(NAMES)
    clear = led(a=[100.0] * 9, b=[200.0] * 8 + [201.0], c=[300.0] * 9).worth(NAMES)
    assert np.ptp(noisy.returns) < 0.5 * np.ptp(
        list(led(a=[0.0, 200.0], b=[20.0, 210.0], c=[10.0, 190.0]).means().values())
    )
    assert not noisy.differs(int(noisy.returns.argmax()), int(noisy.returns.argmin()), 0.5)
    np.testing.assert_allclose(clear.returns, [100, 200, 300], atol=1)
    assert clear.differs(2, 0, 0.5)
    assert clear.weights().argmax() == 2
    assert clear.weights().mean() == pytest.approx(1)


def test_shrunk_means_are_nearer_to_the_truth_than_means_alone():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        truth = rng.normal(0, 1, 10)
        found = LedReturns()
        names = [f"model{i}" for i in range(10)]
        for name, mean in zip(names, truth, strict=True):
            for value in rng.normal(mean, 2, 4):
                found.add(name, value)
        plain = np.array([found.means()[name] for name in names])
        errors.append([np.square(plain - truth).mean(), np.square(found.worth(names).returns - truth).mean()])
    plain, shrunk = np.mean(errors, axis=0)
    assert shrunk < 0.7 * plain


def test_a_copy_is_expected_to_be_worth_what_its_parent_is_but_with_less_certainty():
    found = led(a=[100.0, 101.0] * 5, b=[0.0, 1.0] * 5, c=[50.0, 51.0] * 5)
    found.inherit("b", "a")
    found.inherit("b", "a")  # a repeated message changes nothing
    worth = found.worth(NAMES)
    assert worth.returns[1] == pytest.approx(worth.returns[0], abs=5)
    assert worth.errors[1] > worth.errors[0]


def test_a_state_restores_all_of_it():
    found, other = led(a=[1.0, 2.0], b=[3.0]), LedReturns()
    other.restore(found.state())
    assert other.state() == found.state()
    np.testing.assert_array_equal(other.worth(NAMES).returns, found.worth(NAMES).returns)


def test_thompson_sampling_prefers_the_best_and_still_tries_the_unknown():
    found = led(a=[100.0, 110.0] * 4, b=[0.0, 10.0] * 4)
    worth = found.worth(NAMES)
    drawn = [worth.sample(np.random.default_rng(seed)) for seed in range(300)]
    counts = np.bincount(drawn, minlength=3)
    assert counts[0] > counts[1]
    assert counts[2] > 0
