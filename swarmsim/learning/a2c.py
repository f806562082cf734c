"""Advantage actor-critic (A2C) for a whole population: returns, gradients, the update.

Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning" (arXiv 1602.01783), in its
synchronous form; the arithmetic is that of Stable-Baselines3's `A2C` with Adam. All models learn from
the same transitions; each has its own values, so its own returns and advantages.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarmsim.learning.adam import TrainingState
from swarmsim.learning.distributions import Distribution
from swarmsim.learning.hyperparameters import A2CSettings
from swarmsim.learning.learner import Learner
from swarmsim.learning.networks import (
    ACTORS,
    CRITICS,
    Activations,
    Architecture,
    Floats,
    Networks,
    backward,
    forward,
)
from swarmsim.learning.rollout import Batch, Rollout, Transition
from swarmsim.learning.stats import Losses

CLIP_EPS = 1e-6
LOOKED_AT_EVERY = 16  # updates: they are small, and losses cost a part of them
MODELS_AT_ONCE = 128  # updated together: few enough for their numbers to stay in a core's cache, enough to fill a call


def loss_gradient(
    networks: Networks, activations: Activations, batch: Batch, settings: A2CSettings, gradient: Networks
) -> None:
    """Write into `gradient` each model's own, of its own loss, given its `activations` for the batch's rows.

    loss = Σ_b w_b (−A_b log π(a_b) − ent_coef H_b + vf_coef (R_b − V_b)²), with w the row weights.
    """
    distribution = networks.architecture.distribution
    _, towards_actions = distribution.log_prob_gradient(activations.logits, batch.actions)
    logits_gradient = np.multiply(-(batch.row_weights * batch.advantages)[:, :, None], towards_actions, order="C")
    if settings.ent_coef:
        bonus = np.float32(settings.ent_coef) * batch.row_weights[:, None]
        logits_gradient -= bonus * distribution.entropy_gradient(activations.logits)
    error = activations.values - batch.returns[:, :, None]
    values_gradient = (np.float32(2 * settings.vf_coef) * batch.row_weights)[:, None] * error
    backward(networks, activations, logits_gradient, values_gradient, gradient)


def losses(distribution: Distribution, activations: Activations, batch: Batch) -> Losses:
    """Return what each model's loss, of which `loss_gradient` is the gradient, is made of."""
    log_probs = distribution.log_prob(activations.logits, batch.actions)
    errors = np.square(batch.returns - activations.values[:, :, 0])
    return Losses(
        policy_loss=-(batch.advantages * log_probs) @ batch.row_weights,
        value_loss=errors @ batch.row_weights,
        entropy=distribution.entropy(activations.logits) @ batch.row_weights,
    )


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


class A2C(Learner):
    """P models that learn from every rollout of `n_steps` once, and from no other."""

    settings: A2CSettings

    def __init__(
        self,
        architecture: Architecture,
        settings: A2CSettings,
        generators: Sequence[np.random.Generator],
        keep: Callable[[TrainingState], TrainingState] = lambda memory: memory,
    ) -> None:
        super().__init__(architecture, settings, generators, keep)
        self.settings = settings
        self._blocks = list(blocks(architecture, self.weights))
        self._rollout = self._empty_rollout(n_envs=1)

    def _empty_rollout(self, n_envs: int) -> Rollout:
        return Rollout(self.architecture, len(self.weights), self.settings.n_steps, n_envs)

    @property
    def rollout_length(self) -> int:
        """Steps recorded since the last update."""
        return self._rollout.length

    def state(self) -> dict[str, Any]:
        n_rows = self.rollout_length + self.awaits_outcome
        return super().state() | {"rollout": self._rollout.state(n_rows), "awaits_outcome": self.awaits_outcome}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._rollout = self._empty_rollout(state["rollout"]["n_envs"])
        self._rollout.restore(state["rollout"])
        self.awaits_outcome = state["awaits_outcome"]
        for step in self._rollout.steps[: self.rollout_length + self.awaits_outcome]:
            forward(ACTORS, self._networks, step)

    def break_off(self) -> None:
        """Drop the steps that no update has used yet: what follows them is not known."""
        self._rollout.clear()
        self.awaits_outcome = False

    def act(self, observations: Floats) -> Floats:
        if len(observations) != self._rollout.n_envs:
            self._rollout = self._empty_rollout(len(observations))
        step = self._rollout.next_step
        step.outputs[0][:] = observations
        forward(ACTORS, self._networks, step)
        self.awaits_outcome = True
        return step.logits

    @property
    def update_is_due(self) -> bool:
        return self._rollout.is_complete and self.awaits_outcome

    def learn(self) -> None:
        if self.update_is_due:
            observations = self._rollout.next_step.outputs[0]
            self._update()
            self.act(observations)

    def record(self, transition: Transition) -> None:
        self.learn()
        if transition.final_observations is not None:
            cut_off = transition.truncated & ~transition.terminated
            final_values = self.evaluate(transition.final_observations).values[:, :, 0]
            self._rollout.bootstraps[self.rollout_length] = np.float32(self.settings.gamma) * final_values * cut_off
        self._rollout.add(transition)
        self.awaits_outcome = False

    def finish(self, observations: Floats) -> None:
        if self.rollout_length > 0:
            self._rollout.next_step.outputs[0][:] = observations
            self._update()
        self.break_off()

    def _update(self) -> None:
        """Learn from the rollout; its next step holds the observations after it.

        The critics see it only now, all steps at once: nobody waits for values, and their weights are read once.
        """
        forward(CRITICS, self._networks, self._rollout.seen)
        learnt = self._rollout.learnt_from(self.settings)
        if learnt is not None:
            activations, batch = learnt
            self._adam.begin_update()
            is_looked_at = self.training_state.n_updates[0] % LOOKED_AT_EVERY == 0
            for block in self._blocks:
                some = activations.models(block.models), batch.models(block.models)
                loss_gradient(block.networks, *some, self.settings, block.gradient_networks)
                if is_looked_at:
                    self.figures.add(losses(self.architecture.distribution, *some), block.gradient)
                clip(block.gradient, self.settings.max_grad_norm)
                self._adam.step(block.models, block.gradient)
        self._rollout.clear()


def blocks(architecture: Architecture, weights: Floats) -> Iterator[Block]:
    """Return the models whose `weights` (P, G) these are, as many at once as are updated together."""
    room = np.empty_like(weights[:MODELS_AT_ONCE])
    for start in range(0, len(weights), MODELS_AT_ONCE):
        models = slice(start, min(start + MODELS_AT_ONCE, len(weights)))
        gradient = room[: models.stop - models.start]
        yield Block(models, Networks(architecture, weights[models]), gradient, Networks(architecture, gradient))
