"""Stacked multilayer perceptrons with rectified units: forward, backward, and the gradient by the inputs.

Each of P models has K networks of one shape. A stack multiplies each matrix separately, as in `networks`, so a model's
results do not depend on how many others share its array.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from swarmsim.learning.networks import Floats, Layer


class Perceptrons:
    """The matrices of K networks of each of P models, layer by layer, each (P, K, n_inputs + 1, n_outputs).

    They are views of an array of `genomes` (P, G), which may be weights or a gradient.

    Args:
        networks: each network's layers; all have one shape, and their genes lie at equal distances.
    """

    def __init__(self, networks: Sequence[Sequence[Layer]], genomes: Floats) -> None:
        self.layers = list(networks[0])
        self.n_models, self.n_networks = len(genomes), len(networks)
        distance = networks[-1][0].start - networks[0][0].start
        step = distance // max(self.n_networks - 1, 1) * genomes.itemsize
        self.matrices = []
        for layer in self.layers:
            shape = self.n_models, self.n_networks, layer.n_inputs + 1, layer.n_outputs
            strides = genomes.strides[0], step, layer.n_outputs * genomes.itemsize, genomes.itemsize
            first = genomes[:, layer.start : layer.end]
            self.matrices.append(np.lib.stride_tricks.as_strided(first, shape, strides))

    def signals(self, n_rows: int, *, are_shared: bool = False) -> "Signals":
        """Return room for `n_rows` (B) rows of each model's own, or rows that all models share."""
        n_inputs, *hidden = (layer.n_inputs for layer in self.layers)
        inputs = [np.ones((1 if are_shared else self.n_models, 1, n_rows, n_inputs + 1), np.float32)]
        inputs += [np.ones((self.n_models, self.n_networks, n_rows, size + 1), np.float32) for size in hidden]
        n_outputs = self.layers[-1].n_outputs
        return Signals(inputs, np.empty((self.n_models, self.n_networks, n_rows, n_outputs), np.float32))

    def forward(self, signals: "Signals") -> Floats:
        """Return the outputs (P, K, B, n_outputs) for the inputs in `signals`, and write all layers' there."""
        results = [*(hidden[..., :-1] for hidden in signals.inputs[1:]), signals.outputs]
        for matrices, inputs, result in zip(self.matrices, signals.inputs, results, strict=True):
            np.matmul(inputs, matrices, out=result)
            if result is not signals.outputs:
                np.maximum(result, 0, out=result)
        return signals.outputs

    def backward(self, signals: "Signals", outputs_gradient: Floats, gradient: "Perceptrons") -> None:
        """Write a loss's gradient into `gradient`, given the one by the outputs (P, K, B, n_outputs).

        Backpropagation, from the last layer to the first (Rumelhart et al. 1986).
        """
        for k, signal in self._backpropagated(signals, outputs_gradient):
            np.matmul(signals.inputs[k].swapaxes(-1, -2), signal, out=gradient.matrices[k])

    def inputs_gradient(self, signals: "Signals", outputs_gradient: Floats) -> Floats:
        """Return a loss's gradient by the inputs (P, K, B, n_inputs), given the one by the outputs."""
        *_, (_, signal) = self._backpropagated(signals, outputs_gradient)
        return np.matmul(signal, self.matrices[0][..., :-1, :].swapaxes(-1, -2))

    def _backpropagated(self, signals: "Signals", signal: Floats) -> Iterator[tuple[int, Floats]]:
        """Yield each layer's number and the gradient by its results before rectification, from the last layer on."""
        for k in reversed(range(len(self.matrices))):
            yield k, signal
            if k > 0:
                signal = np.matmul(signal, self.matrices[k][..., :-1, :].swapaxes(-1, -2))
                signal *= signals.inputs[k][..., :-1] > 0


class Signals:
    """Each layer's inputs of P models for B rows, and the outputs: what a backward pass needs.

    Args:
        inputs: (P, 1, B, n_inputs + 1), or (1, 1, B, n_inputs + 1) of rows that all models share; then
            (P, K, B, n + 1) for each hidden layer's output. The last column is 1, so that a bias is a weight.
        outputs: (P, K, B, n_outputs).
    """

    def __init__(self, inputs: Sequence[Floats], outputs: Floats) -> None:
        self.inputs, self.outputs = inputs, outputs

    def rows(self, start: int, stop: int) -> "Signals":
        """Return a view of some rows."""
        return Signals([layer[:, :, start:stop] for layer in self.inputs], self.outputs[:, :, start:stop])

    def write(self, *columns: Floats) -> None:
        """Make `columns`, each (…, B, n), the inputs, side by side."""
        start = 0
        for column in columns:
            end = start + column.shape[-1]
            self.inputs[0][:, 0, :, start:end] = column
            start = end
