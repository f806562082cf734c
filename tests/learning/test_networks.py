from itertools import pairwise

import numpy as np
import pytest
import torch

from swarmsim.learning.networks import (
    ACTORS,
    CRITICS,
    Activations,
    Architecture,
    Networks,
    backward,
    forward,
    initial_weights,
)
from swarmsim.learning.seeding import generator

CARTPOLE = Architecture(n_inputs=4, n_actions=2, hidden=(16, 16))


def population(architecture, n_models, seed=0):
    return initial_weights(architecture, [generator(seed, f"model{i}") for i in range(n_models)])


def test_the_reference_network_has_755_weights():
    assert CARTPOLE.n_weights == 755


def test_matrices_are_orthogonal_scaled_by_their_gain_and_biases_zero():
    weights = population(CARTPOLE, 3)
    gains = [np.sqrt(2), np.sqrt(2), 0.01, np.sqrt(2), np.sqrt(2), 1.0]
    for layer, gain in zip((*CARTPOLE.actor, *CARTPOLE.critic), gains, strict=True):
        assert not layer.matrices(weights)[:, -1].any()
        for matrix in layer.matrices(weights)[:, :-1].astype(np.float64) / gain:
            small = matrix @ matrix.T if layer.n_inputs <= layer.n_outputs else matrix.T @ matrix
            assert np.allclose(small, np.eye(len(small)), atol=1e-5)


def test_a_models_first_weights_depend_on_its_own_generator_alone():
    assert np.array_equal(population(CARTPOLE, 5)[3:4], initial_weights(CARTPOLE, [generator(0, "model3")]))
    assert not np.array_equal(population(CARTPOLE, 2)[0], population(CARTPOLE, 2)[1])


def as_torch(architecture, genome):
    """Return the two networks of a genome, built by torch from its documented order alone."""
    networks, start = [], 0
    for n_outputs in (architecture.n_actions, 1):
        sizes = (architecture.n_inputs, *architecture.hidden, n_outputs)
        layers = []
        for n_in, n_out in pairwise(sizes):
            linear = torch.nn.Linear(n_in, n_out)
            end = start + n_in * n_out
            linear.weight.data = torch.tensor(genome[start:end].reshape(n_in, n_out).T)
            linear.bias.data = torch.tensor(genome[end : end + n_out])
            start = end + n_out
            layers += [linear, torch.nn.Tanh()]
        networks.append(torch.nn.Sequential(*layers[:-1]))
    assert start == len(genome)
    return networks


def flat_gradient(networks):
    return np.concatenate(
        [
            p.grad.T.numpy().ravel() if p.ndim == 2 else p.grad.numpy()
            for network in networks
            for p in network.parameters()
        ]
    )


def forward_and_backward(architecture, weights, observations, logits_gradient, values_gradient):
    """Return logits, values and gradient as arrays."""
    networks, gradient = Networks(architecture, weights), np.full_like(weights, np.nan)
    activations = Activations.empty(architecture, len(weights), len(observations))
    activations.outputs[0][:] = observations
    forward(ACTORS, networks, activations)
    forward(CRITICS, networks, activations)
    backward(networks, activations, logits_gradient, values_gradient[..., None], Networks(architecture, gradient))
    return activations.logits, activations.values[..., 0], gradient


ARCHITECTURES = [CARTPOLE, Architecture(7, 5, (8,)), Architecture(3, 4, (6, 9, 5)), Architecture(3, 2, ())]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_forward_and_backward_agree_with_torch(architecture):
    rng = np.random.default_rng(0)
    weights = population(architecture, 4)
    weights += rng.normal(0, 0.3, weights.shape).astype(np.float32)
    observations = rng.standard_normal((11, architecture.n_inputs)).astype(np.float32)
    logits_gradient = rng.standard_normal((4, 11, architecture.n_actions)).astype(np.float32)
    values_gradient = rng.standard_normal((4, 11)).astype(np.float32)

    computed = forward_and_backward(architecture, weights, observations, logits_gradient, values_gradient)

    for i in range(4):
        actor, critic = as_torch(architecture, weights[i])
        logits, values = actor(torch.tensor(observations)), critic(torch.tensor(observations))[:, 0]
        assert np.allclose(computed[0][i], logits.detach().numpy(), atol=1e-5)
        assert np.allclose(computed[1][i], values.detach().numpy(), atol=1e-5)
        torch.autograd.backward([logits, values], [torch.tensor(logits_gradient[i]), torch.tensor(values_gradient[i])])
        assert np.allclose(computed[2][i], flat_gradient((actor, critic)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hidden", [(16, 16), (7, 3)])
@pytest.mark.parametrize("n_rows", [1, 5, 20])
def test_what_a_model_computes_is_bit_identical_however_the_population_is_split(hidden, n_rows):
    architecture = Architecture(4, 2, hidden)
    rng = np.random.default_rng(1)
    weights = population(architecture, 20)
    observations = rng.standard_normal((n_rows, 4)).astype(np.float32)
    signals = [rng.standard_normal((20, n_rows, *last)).astype(np.float32) for last in ((2,), ())]

    def computed(rows):
        gradients = (signal[rows].copy() for signal in signals)
        return forward_and_backward(architecture, weights[rows].copy(), observations, *gradients)

    whole = computed(slice(0, 20))
    for width in (1, 3, 10):
        for start in range(0, 20, width):
            for all_models, some in zip(whole, computed(slice(start, start + width)), strict=True):
                assert np.array_equal(all_models[start : start + width], some)
