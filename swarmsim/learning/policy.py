"""A population of actor-critic networks as stacked weights: P models, each one row of G genes.

Every model has its own actor and critic, two separate tanh networks, which differ in their last layer
alone: so the layers before it are computed for both, and for all models, by one product of stacked
matrices each. Every product is its own, so what a model computes does not depend on how many others
share its array. The gradient is written out, since for networks this small the bookkeeping of an
automatic one costs several times the arithmetic.
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
    """Where one layer's genes lie in a genome: its matrix, row by row, then its bias, which thus is one row more."""

    n_inputs: int
    n_outputs: int
    gain: float
    start: int

    @property
    def end(self) -> int:
        return self.start + (self.n_inputs + 1) * self.n_outputs

    def matrices(self, weights: Floats) -> Floats:
        """Return a view on the matrices of `weights` (P, G), their biases as last row: (P, n_inputs + 1, n_outputs)."""
        return weights[:, self.start : self.end].reshape(-1, self.n_inputs + 1, self.n_outputs)


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
            matrix[:-1] = layer.gain * _orthogonal(layer.n_inputs, layer.n_outputs, rng)
    return weights


def _orthogonal(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # makes the distribution uniform over all orthogonal matrices
    return q if rows >= columns else q.T


class Networks:
    """The matrices of P models as views on an array of genomes (P, G), which may be weights or a gradient.

    Attributes:
        hidden: of each hidden layer (P, 2, n_inputs + 1, n_outputs), the actors' at 0 and the critics' at 1.
        actor_head, critic_head: (P, n_inputs + 1, A) and (P, n_inputs + 1, 1).
    """

    def __init__(self, architecture: Architecture, genomes: Floats) -> None:
        twins = zip(architecture.actor[:-1], architecture.critic[:-1], strict=True)
        self.hidden = [_side_by_side(genomes, actor, critic.start - actor.start) for actor, critic in twins]
        self.actor_head = architecture.actor[-1].matrices(genomes)
        self.critic_head = architecture.critic[-1].matrices(genomes)


def _side_by_side(genomes: Floats, layer: Layer, distance: int) -> Floats:
    """Return the matrices of `layer`, and of the one that lies `distance` genes behind it, as one view."""
    gene = genomes.itemsize
    return np.ndarray(
        shape=(len(genomes), 2, layer.n_inputs + 1, layer.n_outputs),
        dtype=genomes.dtype,
        buffer=genomes,
        offset=layer.start * gene,
        strides=(genomes.strides[0], distance * gene, layer.n_outputs * gene, gene),
    )


@dataclass(frozen=True)
class Activations:
    """What went into each layer of P models for B rows, and what came out at last: what a backward pass needs.

    Attributes:
        inputs: (B, n_inputs + 1), then (P, 2, B, n + 1) for each hidden layer's output; the last column is 1,
            so that a bias is a weight like any other.
        logits: (P, B, A), of the actors.
        values: (P, B, 1), of the critics.
        outputs: views on the inputs without that last column: the observations, then each hidden layer's output.
        heads_inputs: views on what goes into the actors' and the critics' last layers, each (P, B, n + 1), or
            (B, n + 1) for all where there is no hidden layer.
    """

    inputs: tuple[Floats, ...]
    logits: Floats
    values: Floats
    outputs: tuple[Floats, ...] = field(init=False)
    heads_inputs: tuple[Floats, Floats] = field(init=False)

    def __post_init__(self) -> None:
        last = self.inputs[-1]
        object.__setattr__(self, "outputs", tuple(layer[..., :-1] for layer in self.inputs))
        object.__setattr__(self, "heads_inputs", (last, last) if last.ndim == 2 else (last[:, 0], last[:, 1]))

    @classmethod
    def empty(cls, architecture: Architecture, n_models: int, n_rows: int) -> "Activations":
        """Return room for `n_rows` (B) rows."""
        hidden = (np.ones((n_models, 2, n_rows, size + 1), np.float32) for size in architecture.hidden)
        return cls(
            (np.ones((n_rows, architecture.n_inputs + 1), np.float32), *hidden),
            np.empty((n_models, n_rows, architecture.n_actions), np.float32),
            np.empty((n_models, n_rows, 1), np.float32),
        )

    def rows(self, start: int, stop: int) -> "Activations":
        """Return a view on some of the rows."""
        first, *hidden = self.inputs
        return Activations(
            (first[start:stop], *(layer[:, :, start:stop] for layer in hidden)),
            self.logits[:, start:stop],
            self.values[:, start:stop],
        )

    def models(self, some: slice) -> "Activations":
        """Return a view on some of the models."""
        first, *hidden = self.inputs
        return Activations((first, *(layer[some] for layer in hidden)), self.logits[some], self.values[some])


def forward(networks: Networks, activations: Activations, observations: Floats) -> None:
    """Have P models see the same B `observations` (B, n_inputs), and keep all of it in `activations`."""
    activations.outputs[0][:] = observations
    for k, matrices in enumerate(networks.hidden):
        np.tanh(np.matmul(activations.inputs[k], matrices), out=activations.outputs[k + 1])
    actors_input, critics_input = activations.heads_inputs
    np.matmul(actors_input, networks.actor_head, out=activations.logits)
    np.matmul(critics_input, networks.critic_head, out=activations.values)


def backward(
    networks: Networks, activations: Activations, logits_gradient: Floats, values_gradient: Floats, gradient: Networks
) -> None:
    """Write into `gradient` that of a loss, given its gradient by the logits (P, B, A) and by the values (P, B, 1).

    Backpropagation, from the last layer to the first (Rumelhart et al. 1986).
    """
    heads = (networks.actor_head, networks.critic_head)
    outputs_gradients = (logits_gradient, values_gradient)
    for signal, head_input, head_gradient in zip(
        outputs_gradients, activations.heads_inputs, (gradient.actor_head, gradient.critic_head), strict=True
    ):
        np.matmul(head_input.swapaxes(-1, -2), signal, out=head_gradient)
    if not networks.hidden:
        return
    signal = np.empty(activations.outputs[-1].shape, np.float32)
    for which, (head, outputs_gradient) in enumerate(zip(heads, outputs_gradients, strict=True)):
        np.matmul(outputs_gradient, head[:, :-1].swapaxes(-1, -2), out=signal[:, which])
    for k in reversed(range(len(networks.hidden))):
        tanh = activations.outputs[k + 1]
        signal *= 1 - tanh * tanh
        np.matmul(activations.inputs[k].swapaxes(-1, -2), signal, out=gradient.hidden[k])
        if k > 0:
            signal = np.matmul(signal, networks.hidden[k][:, :, :-1].swapaxes(-1, -2))
