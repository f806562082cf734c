"""Advantage actor-critic (A2C) of one model, its gradient written out in numpy.

The reference's users learn with an automatic gradient, which costs networks this small several times the
arithmetic; the written-out one keeps the learning out of the comparison as far as it goes. The values are
computed with the update alone, not with every answer, since only the update needs them.
"""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Layers = list[tuple[Floats, Floats]]

ACTOR_SIZES = 4, 16, 16, 2
CRITIC_SIZES = 4, 16, 16, 1
HIDDEN_GAIN, ACTION_GAIN, VALUE_GAIN = math.sqrt(2), 0.01, 1.0
N_STEPS, GAMMA, VF_COEF, MAX_GRAD_NORM = 5, 0.99, 0.5, 0.5
LEARNING_RATE, BETA1, BETA2, EPS = 7e-4, 0.9, 0.999, 1e-5


def n_weights(sizes: tuple[int, ...]) -> int:
    """Return how many weights a network of these sizes has."""
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))


def layers(sizes: tuple[int, ...], flat: Floats) -> Layers:
    """Return each layer's matrix and bias as views on `flat`, so that Adam can move all of them at once."""
    views = []
    for n_in, n_out in pairwise(sizes):
        matrix, bias, flat = np.split(flat, [n_in * n_out, (n_in + 1) * n_out])
        views.append((matrix.reshape(n_in, n_out), bias))
    return views


def orthogonal(network: Layers, last_gain: float, rng: np.random.Generator) -> None:
    """Fill a network's matrices (Saxe et al. 2013, arXiv 1312.6120)."""
    for matrix, _ in network:
        n_in, n_out = matrix.shape
        q, _ = np.linalg.qr(rng.standard_normal((max(n_in, n_out), min(n_in, n_out))))
        matrix[:] = (last_gain if matrix is network[-1][0] else HIDDEN_GAIN) * (q if n_in >= n_out else q.T)


def forward(network: Layers, signal: Floats) -> list[Floats]:
    """Return the input of each layer, and at last the output."""
    signals = [signal]
    for matrix, bias in network[:-1]:
        signals.append(np.tanh(signals[-1] @ matrix + bias))
    matrix, bias = network[-1]
    return [*signals, signals[-1] @ matrix + bias]


def backward(network: Layers, gradient: Layers, inputs: list[Floats], signal: Floats) -> None:
    """Write each layer's gradient, given the loss's by the output."""
    for i in reversed(range(len(network))):
        gradient[i][0][:] = inputs[i].T @ signal
        gradient[i][1][:] = signal.sum(axis=0)
        if i:
            signal = (signal @ network[i][0].T) * (1 - inputs[i] * inputs[i])


class Learner:
    """`act`, then `record` what came of it, in turn; every N_STEPS records an update comes before the answer."""

    def __init__(self, rng: np.random.Generator) -> None:
        n_actor, n_critic = n_weights(ACTOR_SIZES), n_weights(CRITIC_SIZES)
        self.weights, self.gradient, self.first, self.second = np.zeros((4, n_actor + n_critic), np.float32)
        both = self.weights, self.gradient
        self.actor, self.actor_gradient = (layers(ACTOR_SIZES, flat[:n_actor]) for flat in both)
        self.critic, self.critic_gradient = (layers(CRITIC_SIZES, flat[n_actor:]) for flat in both)
        orthogonal(self.actor, ACTION_GAIN, rng)
        orthogonal(self.critic, VALUE_GAIN, rng)
        self.n_updates = 0
        self.seen: list[Floats] = []
        self.came: list[tuple[int, float, bool]] = []

    def act(self, observation: Floats) -> Floats:
        """Return the logits of `observation`."""
        if len(self.came) == N_STEPS:
            self._update(observation)
        self.seen.append(observation)
        return forward(self.actor, observation)[-1]

    def record(self, action: int, reward: float, done: bool) -> None:
        """Take in what came of the swarm's action on the observation last seen."""
        self.came.append((action, reward, done))

    def _update(self, observation: Floats) -> None:
        *critic_inputs, values = forward(self.critic, np.stack([*self.seen, observation]))
        returns = np.empty(N_STEPS, np.float32)
        following = float(values[-1, 0])
        for t in reversed(range(N_STEPS)):
            _, reward, done = self.came[t]
            following = reward + GAMMA * following * (not done)
            returns[t] = following
        errors = values[:-1, 0] - returns
        *actor_inputs, logits = forward(self.actor, np.stack(self.seen))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        probabilities[np.arange(N_STEPS), [action for action, _, _ in self.came]] -= 1
        backward(self.actor, self.actor_gradient, actor_inputs, probabilities * (-errors[:, None] / N_STEPS))
        critic_inputs = [rows[:-1] for rows in critic_inputs]
        backward(self.critic, self.critic_gradient, critic_inputs, errors[:, None] * (2 * VF_COEF / N_STEPS))
        self._adam()
        self.seen.clear()
        self.came.clear()

    def _adam(self) -> None:
        """Move the weights (Kingma and Ba 2014, arXiv 1412.6980) against the gradient, cut to MAX_GRAD_NORM."""
        self.n_updates += 1
        self.gradient *= min(1.0, MAX_GRAD_NORM / (math.sqrt(self.gradient @ self.gradient) + 1e-6))
        self.first += (1 - BETA1) * (self.gradient - self.first)
        self.second += (1 - BETA2) * (self.gradient * self.gradient - self.second)
        correction = math.sqrt(1 - BETA2**self.n_updates)
        size = LEARNING_RATE / (1 - BETA1**self.n_updates)
        self.weights -= size * self.first / (np.sqrt(self.second) / correction + EPS)
