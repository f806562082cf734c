"""A population of actor-critic networks as stacked weights: P models, each one row of G genes.

Every model has its own actor and critic, two separate tanh networks. All models are computed by the
same few products of stacked matrices; each model's product is its own, so what a model computes
does not depend on how many others share its array. The gradient is written out, since for networks
this small the bookkeeping of an automatic one costs several times the arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

HIDDEN_GAIN, ACTION_GAIN, VALUE_GAIN = sqrt(2), 0.01, 1.0


@dataclass(frozen=True)
class Layer:
    """Where one layer's genes lie in a genome: its matrix, row by row, then its bias."""

    n_inputs: int
    n_outputs: int
    gain: float
    start: int

    @property
    def bias_start(self) -> int:
        return self.start + self.n_inputs * self.n_outputs

    @property
    def end(self) -> int:
        return self.bias_start + self.n_outputs

    def matrices(self, weights: Floats) -> Floats:
        """Return a view on the matrices, shape (P, n_inputs, n_outputs), of `weights` (P, G)."""
        return weights[:, self.start : self.bias_start].reshape(-1, self.n_inputs, self.n_outputs)

    def biases(self, weights: Floats) -> Floats:
        """Return a view on the biases, shape (P, 1, n_outputs), of `weights` (P, G)."""
        return weights[:, None, self.bias_start : self.end]


@dataclass(frozen=True)
class Architecture:
    """The shape of every model of a population: an observation vector in, logits and a value out."""

    n_inputs: int
    n_actions: int
    hidden: tuple[int, ...]
    actor: tuple[Layer, ...] = field(init=False)
    critic: tuple[Layer, ...] = field(init=False)

    def __post_init__(self) -> None:
        actor = tuple(_layers(self.n_inputs, self.hidden, self.n_actions, ACTION_GAIN, start=0))
        critic = tuple(_layers(self.n_inputs, self.hidden, 1, VALUE_GAIN, start=actor[-1].end))
        object.__setattr__(self, "actor", actor)
        object.__setattr__(self, "critic", critic)

    @property
    def n_weights(self) -> int:
        """G, the number of genes of a model."""
        return self.critic[-1].end


def _layers(n_inputs: int, hidden: Sequence[int], n_outputs: int, gain: float, start: int) -> Iterator[Layer]:
    for size in hidden:
        layer = Layer(n_inputs, size, HIDDEN_GAIN, start)
        yield layer
        n_inputs, start = size, layer.end
    yield Layer(n_inputs, n_outputs, gain, start)


def initial_weights(architecture: Architecture, generators: Sequence[np.random.Generator]) -> Floats:
    """Return weights (P, G), one model per generator: orthogonal matrices and zero biases.

    Orthogonal initialisation after Saxe et al. 2013 (arXiv 1312.6120).
    """
    weights = np.zeros((len(generators), architecture.n_weights), np.float32)
    for layer in (*architecture.actor, *architecture.critic):
        for matrix, rng in zip(layer.matrices(weights), generators, strict=True):
            matrix[:] = layer.gain * _orthogonal(layer.n_inputs, layer.n_outputs, rng)
    return weights


def _orthogonal(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # makes the distribution uniform over all orthogonal matrices
    return q if rows >= columns else q.T


@dataclass(frozen=True)
class Forward:
    """What a forward pass of P models on B observations gave, and what its backward pass needs.

    Attributes:
        logits: (P, B, A), of the actors.
        values: (P, B), of the critics.
        actor_inputs, critic_inputs: the input of each layer, (B, n) for the first, (P, B, n) for the others.
    """

    logits: Floats
    values: Floats
    actor_inputs: tuple[Floats, ...]
    critic_inputs: tuple[Floats, ...]


def forward(architecture: Architecture, weights: Floats, observations: Floats) -> Forward:
    """Return what P models, `weights` (P, G), say to the same B `observations` (B, n_inputs)."""
    logits, actor_inputs = _forward(architecture.actor, weights, observations)
    values, critic_inputs = _forward(architecture.critic, weights, observations)
    return Forward(logits, values[:, :, 0], actor_inputs, critic_inputs)


def _forward(layers: Sequence[Layer], weights: Floats, signal: Floats) -> tuple[Floats, tuple[Floats, ...]]:
    inputs = [signal]
    for layer in layers[:-1]:
        signal = np.matmul(signal, layer.matrices(weights))
        signal += layer.biases(weights)
        inputs.append(np.tanh(signal, out=signal))
    outputs = np.matmul(signal, layers[-1].matrices(weights))
    outputs += layers[-1].biases(weights)
    return outputs, tuple(inputs)


def backward(
    architecture: Architecture, weights: Floats, passed: Forward, logits_gradient: Floats, values_gradient: Floats
) -> Floats:
    """Return the gradient (P, G) of a loss, given its gradient by the logits (P, B, A) and by the values (P, B)."""
    gradient = np.empty_like(weights)
    _backward(architecture.actor, weights, passed.actor_inputs, logits_gradient, gradient)
    _backward(architecture.critic, weights, passed.critic_inputs, values_gradient[:, :, None], gradient)
    return gradient


def _backward(
    layers: Sequence[Layer], weights: Floats, inputs: Sequence[Floats], signal: Floats, gradient: Floats
) -> None:
    """Write into `gradient` that of each layer, from the last to the first (Rumelhart et al. 1986)."""
    for layer, layer_input in zip(reversed(layers), reversed(inputs), strict=True):
        np.matmul(layer_input.swapaxes(-1, -2), signal, out=layer.matrices(gradient))
        layer.biases(gradient)[:] = signal.sum(axis=1, keepdims=True)
        if layer is not layers[0]:
            signal = np.matmul(signal, layer.matrices(weights).swapaxes(-1, -2))
            signal *= 1 - layer_input * layer_input
