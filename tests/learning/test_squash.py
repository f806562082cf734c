"""Squashed Gaussians against torch's distributions and autograd."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from swarmsim.learning.squash import SQUASHED_LOG_STD_BOUNDS, draw, draw_gradient, squashed_gaussian

D = 2


def drawn(seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    outputs = rng.normal(0, scale, (3, 50, 2 * D))
    return outputs, rng.standard_normal((3, 50, D))


def as_torch(outputs, noise):
    means, log_stds = outputs[..., :D], outputs[..., D:].clamp(*SQUASHED_LOG_STD_BOUNDS)
    raw = means + log_stds.exp() * noise
    transform = TanhTransform(cache_size=1)
    distribution = TransformedDistribution(Independent(Normal(means, log_stds.exp()), 1), [transform])
    actions = transform(raw)
    return actions, distribution.log_prob(actions)


def test_actions_and_log_probabilities_are_those_of_torch():
    outputs, noise = drawn()
    actions, log_probs = draw(squashed_gaussian(D), outputs, noise)
    expected = as_torch(torch.tensor(outputs), torch.tensor(noise))
    np.testing.assert_allclose(actions, expected[0])
    np.testing.assert_allclose(log_probs, expected[1], rtol=1e-9, atol=1e-9)


def test_the_gradient_is_that_of_autograd_also_where_a_deviation_is_clipped():
    outputs, noise = drawn(seed=1, scale=1.5)
    outputs[0, :5, D:] = 3.0
    outputs[0, 5:10, D:] = -30.0
    rng = np.random.default_rng(2)
    by_actions, by_log_probs = rng.standard_normal(noise.shape), rng.standard_normal(noise.shape[:-1])
    shown = torch.tensor(outputs, requires_grad=True)
    actions, log_probs = as_torch(shown, torch.tensor(noise))
    ((actions * torch.tensor(by_actions)).sum() + (log_probs * torch.tensor(by_log_probs)).sum()).backward()
    gaussian = squashed_gaussian(D)
    found = draw_gradient(gaussian, outputs, noise, draw(gaussian, outputs, noise)[0], by_actions, by_log_probs)
    np.testing.assert_allclose(found, shown.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mean", [-200.0, 200.0])
def test_log_probabilities_of_saturated_actions_are_finite_in_single_precision(mean):
    outputs = np.full((1, 1, 2 * D), mean, np.float32)
    outputs[..., D:] = 0
    actions, log_probs = draw(squashed_gaussian(D), outputs, np.zeros((1, 1, D), np.float32))
    assert actions.dtype == log_probs.dtype == np.float32
    assert np.isfinite(log_probs).all()
    assert np.array_equal(actions, np.full((1, 1, D), np.sign(mean)))
