"""Advantage actor-critic (A2C) for a whole population: returns, gradients, the update.

Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning" (arXiv 1602.01783), in its
synchronous form; the arithmetic is that of Stable-Baselines3's `A2C` with Adam. All models learn from
the same transitions; each has its own values, so its own returns and advantages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.adam import Adam
from swarmsim.learning.aggregate import softmax
from swarmsim.learning.hyperparameters import A2CSettings
from swarmsim.learning.policy import (
    ACTORS,
    CRITICS,
    Activations,
    Architecture,
    Floats,
    Networks,
    backward,
    forward,
    initial_weights,
)

CLIP_EPS = 1e-6
MODELS_AT_ONCE = 128  # updated together: few enough for their numbers to stay in a core's cache, enough to fill a call


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
    """B rows that P models learn from: actions (B,), row weights (B,) that sum to 1, and each model's own
    advantages and returns, both (P, B).
    """

    actions: NDArray[np.int64]
    row_weights: Floats
    advantages: Floats
    returns: Floats

    def models(self, some: slice) -> "Batch":
        """Return the same rows for some of the models."""
        return Batch(self.actions, self.row_weights, self.advantages[some], self.returns[some])


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
        rewards: (T, N), or (P, T, N) where they differ by model.
        values: (P, T, N), of the states acted in.
        dones: (T, N), whether step t ended its episode.
        last_values: (P, N), of the states after the last step.
    """
    discount = np.where(dones, np.float32(0), np.float32(gamma))
    next_values = np.concatenate((values[:, 1:], last_values[:, None]), axis=1)
    advantages = discount * next_values + rewards - values
    carried = discount * np.float32(gae_lambda)
    for t in range(len(dones) - 2, -1, -1):
        advantages[:, t] += carried[t] * advantages[:, t + 1]
    return advantages, advantages + values


def loss_gradient(
    networks: Networks, activations: Activations, batch: Batch, settings: A2CSettings, gradient: Networks
) -> None:
    """Write into `gradient` each model's own, of its own loss, given its `activations` for the batch's rows.

    loss = Σ_b w_b (−A_b log π(a_b) − ent_coef H_b + vf_coef (R_b − V_b)²), with w the row weights. By the logits z,
    ∂(−log π(a))/∂z_k = π_k − [k = a] and ∂(−H)/∂z_k = π_k (log π_k + H).
    """
    probabilities = softmax(activations.logits)
    scale = (batch.row_weights * batch.advantages)[:, :, None]
    taken = batch.actions[:, None] == np.arange(probabilities.shape[2])
    logits_gradient = np.multiply(scale, probabilities - taken, order="C")
    if settings.ent_coef:
        log_probabilities = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        entropy = -(probabilities * log_probabilities).sum(axis=2, keepdims=True)
        bonus = np.float32(settings.ent_coef) * batch.row_weights[:, None]
        logits_gradient += bonus * probabilities * (log_probabilities + entropy)
    error = activations.values - batch.returns[:, :, None]
    values_gradient = (np.float32(2 * settings.vf_coef) * batch.row_weights)[:, None] * error
    backward(networks, activations, logits_gradient, values_gradient, gradient)


def clip(gradient: Floats, max_norm: float) -> None:
    """Scale each model's gradient, a row of (P, G), down to `max_norm` where its norm is larger."""
    norms = np.sqrt(np.einsum("pg,pg->p", gradient, gradient))
    gradient *= np.minimum(np.float32(1), np.float32(max_norm) / (norms + np.float32(CLIP_EPS)))[:, None]


class Rollout:
    """Up to T steps of N environments that P models have acted in since their last update, and what came of them.

    Attributes:
        steps: room for each step's activations, and for those of the step after the last, whose values are
            the estimate of all that follows.
        seen: the activations of all steps acted in so far, and of the next one, as rows.
        bootstraps: (P, N) by step, what is added to the rewards of episodes that were cut off in it.
    """

    def __init__(self, architecture: Architecture, n_models: int, n_steps: int, n_envs: int) -> None:
        self.n_envs = n_envs
        self.n_steps = n_steps
        self.length = 0
        self.bootstraps: dict[int, Floats] = {}
        self._activations = Activations.empty(architecture, n_models, (n_steps + 1) * n_envs)
        self.steps = [self._activations.rows(t * n_envs, (t + 1) * n_envs) for t in range(n_steps + 1)]
        self._actions = np.empty((n_steps, n_envs), np.int64)
        self._rewards = np.empty((n_steps, n_envs), np.float32)
        self._dones = np.empty((n_steps, n_envs), np.bool_)
        self._active = np.empty((n_steps, n_envs), np.bool_)

    @property
    def is_complete(self) -> bool:
        return self.length == self.n_steps

    @property
    def next_step(self) -> Activations:
        """Room for the step that is acted in next."""
        return self.steps[self.length]

    @property
    def seen(self) -> Activations:
        return self._activations.rows(0, (self.length + 1) * self.n_envs)

    def add(self, transition: Transition) -> None:
        """Take in what came of the step that was acted in last."""
        self._actions[self.length] = transition.actions
        self._rewards[self.length] = transition.rewards
        np.logical_or(transition.terminated, transition.truncated, out=self._dones[self.length])
        self._active[self.length] = transition.active
        self.length += 1

    def clear(self) -> None:
        self.length = 0
        self.bootstraps.clear()

    def learnt_from(self, settings: A2CSettings) -> tuple[Activations, Batch] | None:
        """Return the recorded steps as rows, environment by environment within each step; None where none counts.

        The critics must have seen all of them, and the step after them.
        """
        n_steps = self.length
        active = self._active[:n_steps].ravel()
        n_active = np.count_nonzero(active)
        if n_active == 0:
            return None
        activations = self._activations.rows(0, n_steps * self.n_envs)
        n_models = len(activations.values)
        rewards = self._rewards[:n_steps]
        if self.bootstraps:
            rewards = np.repeat(rewards[None], n_models, axis=0)
            for t, values in self.bootstraps.items():
                rewards[:, t] += values
        advantages, returns = advantages_and_returns(
            rewards,
            values=activations.values.reshape(n_models, n_steps, self.n_envs),
            dones=self._dones[:n_steps],
            last_values=self.next_step.values[:, :, 0],
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
        )
        return activations, Batch(
            actions=self._actions[:n_steps].ravel(),
            row_weights=active.astype(np.float32) / np.float32(n_active),
            advantages=advantages.reshape(n_models, -1),
            returns=returns.reshape(n_models, -1),
        )


@dataclass(frozen=True)
class Block:
    """Some of the models, which are updated at once: their weights, and room for their gradient."""

    models: slice
    networks: Networks
    gradient: Floats
    gradient_networks: Networks


class A2C:
    """P models that act on the same observations, and learn from what came of the swarm's action.

    `act`, then `record` what came of it, in turn. Once `n_steps` are recorded, the models act once more, on the
    observation after them, and only then are they updated: so nobody waits for an update who waits for an
    action. That action is of the weights before the update; what is learnt from it later is of those after it.

    Attributes:
        weights: (P, G); to be changed in place only.
        awaits_outcome: whether the last `act` still waits for its `record`.
    """

    def __init__(
        self, architecture: Architecture, settings: A2CSettings, generators: Sequence[np.random.Generator]
    ) -> None:
        self.architecture = architecture
        self.settings = settings
        self.weights = initial_weights(architecture, generators)
        self._networks = Networks(architecture, self.weights)
        self._adam = Adam(self.weights, settings.learning_rate, settings.adam_eps)
        self._blocks = list(_blocks(architecture, self.weights))
        self._rollout = self._empty_rollout(n_envs=1)
        self._looked_at = Activations.empty(architecture, len(self.weights), n_rows=1)
        self.awaits_outcome = False

    def _empty_rollout(self, n_envs: int) -> Rollout:
        return Rollout(self.architecture, len(self.weights), self.settings.n_steps, n_envs)

    @property
    def rollout_length(self) -> int:
        """Steps recorded since the last update."""
        return self._rollout.length

    def forget_rollout(self) -> None:
        """Drop the steps that no update has used yet."""
        self._rollout.clear()
        self.awaits_outcome = False

    def evaluate(self, observations: Floats) -> Activations:
        """Return what the models say to `observations` (N, n_inputs), until asked again; nothing changes by it."""
        if len(observations) != len(self._looked_at.inputs[0]):
            self._looked_at = Activations.empty(self.architecture, len(self.weights), len(observations))
        self._looked_at.outputs[0][:] = observations
        for who in (ACTORS, CRITICS):
            forward(who, self._networks, self._looked_at)
        return self._looked_at

    def act(self, observations: Floats) -> Floats:
        """Return logits (P, N, A) for `observations` (N, n_inputs) that the next `record` completes.

        They are a view, which holds until the models act or learn again. An action that was never taken taught nothing.
        """
        if len(observations) != self._rollout.n_envs:
            self._rollout = self._empty_rollout(len(observations))
        step = self._rollout.next_step
        step.outputs[0][:] = observations
        forward(ACTORS, self._networks, step)
        self.awaits_outcome = True
        return step.logits

    @property
    def update_is_due(self) -> bool:
        """Whether a rollout is complete and followed by an `act`, which then begins the next one."""
        return self._rollout.is_complete and self.awaits_outcome

    def learn(self) -> None:
        """Update the models if that is due; `record` sees to it at the latest, but it need not wait so long."""
        if self.update_is_due:
            observations = self._rollout.next_step.outputs[0]
            self._update()
            self.act(observations)

    def record(self, transition: Transition) -> None:
        """Take in what came of the last `act`."""
        self.learn()
        if transition.final_observations is not None:
            cut_off = transition.truncated & ~transition.terminated
            final_values = self.evaluate(transition.final_observations).values[:, :, 0]
            self._rollout.bootstraps[self.rollout_length] = np.float32(self.settings.gamma) * final_values * cut_off
        self._rollout.add(transition)
        self.awaits_outcome = False

    def finish(self, observations: Floats) -> None:
        """Learn from the steps recorded since the last update; `observations` (N, n_inputs) are those after them."""
        if self.rollout_length > 0:
            self._rollout.next_step.outputs[0][:] = observations
            self._update()
        self.forget_rollout()

    def _update(self) -> None:
        """Learn from the rollout; its next step holds the observations after it.

        The critics see it only now, all steps at once: nobody waits for values, and their weights are read once.
        """
        forward(CRITICS, self._networks, self._rollout.seen)
        learnt = self._rollout.learnt_from(self.settings)
        if learnt is not None:
            activations, batch = learnt
            self._adam.begin_update()
            for block in self._blocks:
                some = activations.models(block.models), batch.models(block.models)
                loss_gradient(block.networks, *some, self.settings, block.gradient_networks)
                clip(block.gradient, self.settings.max_grad_norm)
                self._adam.step(block.models, block.gradient)
        self._rollout.clear()


def _blocks(architecture: Architecture, weights: Floats) -> Iterator[Block]:
    room = np.empty_like(weights[:MODELS_AT_ONCE])
    for start in range(0, len(weights), MODELS_AT_ONCE):
        models = slice(start, min(start + MODELS_AT_ONCE, len(weights)))
        gradient = room[: models.stop - models.start]
        yield Block(models, Networks(architecture, weights[models]), gradient, Networks(architecture, gradient))
