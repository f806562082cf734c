"""A population of actor-critic networks as stacked weights: P models, each one row of G genes.

Every model has its own actor and critic, two separate tanh networks, which differ in their last layer
alone: so the gradient of the layers before it is computed for both, and for all models, by one product of
stacked matrices each. Every product is its own, so what a model computes does not depend on how many others
share its array. The gradient is written out, since for networks this small the bookkeeping of an
automatic one costs several times the arithmetic.
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
    """The shape of every model of a population: an observation vector in, a policy's outputs and a value out.

    Attributes:
        n_actions: to choose from; or, of a `continuous` space, the numbers that make up one action.
    """

    n_inputs: int
    n_actions: int
    hidden: tuple[int, ...]
    continuous: bool = False
    actor: tuple[Layer, ...] = field(init=False)
    critic: tuple[Layer, ...] = field(init=False)

    def __post_init__(self) -> None:
        actor = tuple(_layers(self.n_inputs, self.hidden, self.distribution.n_outputs, ACTION_GAIN, start=0))
        critic = tuple(_layers(self.n_inputs, self.hidden, 1, VALUE_GAIN, start=actor[-1].end))
        object.__setattr__(self, "actor", actor)
        object.__setattr__(self, "critic", critic)

    @property
    def distribution(self) -> Distribution:
        """What the outputs of the actors mean."""
        return Gaussian(self.n_actions) if self.continuous else Categorical(self.n_actions)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, in the order of their genes."""
        return *self.actor, *self.critic

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
        heads: of the last layer, the actors' (P, n_inputs + 1, A) and the critics' (P, n_inputs + 1, 1).
        layers: of the actors and of the critics, all their layers, (P, n_inputs + 1, n_outputs) each.
    """

    def __init__(self, architecture: Architecture, genomes: Floats) -> None:
        self.architecture = architecture
        twins = zip(architecture.actor[:-1], architecture.critic[:-1], strict=True)
        self.hidden = [_side_by_side(genomes, actor, critic.start - actor.start) for actor, critic in twins]
        self.heads = architecture.actor[-1].matrices(genomes), architecture.critic[-1].matrices(genomes)
        self.layers = [[*(hidden[:, who] for hidden in self.hidden), self.heads[who]] for who in (ACTORS, CRITICS)]


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


class Activations:
    """What went into each layer of P models for B rows, and what came out at last: what a backward pass needs.

    Args and attributes:
        inputs: (B, n_inputs + 1), or (P, 1, B, n_inputs + 1) where each model sees rows of its own; then
            (P, 2, B, n + 1) for each hidden layer's output. The last column is 1, so that a bias is a weight like
            any other.
        logits: (P, B, n_outputs), of the actors: logits, or whatever their distribution makes of them.
        values: (P, B, 1), of the critics.

    Attributes:
        outputs: views on the inputs without that last column: the observations, then each hidden layer's output.
        layers: of the actors and of the critics, each layer's input and output.
    """

    def __init__(self, inputs: Sequence[Floats], logits: Floats, values: Floats) -> None:
        self.inputs, self.logits, self.values = inputs, logits, values
        self.outputs = [layer[..., :-1] for layer in inputs]
        first, *hidden = inputs
        self.layers = [
            list(
                zip(
                    (first if first.ndim == 2 else first[:, 0], *(layer[:, who] for layer in hidden)),
                    (*(layer[:, who] for layer in self.outputs[1:]), results),
                    strict=True,
                )
            )
            for who, results in ((ACTORS, logits), (CRITICS, values))
        ]

    @classmethod
    def empty(
        cls, architecture: Architecture, n_models: int, n_rows: int, *, of_its_own: bool = False
    ) -> "Activations":
        """Return room for `n_rows` (B) rows, which all models share, or of which each has others, `of_its_own`."""
        first = (n_models, 1, n_rows) if of_its_own else (n_rows,)
        hidden = (np.ones((n_models, 2, n_rows, size + 1), np.float32) for size in architecture.hidden)
        return cls(
            (np.ones((*first, architecture.n_inputs + 1), np.float32), *hidden),
            np.empty((n_models, n_rows, architecture.distribution.n_outputs), np.float32),
            np.empty((n_models, n_rows, 1), np.float32),
        )

    def rows(self, start: int, stop: int) -> "Activations":
        """Return a view on some of the rows."""
        first, *hidden = self.inputs
        return Activations(
            (first[..., start:stop, :], *(layer[:, :, start:stop] for layer in hidden)),
            self.logits[:, start:stop],
            self.values[:, start:stop],
        )

    def models(self, some: slice) -> "Activations":
        """Return a view on some of the models."""
        first, *hidden = self.inputs
        first = first if first.ndim == 2 else first[some]
        return Activations((first, *(layer[some] for layer in hidden)), self.logits[some], self.values[some])


def forward(who: int, networks: Networks, activations: Activations) -> None:
    """Have the ACTORS or the CRITICS of P models see the observations in `activations`, and keep there all of it."""
    *hidden, head = zip(networks.layers[who], activations.layers[who], strict=True)
    for matrices, (signal, output) in hidden:
        np.tanh(np.matmul(signal, matrices), out=output)
    matrices, (signal, output) = head
    np.matmul(signal, matrices, out=output)


def backward(
    networks: Networks, activations: Activations, logits_gradient: Floats, values_gradient: Floats, gradient: Networks
) -> None:
    """Write into `gradient` that of a loss, given its gradient by the outputs (P, B, n_outputs) and values (P, B, 1).

    Backpropagation, from the last layer to the first (Rumelhart et al. 1986).
    """
    signal = np.empty(activations.outputs[-1].shape, np.float32)
    for who, results_gradient in ((ACTORS, logits_gradient), (CRITICS, values_gradient)):
        head_input, _ = activations.layers[who][-1]
        np.matmul(head_input.swapaxes(-1, -2), results_gradient, out=gradient.heads[who])
        if networks.hidden:
            np.matmul(results_gradient, networks.heads[who][:, :-1].swapaxes(-1, -2), out=signal[:, who])
    for k in reversed(range(len(networks.hidden))):
        tanh = activations.outputs[k + 1]
        signal *= 1 - tanh * tanh
        np.matmul(activations.inputs[k].swapaxes(-1, -2), signal, out=gradient.hidden[k])
        if k > 0:
            signal = np.matmul(signal, networks.hidden[k][:, :, :-1].swapaxes(-1, -2))
