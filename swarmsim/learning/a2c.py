"""Advantage actor-critic (A2C) for a whole population: returns, gradients, the update.

Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning" (arXiv 1602.01783), in its
synchronous form; the arithmetic is that of Stable-Baselines3's `A2C` with Adam. All models learn from
the same transitions; each has its own values, so its own returns and advantages.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.aggregate import softmax
from swarmsim.learning.hyperparameters import A2CSettings
from swarmsim.learning.policy import Architecture, Floats, Forward, backward, forward, initial_weights

ADAM_BETAS = 0.9, 0.999
CLIP_EPS = 1e-6


@dataclass(frozen=True)
class Transition:
    """What came of one action in each of N environments.

    Attributes:
        actions: (N,) integers.
        rewards: (N,).
        terminated: (N,) booleans: the episode ended by the task's own rule.
        truncated: (N,) booleans: it was cut off, so the value of its last state still counts.
        final_observations: (N, n_inputs), of which the rows of ended episodes are used; None where none was truncated.
        active: (N,) booleans: False where an environment had no episode left to play.
    """

    actions: NDArray[np.int64]
    rewards: Floats
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: Floats | None
    active: NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """B rows that P models learn from: observations (B, n_inputs), actions (B,), row weights (B,) that sum to 1,
    and each model's own advantages and returns, both (P, B).
    """

    observations: Floats
    actions: NDArray[np.int64]
    row_weights: Floats
    advantages: Floats
    returns: Floats


def advantages_and_returns(
    rewards: Floats,
    values: Floats,
    dones: NDArray[np.bool_],
    last_values: Floats,
    gamma: float,
    gae_lambda: float,
) -> tuple[Floats, Floats]:
    """Return advantages and returns, both (P, T, N), of P models over T steps of N environments.

    Generalised advantage estimation (Schulman et al. 2015, arXiv 1506.02438, eq. 16):
    A_t = δ_t + γλ A_{t+1}, with δ_t = r_t + γ V(s_{t+1}) − V(s_t), both cut where an episode ended.

    Args:
        rewards: (P, T, N); each model's own, since a truncated episode's last reward carries γ V(final observation).
        values: (P, T, N), of the states acted in.
        dones: (T, N), whether step t ended its episode.
        last_values: (P, N), of the states after the last step.
    """
    n_steps = rewards.shape[1]
    advantages = np.empty_like(rewards)
    advantage = np.zeros_like(last_values)
    next_values = last_values
    for t in reversed(range(n_steps)):
        goes_on = (~dones[t]).astype(np.float32)
        delta = rewards[:, t] + np.float32(gamma) * next_values * goes_on - values[:, t]
        advantage = delta + np.float32(gamma * gae_lambda) * goes_on * advantage
        advantages[:, t] = advantage
        next_values = values[:, t]
    return advantages, advantages + values


def loss_gradient(architecture: Architecture, weights: Floats, batch: Batch, settings: A2CSettings) -> Floats:
    """Return each model's gradient (P, G) of its own loss.

    loss = Σ_b w_b (−A_b log π(a_b) − ent_coef H_b + vf_coef (R_b − V_b)²), with w the row weights. By the logits z,
    ∂(−log π(a))/∂z_k = π_k − [k = a] and ∂(−H)/∂z_k = π_k (log π_k + H).
    """
    passed = forward(architecture, weights, batch.observations)
    probabilities = softmax(passed.logits)
    scale = batch.row_weights * batch.advantages
    logits_gradient = scale[:, :, None] * probabilities
    logits_gradient[:, np.arange(batch.actions.size), batch.actions] -= scale
    if settings.ent_coef:
        log_probabilities = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        entropy = -(probabilities * log_probabilities).sum(axis=2, keepdims=True)
        bonus = np.float32(settings.ent_coef) * batch.row_weights[:, None]
        logits_gradient += bonus * probabilities * (log_probabilities + entropy)
    values_gradient = np.float32(2 * settings.vf_coef) * batch.row_weights * (passed.values - batch.returns)
    return backward(architecture, weights, passed, logits_gradient, values_gradient)


def clipped(gradient: Floats, max_norm: float) -> Floats:
    """Return each model's gradient, a row of (P, G), scaled down to `max_norm` where its norm is larger."""
    norms = np.sqrt((gradient * gradient).sum(axis=1, keepdims=True))
    return gradient * np.minimum(np.float32(1), np.float32(max_norm) / (norms + np.float32(CLIP_EPS)))


class Adam:
    """Adam (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1) on the weights of P models at once."""

    def __init__(self, shape: tuple[int, int], learning_rate: float, eps: float) -> None:
        self.learning_rate = learning_rate
        self.eps = eps
        self.n_updates = 0
        self.first_moment = np.zeros(shape, np.float32)
        self.second_moment = np.zeros(shape, np.float32)

    def step(self, weights: Floats, gradient: Floats) -> None:
        """Move `weights` (P, G) in place against `gradient` (P, G)."""
        beta1, beta2 = ADAM_BETAS
        self.n_updates += 1
        self.first_moment += np.float32(1 - beta1) * (gradient - self.first_moment)
        self.second_moment *= np.float32(beta2)
        self.second_moment += np.float32(1 - beta2) * (gradient * gradient)
        correction = np.float32(np.sqrt(1 - beta2**self.n_updates))
        size = np.float32(self.learning_rate / (1 - beta1**self.n_updates))
        weights -= size * self.first_moment / (np.sqrt(self.second_moment) / correction + np.float32(self.eps))


class A2C:
    """P models that act on the same observations, and learn from what came of the swarm's action.

    `act`, then `record` what came of it, in turn. Every `n_steps` records, all models are updated.
    """

    def __init__(
        self, architecture: Architecture, settings: A2CSettings, generators: Sequence[np.random.Generator]
    ) -> None:
        self.architecture = architecture
        self.settings = settings
        self.weights = initial_weights(architecture, generators)
        self._adam = Adam(self.weights.shape, settings.learning_rate, settings.adam_eps)
        self.forget_rollout()

    def forget_rollout(self) -> None:
        """Drop the steps that no update has used yet."""
        self._acted: list[tuple[Floats, Floats]] = []
        self._transitions: list[Transition] = []
        self._rewards: list[Floats] = []

    def evaluate(self, observations: Floats) -> Forward:
        """Return what the models say to `observations` (N, n_inputs); nothing changes by it."""
        return forward(self.architecture, self.weights, observations)

    def act(self, observations: Floats) -> Floats:
        """Return logits (P, N, A) for `observations` (N, n_inputs) that the next `record` completes."""
        if self.rollout_length >= self.settings.n_steps:
            self.update(observations)
        passed = self.evaluate(observations)
        self._acted = self._acted[: self.rollout_length]  # an action that was never taken taught nothing
        self._acted.append((observations, passed.values))
        return passed.logits

    @property
    def rollout_length(self) -> int:
        """Steps recorded since the last update."""
        return len(self._transitions)

    @property
    def awaits_outcome(self) -> bool:
        """Whether the last `act` still waits for its `record`."""
        return len(self._acted) > self.rollout_length

    def record(self, transition: Transition) -> None:
        """Take in what came of the last `act`."""
        rewards = np.broadcast_to(transition.rewards, (len(self.weights), transition.rewards.size)).copy()
        cut_off = transition.truncated & ~transition.terminated
        if transition.final_observations is not None and cut_off.any():
            final_values = self.evaluate(transition.final_observations).values
            rewards[:, cut_off] += np.float32(self.settings.gamma) * final_values[:, cut_off]
        self._transitions.append(transition)
        self._rewards.append(rewards)

    def update(self, observations: Floats) -> None:
        """Learn from the steps recorded since the last update; `observations` (N, n_inputs) are those after them."""
        if not self._transitions:
            return
        batch = self._batch(self.evaluate(observations).values)
        if batch is not None:
            gradient = loss_gradient(self.architecture, self.weights, batch, self.settings)
            self._adam.step(self.weights, clipped(gradient, self.settings.max_grad_norm))
        self.forget_rollout()

    def _batch(self, last_values: Floats) -> Batch | None:
        """Return the recorded steps as rows, environment by environment within each step; None where none counts."""
        n_models = len(self.weights)
        acted = self._acted[: self.rollout_length]
        active = np.stack([t.active for t in self._transitions]).ravel()
        if not active.any():
            return None
        advantages, returns = advantages_and_returns(
            rewards=np.stack(self._rewards, axis=1),
            values=np.stack([values for _, values in acted], axis=1),
            dones=np.stack([t.terminated | t.truncated for t in self._transitions]),
            last_values=last_values,
            gamma=self.settings.gamma,
            gae_lambda=self.settings.gae_lambda,
        )
        return Batch(
            observations=np.concatenate([observations for observations, _ in acted]),
            actions=np.concatenate([t.actions for t in self._transitions]),
            row_weights=active.astype(np.float32) / np.float32(active.sum()),
            advantages=advantages.reshape(n_models, -1),
            returns=returns.reshape(n_models, -1),
        )
