"""What outputs mean, against torch.distributions: log-probabilities, and gradients that autograd finds too."""

import numpy as np
import pytest
import torch

from swarmsim.learning.distributions import LOG_STD_BOUNDS, Categorical, Gaussian

P, B, D = 3, 7, 2


def torch_of(distribution, outputs):
    if isinstance(distribution, Categorical):
        return torch.distributions.Categorical(logits=outputs)
    means, log_stds = outputs[..., :D], outputs[..., D:].clamp(*LOG_STD_BOUNDS)
    return torch.distributions.Independent(torch.distributions.Normal(means, log_stds.exp()), 1)


@pytest.fixture(params=[Categorical(4), Gaussian(D)], ids=["categorical", "gaussian"])
def case(request):
    rng = np.random.default_rng(0)
    distribution = request.param
    outputs = rng.normal(0, 1.5, (P, B, distribution.n_outputs))
    if isinstance(distribution, Gaussian):
        outputs[0, 0, D:] = -9, 7  # beyond the bounds, where no gradient may draw them further
        return distribution, outputs, rng.normal(size=(P, B, D))
    return distribution, outputs, rng.integers(4, size=(P, B))


def test_log_probabilities_and_their_gradients_are_those_of_torch(case):
    distribution, outputs, actions = case
    leaves = torch.tensor(outputs, requires_grad=True)
    expected = torch_of(distribution, leaves).log_prob(torch.tensor(actions))
    expected.sum().backward()
    found, gradient = distribution.log_prob_gradient(outputs, actions)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(distribution.log_prob(outputs, actions), found, rtol=1e-12)
    np.testing.assert_allclose(gradient, leaves.grad.numpy(), rtol=1e-7, atol=1e-9)


def test_entropy_and_its_gradient_are_those_of_torch(case):
    distribution, outputs, _ = case
    leaves = torch.tensor(outputs, requires_grad=True)
    expected = torch_of(distribution, leaves).entropy()
    expected.sum().backward()
    np.testing.assert_allclose(distribution.entropy(outputs), expected.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(distribution.entropy_gradient(outputs), leaves.grad.numpy(), rtol=1e-6, atol=1e-9)


def test_actions_of_all_models_may_be_the_same(case):
    distribution, outputs, actions = case
    shared = actions[0]
    repeated = np.broadcast_to(shared, actions.shape)
    np.testing.assert_array_equal(distribution.log_prob(outputs, shared), distribution.log_prob(outputs, repeated))


def test_a_least_deviation_makes_narrow_densities_wider_and_leaves_wide_ones():
    outputs = np.array([[[0.0, np.log(0.1)]], [[0.0, np.log(2.0)]]])
    wide = np.array([[[0.0, np.log(0.5)]], [[0.0, np.log(2.0)]]])
    actions = np.array([[0.7]])
    found = Gaussian(1).log_prob(outputs, actions, min_std=0.5)
    np.testing.assert_allclose(found, Gaussian(1).log_prob(wide, actions))
