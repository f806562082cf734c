"""A population of actor-critic networks as stacked weights: P models, each one row of G genes.

Every model has its own actor and critic, two tanh networks that differ only in their last layer. So one product
of stacked matrices computes a layer for both, and for all models. A stack multiplies each matrix separately, so a
model's results do not depend on how many others share its array. Backpropagation is written out, since for networks
this small automatic differentiation costs several times the arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.distributions import Categorical, Distribution, Gaussian

Floats = NDArray[np.float32]

ACTORS, CRITICS = 0, 1
HIDDEN_GAIN, ACTION_GAIN, VALUE_GAIN = sqrt(2), 0.01, 1.0


@dataclass(frozen=True)
class Layer:
    """Where a layer's genes lie in a genome: its matrix, row by row, then its bias as one more row."""

    n_inputs: int
    n_outputs: int
    gain: float
    start: int

    @property
    def end(self) -> int:
        return self.start + (self.n_inputs + 1) * self.n_outputs

    def matrices(self, weights: Floats) -> Floats:
        """Return the layer's matrices in `weights` (P, G) as a view (P, n_inputs + 1, n_outputs), biases last."""
        return weights[:, self.start : self.end].reshape(-1, self.n_inputs + 1, self.n_outputs)


@dataclass(frozen=True)
class Architecture:
    """The shape of every model of a population: from an observation vector to a policy's outputs and a value."""

    n_inputs: int
    n_actions: int  # the number of discrete actions, or the dimension of a `continuous` action
    hidden: tuple[int, ...]
    continuous: bool = False
    actor: tuple[Layer, ...] = field(init=False)
    critic: tuple[Layer, ...] = field(init=False)
    activation = "tanh"  # between two layers

    def __post_init__(self) -> None:
        actor = tuple(network_layers(self.n_inputs, self.hidden, self.distribution.n_outputs, ACTION_GAIN, start=0))
        critic = tuple(network_layers(self.n_inputs, self.hidden, 1, VALUE_GAIN, start=actor[-1].end))
        object.__setattr__(self, "actor", actor)
        object.__setattr__(self, "critic", critic)

    @property
    def distribution(self) -> Distribution:
        """The action distribution that the actors' outputs parametrise."""
        return Gaussian(self.n_actions) if self.continuous else Categorical(self.n_actions)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers in the order of their genes."""
        return *self.actor, *self.critic

    @property
    def n_weights(self) -> int:
        """G, the number of genes in a genome."""
        return self.critic[-1].end


def network_layers(n_inputs: int, hidden: Sequence[int], n_outputs: int, gain: float, start: int) -> Iterator[Layer]:
    """Yield a network's layers, whose genes begin at `start`; `gain` is that of the last one."""
    for size in hidden:
        layer = Layer(n_inputs, size, HIDDEN_GAIN, start)
        yield layer
        n_inputs, start = size, layer.end
    yield Layer(n_inputs, n_outputs, gain, start)


def initial_weights(
    architecture: Architecture, generators: Sequence[np.random.Generator], out: Floats | None = None
) -> Floats:
    """Return weights (P, G), one model per generator: orthogonal (Saxe et al. 2013, arXiv 1312.6120), biases 0.

    Args:
        out: zeros to write them into.
    """
    weights = np.zeros((len(generators), architecture.n_weights), np.float32) if out is None else out
    for layer in architecture.layers:
        for matrix, rng in zip(layer.matrices(weights), generators, strict=True):
            matrix[:-1] = layer.gain * _orthogonal(layer.n_inputs, layer.n_outputs, rng)
    return weights


def _orthogonal(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # makes the distribution uniform over all orthogonal matrices
    return q if rows >= columns else q.T


class Networks:
    """The matrices (P, n_inputs + 1, n_outputs) of P models' layers, the ACTORS' at 0 and the CRITICS' at 1.

    They are views of an array of `genomes` (P, G), which may be weights or a gradient.
    """

    def __init__(self, architecture: Architecture, genomes: Floats) -> None:
        self.architecture = architecture
        pairs = zip(architecture.actor[:-1], architecture.critic[:-1], strict=True)
        # Each hidden layer is one array for both, (P, 2, n_inputs + 1, n_outputs).
        self.hidden = [_pair_view(genomes, actor, critic.start - actor.start) for actor, critic in pairs]
        self.heads = architecture.actor[-1].matrices(genomes), architecture.critic[-1].matrices(genomes)
        self.layers = [[*(hidden[:, part] for hidden in self.hidden), self.heads[part]] for part in (ACTORS, CRITICS)]


def _pair_view(genomes: Floats, layer: Layer, distance: int) -> Floats:
    """Return the matrices of `layer` and of the layer `distance` genes after it as one view."""
    gene = genomes.itemsize
    shape = len(genomes), 2, layer.n_inputs + 1, layer.n_outputs
    strides = genomes.strides[0], distance * gene, layer.n_outputs * gene, gene
    return np.ndarray(shape, genomes.dtype, buffer=genomes, offset=layer.start * gene, strides=strides)


class Activations:
    """Each layer's inputs of P models for B rows, and their results: what a backward pass needs.

    Args:
        inputs: (B, n_inputs + 1), or (P, 1, B, n_inputs + 1) if each model has its own rows; then (P, 2, B, n + 1) for
            each hidden layer's output. The last column is 1, so that a bias is a weight like any other.
        logits: (P, B, n_outputs), the actors' outputs, which parametrise their distribution.
        values: (P, B, 1), the critics' outputs.
    """

    def __init__(self, inputs: Sequence[Floats], logits: Floats, values: Floats) -> None:
        self.inputs, self.logits, self.values = inputs, logits, values
        self.outputs = [layer[..., :-1] for layer in inputs]  # the observations, then each hidden layer's output
        self.layers = []  # each layer's input and output, of the ACTORS and of the CRITICS
        first, *hidden = inputs
        for part, results in ((ACTORS, logits), (CRITICS, values)):
            signals = first if first.ndim == 2 else first[:, 0], *(layer[:, part] for layer in hidden)
            outputs = *(layer[:, part] for layer in self.outputs[1:]), results
            self.layers.append(list(zip(signals, outputs, strict=True)))

    @classmethod
    def empty(cls, architecture: Architecture, n_models: int, n_rows: int, *, per_model: bool = False) -> "Activations":
        """Return room for `n_rows` (B) rows that all models share, or for as many of each model's own (`per_model`)."""
        first = (n_models, 1, n_rows) if per_model else (n_rows,)
        hidden = (np.ones((n_models, 2, n_rows, size + 1), np.float32) for size in architecture.hidden)
        inputs = np.ones((*first, architecture.n_inputs + 1), np.float32), *hidden
        logits = np.empty((n_models, n_rows, architecture.distribution.n_outputs), np.float32)
        return cls(inputs, logits, values=np.empty((n_models, n_rows, 1), np.float32))

    # Views of some rows, or of some models:

    def rows(self, start: int, stop: int) -> "Activations":
        first, *hidden = self.inputs
        inputs = first[..., start:stop, :], *(layer[:, :, start:stop] for layer in hidden)
        return Activations(inputs, self.logits[:, start:stop], self.values[:, start:stop])

    def models(self, some: slice) -> "Activations":
        if some == slice(0, len(self.logits)):
            return self
        first, *hidden = self.inputs
        first = first if first.ndim == 2 else first[some]
        return Activations((first, *(layer[some] for layer in hidden)), self.logits[some], self.values[some])


def forward(part: int, networks: Networks, activations: Activations) -> None:
    """Compute the ACTORS' or the CRITICS' results from the observations in `activations`, and write all of it there."""
    *hidden, head = zip(networks.layers[part], activations.layers[part], strict=True)
    for matrices, (signal, output) in hidden:
        np.tanh(np.matmul(signal, matrices), out=output)
    matrices, (signal, output) = head
    np.matmul(signal, matrices, out=output)


def backward(
    networks: Networks, activations: Activations, logits_gradient: Floats, values_gradient: Floats, gradient: Networks
) -> None:
    """Write a loss's gradient into `gradient`, given those by the logits (P, B, n_outputs) and values (P, B, 1).

    Backpropagation, from the last layer to the first (Rumelhart et al. 1986).
    """
    signal = np.empty(activations.outputs[-1].shape, np.float32)
    for part, results_gradient in ((ACTORS, logits_gradient), (CRITICS, values_gradient)):
        head_input, _ = activations.layers[part][-1]
        np.matmul(head_input.swapaxes(-1, -2), results_gradient, out=gradient.heads[part])
        if networks.hidden:
            np.matmul(results_gradient, networks.heads[part][:, :-1].swapaxes(-1, -2), out=signal[:, part])
    for k in reversed(range(len(networks.hidden))):
        tanh = activations.outputs[k + 1]
        signal *= 1 - tanh * tanh
        np.matmul(activations.inputs[k].swapaxes(-1, -2), signal, out=gradient.hidden[k])
        if k > 0:
            signal = np.matmul(signal, networks.hidden[k][:, :, :-1].swapaxes(-1, -2))
