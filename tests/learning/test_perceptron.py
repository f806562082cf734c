"""Stacked perceptrons against torch's autograd, and each model by itself."""

import numpy as np
import pytest
import torch

from swarmsim.learning.networks import network_layers
from swarmsim.learning.perceptron import Perceptrons

N_MODELS, N_ROWS, N_INPUTS, N_OUTPUTS = 3, 7, 4, 2


def networks_of(number, hidden):
    """Return the layers of so many networks of one shape, and the number of genes; some of others lie around them."""
    networks, start = [], 5
    for _ in range(number):
        networks.append(tuple(network_layers(N_INPUTS, hidden, N_OUTPUTS, 1.0, start)))
        start = networks[-1][-1].end
    return networks, start + 3


def as_torch(genome, layers, signal):
    for layer in layers:
        matrix = genome[layer.start : layer.end].reshape(layer.n_inputs + 1, layer.n_outputs)
        signal = signal @ matrix[:-1] + matrix[-1]
        signal = torch.relu(signal) if layer is not layers[-1] else signal
    return signal


@pytest.mark.parametrize("hidden", [(), (6,), (5, 8)], ids=str)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_outputs_and_both_gradients_are_those_of_autograd(number, hidden):
    rng = np.random.default_rng(0)
    networks, n_genes = networks_of(number, hidden)
    weights = rng.standard_normal((N_MODELS, n_genes)).astype(np.float32)
    inputs = rng.standard_normal((N_MODELS, N_ROWS, N_INPUTS)).astype(np.float32)
    by_outputs = rng.standard_normal((N_MODELS, number, N_ROWS, N_OUTPUTS)).astype(np.float32)
    stack, gradient = Perceptrons(networks, weights), np.zeros_like(weights)
    signals = stack.signals(N_ROWS)
    signals.write(inputs[..., :1], inputs[..., 1:])
    outputs = stack.forward(signals)
    stack.backward(signals, by_outputs, Perceptrons(networks, gradient))
    by_inputs = stack.inputs_gradient(signals, by_outputs)
    for model in range(N_MODELS):
        genome = torch.tensor(weights[model], requires_grad=True)
        for k, layers in enumerate(networks):
            shown = torch.tensor(inputs[model], requires_grad=True)
            result = as_torch(genome, layers, shown)
            np.testing.assert_allclose(outputs[model, k], result.detach(), rtol=1e-4, atol=1e-5)
            (result * torch.tensor(by_outputs[model, k])).sum().backward()
            np.testing.assert_allclose(by_inputs[model, k], shown.grad, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(gradient[model], genome.grad, rtol=1e-4, atol=1e-4)


def test_rows_that_all_models_share_give_what_rows_of_their_own_give():
    rng = np.random.default_rng(1)
    networks, n_genes = networks_of(2, (6, 6))
    stack = Perceptrons(networks, rng.standard_normal((N_MODELS, n_genes)).astype(np.float32))
    rows = rng.standard_normal((N_ROWS, N_INPUTS)).astype(np.float32)
    results = []
    for are_shared in (True, False):
        signals = stack.signals(N_ROWS, are_shared=are_shared)
        signals.write(rows)
        results.append(stack.forward(signals))
    assert np.array_equal(*results)


def test_a_view_of_rows_holds_what_was_computed_for_them():
    rng = np.random.default_rng(2)
    networks, n_genes = networks_of(1, (6,))
    stack = Perceptrons(networks, rng.standard_normal((1, n_genes)).astype(np.float32))
    signals = stack.signals(N_ROWS)
    signals.rows(0, 3).write(rng.standard_normal((1, 3, N_INPUTS)).astype(np.float32))
    signals.rows(3, N_ROWS).write(rng.standard_normal((1, N_ROWS - 3, N_INPUTS)).astype(np.float32))
    outputs = stack.forward(signals)
    assert np.array_equal(signals.rows(3, N_ROWS).outputs, outputs[:, :, 3:])
    by_outputs = np.ones((1, 1, N_ROWS, N_OUTPUTS), np.float32)
    part = stack.inputs_gradient(signals.rows(3, N_ROWS), by_outputs[:, :, 3:])
    np.testing.assert_allclose(part, stack.inputs_gradient(signals, by_outputs)[:, :, 3:], rtol=1e-6)
