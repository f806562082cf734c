"""Advantage actor-critic (A2C) for a whole population: returns, gradients, the update.

Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning" (arXiv 1602.01783), in its
synchronous form; the arithmetic is that of Stable-Baselines3's `A2C` with Adam. All models learn from
the same transitions; each has its own values, so its own returns and advantages.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarmsim.learning.adam import Adam, Memory
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
from swarmsim.learning.rollout import Batch, Rollout, Transition

CLIP_EPS = 1e-6
MODELS_AT_ONCE = 128  # updated together: few enough for their numbers to stay in a core's cache, enough to fill a call


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

    Args:
        generators: of each model, for its first weights.
        keep: gets the models' memory as it is at first, and returns the one to use: another place, perhaps, in
            which it has been kept since an earlier time.

    Attributes:
        weights: (P, G); to be changed in place only.
        awaits_outcome: whether the last `act` still waits for its `record`.
    """

    def __init__(
        self,
        architecture: Architecture,
        settings: A2CSettings,
        generators: Sequence[np.random.Generator],
        keep: Callable[[Memory], Memory] = lambda memory: memory,
    ) -> None:
        self.architecture = architecture
        self.settings = settings
        self._memory = keep(Memory.of(initial_weights(architecture, generators)))
        self.weights = self._memory.weights
        self._networks = Networks(architecture, self.weights)
        self._adam = Adam(self._memory, settings.learning_rate, settings.adam_eps)
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

    def state(self) -> dict[str, Any]:
        """Return all that the models are, so that `restore` makes others of the same shape go on as these would."""
        n_rows = self.rollout_length + self.awaits_outcome
        return {name: array.copy() for name, array in vars(self._memory).items()} | {
            "rollout": self._rollout.state(n_rows),
            "awaits_outcome": self.awaits_outcome,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` told."""
        for name, array in vars(self._memory).items():
            array[:] = state[name]
        self._rollout = self._empty_rollout(state["rollout"]["n_envs"])
        self._rollout.restore(state["rollout"])
        self.awaits_outcome = state["awaits_outcome"]
        for step in self._rollout.steps[: self.rollout_length + self.awaits_outcome]:
            forward(ACTORS, self._networks, step)

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
