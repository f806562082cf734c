"""Advantage actor-critic (A2C) for a whole population; read `A2C` from `act` through `record` to `_update`.

Mnih et al. 2016, "Asynchronous Methods for Deep Reinforcement Learning" (arXiv 1602.01783), section 4, in its
synchronous form; the arithmetic is that of Stable-Baselines3's `A2C` with Adam. All models learn from the same
transitions; each has its own critic, and so its own returns and advantages. Rewards so small or large that a critic
could not learn their values, which begin near 1, are divided by their root mean square.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.advantages import gae
from swarmsim.learning.credit import credit_of, log_probs_of, pool_gradient, ratio
from swarmsim.learning.distributions import Distribution
from swarmsim.learning.hyperparameters import A2CSettings
from swarmsim.learning.learner import Learner, Losses, Transition, clip, require_finite
from swarmsim.learning.networks import ACTORS, CRITICS, Activations, Architecture, Floats, Networks, backward, forward

UPDATES_PER_MEASUREMENT = 16  # updates are small, and measuring the losses costs a part of one
PLAIN_REWARDS = 1e-2, 1e2  # root mean squares of rewards that are learned from as they are
RECORDED = "actions", "rewards", "dones", "active", "log_probs", "weights"  # arrays besides the activations


class Rollout:
    """Up to T steps of N environments in which P models have acted since their last update."""

    def __init__(self, architecture: Architecture, n_models: int, n_steps: int, n_envs: int) -> None:
        self.n_envs = n_envs
        self.n_steps = n_steps
        self.length = 0
        self._activations = Activations.empty(architecture, n_models, (n_steps + 1) * n_envs)
        # The values of the step after the last bootstrap the returns.
        self.steps = [self._activations.rows(t * n_envs, (t + 1) * n_envs) for t in range(n_steps + 1)]
        self._first_steps: dict[int, Activations] = {}
        distribution = architecture.distribution
        self.actions = np.empty((n_steps, n_envs, *distribution.action_shape), distribution.action_type)
        self.rewards = np.empty((n_steps, n_envs), np.float32)
        self.dones = np.empty((n_steps, n_envs), np.bool_)
        self.active = np.empty((n_steps, n_envs), np.bool_)
        self.log_probs = np.full((n_steps, n_envs), np.nan, np.float32)  # of the actions under the swarm's distribution
        self.weights = np.ones((n_steps, n_envs, n_models), np.float32)  # of the policy loss
        self.swarm_probabilities: list[Floats] = []  # (N, A) of each step, if the rule needs them
        self.bootstraps: dict[int, Floats] = {}  # (P, N) by step: γ V of final states of truncated episodes, else 0

    @property
    def next_step(self) -> Activations:
        return self.steps[self.length]

    def first_steps(self, number: int) -> Activations:
        """Return the activations of the first `number` steps as rows, environment by environment within each step."""
        if number not in self._first_steps:
            self._first_steps[number] = self._activations.rows(0, number * self.n_envs)
        return self._first_steps[number]

    def add(self, transition: Transition) -> None:
        self.actions[self.length] = transition.actions
        self.rewards[self.length] = transition.rewards
        np.logical_or(transition.terminated, transition.truncated, out=self.dones[self.length])
        self.active[self.length] = transition.active
        if transition.swarm_probabilities is not None:
            self.swarm_probabilities.append(transition.swarm_probabilities.astype(np.float32))
        self.length += 1

    def end_before(self, dropped: NDArray[np.bool_], discounted: Floats) -> None:
        """End episodes of the `dropped` (N,) environments at the last step, before states of `discounted` values."""
        last = self.length - 1
        if last >= 0 and (now := dropped & ~self.dones[last]).any():
            self.bootstraps[last] = self.bootstraps.get(last, np.float32(0)) + discounted * now
            self.dones[last] |= now

    def clear(self) -> None:
        self.length = 0
        self.bootstraps.clear()
        self.swarm_probabilities.clear()

    def state(self, n_acted: int) -> dict[str, Any]:
        """Return the recorded steps, and the observations of the `n_acted` steps that were acted in."""
        return {
            "n_envs": self.n_envs,
            "observations": self.first_steps(n_acted).outputs[0].copy(),
            **{name: getattr(self, name)[: self.length].copy() for name in RECORDED},
            "bootstraps": [[step, values] for step, values in self.bootstraps.items()],
            "swarm_probabilities": list(self.swarm_probabilities),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`; the activations but for the observations are to be computed again."""
        self.length = len(state["actions"])
        self._activations.outputs[0][: len(state["observations"])] = state["observations"]
        for name in RECORDED:
            getattr(self, name)[: self.length] = state.get(name, getattr(self, name)[: self.length])
        self.swarm_probabilities = [np.asarray(rows) for rows in state.get("swarm_probabilities", ())]
        self.bootstraps = {step: np.asarray(values) for step, values in state["bootstraps"]}


@dataclass(frozen=True)
class Batch:
    """B rows that P models learn from: actions (B,) or (B, D), row weights (B,) that sum to 1, and each model's own
    advantages, times its credit if that is joint, and returns, both (P, B).
    """

    actions: NDArray[Any]
    row_weights: Floats
    advantages: Floats
    returns: Floats
    ent_coef: Floats  # (P, 1)
    swarm_probabilities: Floats | None = None  # (B, A), of all actions, if the rule needs them

    def models(self, some: slice) -> "Batch":
        return replace(self, advantages=self.advantages[some], returns=self.returns[some], ent_coef=self.ent_coef[some])


class A2C(Learner):
    """P models that learn from every rollout of `n_steps` exactly once."""

    settings: A2CSettings

    def _make_room(self, n_envs: int) -> None:
        self._rollout = Rollout(self.architecture, len(self.weights), self.settings.n_steps, n_envs)

    @property
    def rollout_length(self) -> int:
        """Steps recorded since the last update."""
        return self._rollout.length

    def act(self, observations: Floats) -> Floats:
        if len(observations) != self._rollout.n_envs:
            self._make_room(len(observations))
        step = self._rollout.next_step
        step.outputs[0][:] = observations
        forward(ACTORS, self._networks, step)
        self.awaits_outcome = True
        return step.logits

    def record(self, transition: Transition) -> None:
        self.learn()
        if transition.final_observations is not None:
            cut_off = transition.truncated & ~transition.terminated
            final_values = self.evaluate(transition.final_observations).values[:, :, 0]
            discounted = np.float32(self.settings.gamma) * final_values
            self._rollout.bootstraps[self.rollout_length] = discounted * cut_off
            self._rollout.end_before(cut_off & ~transition.active, discounted)
        if self.settings.is_joint:
            self._credit(transition)
        self._rollout.add(transition)
        self.awaits_outcome = False

    def _credit(self, transition: Transition) -> None:
        """Weigh a step by each model's credit for it, and by the importance weight π̄ / μ where one model led."""
        rollout, (behaviour, swarm) = self._rollout, log_probs_of(transition)
        own = self.architecture.distribution.log_prob(rollout.next_step.logits, transition.actions)
        weights = credit_of(transition, own, swarm) * np.minimum(np.nan_to_num(ratio(swarm, behaviour), nan=1.0), 1)
        rollout.log_probs[rollout.length], rollout.weights[rollout.length] = swarm, weights.T

    @property
    def update_is_due(self) -> bool:
        return self.rollout_length == self._rollout.n_steps and self.awaits_outcome

    def learn(self) -> None:
        if self.update_is_due:
            observations = self._rollout.next_step.outputs[0]
            self._update()
            self.act(observations)  # again with the new weights, as the first step of the next rollout

    def finish(self, observations: Floats) -> None:
        if self.rollout_length > 0:
            self._rollout.next_step.outputs[0][:] = observations
            self._update()
        self.break_off()

    def _update(self) -> None:
        """Learn from the rollout, whose next step holds the observations after it."""
        rollout = self._rollout
        # The critics run only here: acting needs no values, and one pass over all steps reads their weights once.
        forward(CRITICS, self._networks, rollout.first_steps(rollout.length + 1))
        activations = rollout.first_steps(rollout.length)
        batch = self._batch(activations.values)
        if batch is not None:
            self._adam.begin_update()
            is_measured = self.training_state.n_updates[0] % UPDATES_PER_MEASUREMENT == 0
            for block in self._blocks:
                part = activations.models(block.models), batch.models(block.models)
                loss_gradient(block.networks, *part, self.settings.vf_coef, block.gradient_networks)
                if is_measured:
                    self.stats.add(losses(self.architecture.distribution, *part), block.gradient)
                try:
                    clip(block.gradient, self.settings.max_grad_norm)
                except FloatingPointError:
                    require_finite(rollout.first_steps(rollout.length + 1).outputs[0], "observations")
                    raise
                self._adam.step(block.models, block.gradient)
        rollout.clear()

    def _batch(self, values: Floats) -> Batch | None:
        """Return the recorded steps with advantages and returns, given their `values`; None if no row was active."""
        rollout, n_steps, n_models = self._rollout, self.rollout_length, len(self.weights)
        active = rollout.active[:n_steps].ravel()
        n_active = np.count_nonzero(active)
        if n_active == 0:
            return None
        rewards = self._scaled(rollout.rewards[:n_steps])
        if rollout.bootstraps:
            rewards = np.repeat(rewards[None], n_models, axis=0)
            for t, bootstraps in rollout.bootstraps.items():
                rewards[:, t] += bootstraps
        values = values.reshape(n_models, n_steps, rollout.n_envs)
        last_values = rollout.next_step.values[:, :, 0]
        gamma, gae_lambda = self.settings.gamma, self._of_each_model("gae_lambda")
        advantages, returns = (
            array.reshape(n_models, -1)
            for array in gae(rewards, values, rollout.dones[:n_steps], last_values, gamma, gae_lambda)
        )
        ent_coef = self._of_each_model("ent_coef").astype(np.float32)[:, None]
        if self.settings.is_joint:
            advantages = np.ascontiguousarray(rollout.weights[:n_steps].reshape(-1, n_models).T) * advantages
        actions = rollout.actions[:n_steps].reshape(n_steps * rollout.n_envs, *rollout.actions.shape[2:])
        row_weights = active.astype(np.float32) / np.float32(n_active)
        swarm = np.concatenate(rollout.swarm_probabilities) if rollout.swarm_probabilities else None
        return Batch(actions, row_weights, advantages, returns, ent_coef, swarm)

    def _scaled(self, rewards: Floats) -> Floats:
        """Count `rewards` (T, N), and return them in a unit that critics can learn.

        The unit ignores zeros, since rewards that are rare are not small.
        """
        self._count_rewards(rewards, int(np.count_nonzero(rewards)))
        low, high = PLAIN_REWARDS
        unit = self._reward_rms()
        return rewards if low <= unit <= high else rewards / np.float32(unit)

    def break_off(self) -> None:
        """Drop the steps that no update has used yet: the values of the states after them are not known."""
        self._rollout.clear()
        self.awaits_outcome = False

    def state(self) -> dict[str, Any]:
        n_acted = self.rollout_length + self.awaits_outcome
        return super().state() | {"rollout": self._rollout.state(n_acted), "awaits_outcome": self.awaits_outcome}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._make_room(state["rollout"]["n_envs"])
        self._rollout.restore(state["rollout"])
        self.awaits_outcome = state["awaits_outcome"]
        for step in self._rollout.steps[: self.rollout_length + self.awaits_outcome]:
            forward(ACTORS, self._networks, step)


def loss_gradient(
    networks: Networks, activations: Activations, batch: Batch, vf_coef: float, gradient: Networks
) -> None:
    """Write each model's gradient of its own loss into `gradient`, given the `activations` for the batch's rows.

    loss = Σ_b w_b (−A_b log π(a_b) − ent_coef H_b + vf_coef (R_b − V_b)²), with the row weights w (Mnih et al. 2016,
    algorithm S3, with the entropy term of section 4).
    """
    distribution = networks.architecture.distribution
    _, log_prob_gradient = distribution.log_prob_gradient(activations.logits, batch.actions)
    if batch.swarm_probabilities is not None:
        log_prob_gradient = pool_gradient(batch.actions, batch.swarm_probabilities)
    logits_gradient = np.multiply(-(batch.row_weights * batch.advantages)[:, :, None], log_prob_gradient, order="C")
    if batch.ent_coef.any():
        bonus = batch.ent_coef[:, :, None] * batch.row_weights[:, None]
        logits_gradient -= bonus * distribution.entropy_gradient(activations.logits)
    error = activations.values - batch.returns[:, :, None]
    values_gradient = (np.float32(2 * vf_coef) * batch.row_weights)[:, None] * error
    backward(networks, activations, logits_gradient, values_gradient, gradient)


def losses(distribution: Distribution, activations: Activations, batch: Batch) -> Losses:
    """Return the terms of the loss whose gradient `loss_gradient` writes."""
    log_probs = distribution.log_prob(activations.logits, batch.actions)
    errors = np.square(batch.returns - activations.values[:, :, 0])
    return Losses(
        policy_loss=-(batch.advantages * log_probs) @ batch.row_weights,
        value_loss=errors @ batch.row_weights,
        entropy=distribution.entropy(activations.logits) @ batch.row_weights,
    )
