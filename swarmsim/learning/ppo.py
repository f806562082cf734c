"""Proximal policy optimisation (PPO) on replayed experience of the swarm, corrected by V-trace, for a whole population.

Read `PPO` from `act` through `record` to `_update`. The replayed actions are the swarm's, not the model's own, and some
are old. So each model computes advantages and value targets by V-trace (Espeholt et al. 2018, arXiv 1802.01561)
against the probability that the swarm gave to its action, and the clipped objective (Schulman et al. 2017, arXiv
1707.06347, eq. 7) keeps each update near the policy before it. As that proximal policy is not the behaviour policy,
this is the decoupled objective of Hilton et al. 2021 (arXiv 2110.00641, section 3). What is improved is the swarm's
policy, of whose gradient each model gets its part (credit.py). Each model draws its own minibatches, as in bagging
(Breiman 1996), so that models with the same experience stay different.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.advantages import vtrace
from swarmsim.learning.credit import pool_gradient, ratio
from swarmsim.learning.distributions import Distribution
from swarmsim.learning.hyperparameters import PPOSettings
from swarmsim.learning.learner import Block, Learner, Losses, Transition, clip, require_finite
from swarmsim.learning.networks import ACTORS, CRITICS, Activations, Floats, Networks, backward, forward
from swarmsim.learning.replay import Replay
from swarmsim.learning.seeding import restore_rng, rng_state

DUAL_CLIP = 3.0  # the ratio beyond which a bad action has no gradient: narrow densities set no other bound
ROWS_PER_PASS = 512  # of the replay, evaluated at once: few enough for a core's cache, and for memory


@dataclass(frozen=True)
class Minibatch:
    """Rows to learn from, each model's own: actions (P, B) or (P, B, D), the others (P, B)."""

    actions: NDArray[Any]
    log_probs: Floats
    advantages: Floats
    value_targets: Floats
    weights: Floats
    clip_range: Floats  # (P, 1)
    ent_coef: Floats  # (P, 1)
    swarm_probabilities: Floats | None = None  # (P, B, A), of all actions, if the rule needs them


@dataclass(frozen=True)
class TrainingBatch:
    """The replay's B rows as one update sees them, computed before its first minibatch."""

    observations: Floats  # (B, n_inputs)
    actions: NDArray[Any]  # (B,) or (B, D)
    rows: NDArray[np.int64]  # the active ones, from which minibatches are drawn
    log_probs: Floats  # (P, B), before the update
    advantages: Floats  # (P, B), normalised
    value_targets: Floats  # (P, B), by V-trace
    weights: Floats  # (P, B), of the policy loss: importance weights ρ, times P times the contribution if joint
    clip_range: Floats  # (P, 1), each model's own
    ent_coef: Floats  # (P, 1), of each model's own entropy
    swarm_probabilities: Floats | None  # (B, A), of all actions when they were taken, if the rule needs them

    def minibatch(self, models: slice, indices: NDArray[np.int64]) -> Minibatch:
        """Return the rows `indices` (P, B) of some models."""
        rows = np.arange(models.start, models.stop)[:, None], indices
        own = self.log_probs[rows], self.advantages[rows], self.value_targets[rows], self.weights[rows]
        swarm = None if self.swarm_probabilities is None else self.swarm_probabilities[indices]
        return Minibatch(self.actions[indices], *own, self.clip_range[models], self.ent_coef[models], swarm)


class PPO(Learner):
    """P models that learn again and again from the latest `replay_size` transitions."""

    has_cumulative_advantage = True
    settings: PPOSettings

    @cached_property
    def _minibatch(self) -> Activations:
        block_size = len(self._blocks[0].gradient)
        return Activations.empty(self.architecture, block_size, self.settings.batch_size, per_model=True)

    @cached_property
    def _evaluation_buffer(self) -> Activations:
        return self._activations(ROWS_PER_PASS)

    def _make_room(self, n_envs: int) -> None:
        n_steps = max(self.settings.replay_size // n_envs, self.settings.n_steps)
        self._replay = Replay(self.architecture, len(self.weights), n_steps, n_envs, is_joint=self.settings.is_joint)
        self._acted = self._activations(n_envs)

    def act(self, observations: Floats) -> Floats:
        if len(observations) != self._replay.n_envs:
            self._make_room(len(observations))
        self._acted.outputs[0][:] = observations
        forward(ACTORS, self._networks, self._acted)
        self.awaits_outcome = True
        return self._acted.logits

    def record(self, transition: Transition) -> None:
        self.learn()
        rewards = transition.rewards[transition.active]
        self._count_rewards(rewards, rewards.size)
        self._replay.add(self._acted.outputs[0], transition, self._acted.logits)
        self.awaits_outcome = False

    @property
    def update_is_due(self) -> bool:
        """Whether the new steps are a large enough fraction of all steps so far."""
        n_seen, n_envs = self.training_state.reward_count_and_squares[0], self._replay.n_envs
        return self.awaits_outcome and self._replay.n_new >= self.settings.steps_between_updates(n_seen, n_envs)

    def learn(self) -> None:
        if self.update_is_due:
            self._update(self._acted.outputs[0])

    def finish(self, observations: Floats) -> None:
        if self._replay.n_new > 0:
            self._update(observations)
        self.break_off()

    def _update(self, next_observations: Floats) -> None:
        """Learn from the replay, which `next_observations` (N, n_inputs) follow."""
        batch = self._training_batch(next_observations)
        self._replay.n_new = 0
        if batch is None:
            return
        shape = self.settings.n_batches, self.settings.batch_size
        drawn = np.stack([rng.integers(len(batch.rows), size=shape) for rng in self._generators], axis=1)
        for number, indices in enumerate(batch.rows[drawn], 1):
            self._adam.begin_update()
            for block in self._blocks:
                is_measured = number == self.settings.n_batches
                self._compute_gradient(batch, block, indices[block.models], is_measured=is_measured)
                self._adam.step(block.models, block.gradient)
            self.on_minibatch()

    def _training_batch(self, next_observations: Floats) -> TrainingBatch | None:
        """Return the replay with advantages and value targets; None if no row is active."""
        steps = self._replay.steps
        n_steps, n_envs = steps.rewards.shape
        n_rows = n_steps * n_envs
        active = np.flatnonzero(steps.active)
        if not active.size:
            return None
        # Evaluate the steps, the observations after them, and the final observations of truncated episodes.
        finals = self._replay.final_observations
        observations = np.concatenate((steps.observations.reshape(n_rows, -1), next_observations, *finals.values()))
        require_finite(observations, "observations")
        outputs, values = self._evaluate_rows(observations, n_rows)
        next_values = values[:, n_envs : n_rows + n_envs].reshape(-1, n_steps, n_envs).copy()
        for number, step in enumerate(finals):
            start = n_rows + (1 + number) * n_envs
            ends = steps.ends[step]
            next_values[:, step, ends] = values[:, start : start + n_envs][:, ends]
        next_values *= ~steps.terminated

        actions = steps.actions.reshape(n_rows, *steps.actions.shape[2:])
        log_probs = self.architecture.distribution.log_prob(outputs, actions)
        behaviour, credit = (
            np.ascontiguousarray(array.reshape(n_rows, -1).T) for array in (steps.behaviour, steps.credit)
        )
        ratios = ratio(log_probs, behaviour)
        weights = np.minimum(ratios, np.float32(self.settings.rho_clip)) * credit
        advantages, value_targets = vtrace(
            steps.rewards * np.float32(self._reward_scale(self.settings.normalize_rewards)),
            values[:, :n_rows].reshape(-1, n_steps, n_envs),
            next_values,
            steps.ends,
            ratios.reshape(-1, n_steps, n_envs),
            self.settings.gamma,
            self._of_each_model("gae_lambda"),
            self.settings.rho_clip,
        )
        require_finite(value_targets)
        advantages = self._normalized(advantages.reshape(-1, n_rows), active)
        new = active[active >= (n_steps - self._replay.n_new) * n_envs]
        cumulative = self.training_state.cumulative_advantage
        cumulative += np.take(weights * advantages, new, axis=1).sum(axis=1)
        clip_range, ent_coef = (
            self._of_each_model(name).astype(np.float32)[:, None] for name in ("clip_range", "ent_coef")
        )
        ent_coef *= np.float32(self.settings.entropy_decay(self.training_state.reward_count_and_squares[0]))
        return TrainingBatch(
            observations,
            actions,
            active,
            log_probs,
            advantages,
            value_targets.reshape(-1, n_rows),
            weights,
            clip_range,
            ent_coef,
            steps.swarm_probabilities.reshape(n_rows, -1) if steps.swarm_probabilities.size else None,
        )

    def _evaluate_rows(self, observations: Floats, n_acted: int) -> tuple[Floats, Floats]:
        """Return the actors' outputs for the first `n_acted` of `observations` (B, n_inputs), and all values (P, B)."""
        n_models, n_outputs = len(self.weights), self.architecture.distribution.n_outputs
        outputs = np.empty((n_models, n_acted, n_outputs), np.float32)
        values = np.empty((n_models, len(observations)), np.float32)
        for start in range(0, len(observations), ROWS_PER_PASS):
            some = slice(start, start + ROWS_PER_PASS)
            rows = observations[some]
            activations = self._evaluation_buffer.rows(0, len(rows))
            activations.outputs[0][:] = rows
            forward(CRITICS, self._networks, activations)
            values[:, some] = activations.values[:, :, 0]
            if start < n_acted:
                forward(ACTORS, self._networks, activations)
                outputs[:, some] = activations.logits[:, : n_acted - start]
        return outputs, values

    def _normalized(self, advantages: Floats, rows: NDArray[np.int64]) -> Floats:
        """Return `advantages` (P, B) with mean 0 and standard deviation 1 over the active `rows`.

        A standard deviation far below the largest so far is noise, as in a solved task, and is not blown up to 1.
        """
        used = np.take(advantages, rows, axis=1)  # contiguous for each model, so that its sums depend on no other
        stds, largest_stds = used.std(axis=1), self.training_state.largest_advantage_std
        require_finite(stds)
        np.maximum(largest_stds, stds, out=largest_stds)
        divisors = np.maximum(stds, np.float32(self.settings.min_advantage_std) * largest_stds) + np.float32(1e-8)
        return (advantages - used.mean(axis=1, keepdims=True)) / divisors[:, None]

    def _compute_gradient(
        self, batch: TrainingBatch, block: Block, indices: NDArray[np.int64], *, is_measured: bool
    ) -> None:
        """Write the clipped gradient of a block's models into its buffer, from the rows `indices` (P, B) of `batch`."""
        minibatch = batch.minibatch(block.models, indices)
        activations = self._minibatch.models(slice(0, len(indices)))
        activations.outputs[0][:, 0] = batch.observations[indices]
        for part in (ACTORS, CRITICS):
            forward(part, block.networks, activations)
        loss_gradient(block.networks, activations, minibatch, self.settings.vf_coef, block.gradient_networks)
        if is_measured:
            measured = losses(self.architecture.distribution, activations, minibatch)
            self.stats.add(measured, block.gradient)
        first_of_critic = self.architecture.critic[0].start
        for genes in (slice(first_of_critic), slice(first_of_critic, None)):
            clip(block.gradient[:, genes], self.settings.max_grad_norm)

    def break_off(self) -> None:
        self._replay.break_off()
        self.awaits_outcome = False

    def state(self) -> dict[str, Any]:
        return super().state() | {
            "replay": self._replay.state(),
            "generators": [rng_state(rng) for rng in self._generators],
            "shown": self._acted.outputs[0].copy() if self.awaits_outcome else None,
            "answered": self._acted.logits.copy() if self.awaits_outcome else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._make_room(state["replay"]["n_envs"])
        self._replay.restore(state["replay"])
        for rng, saved_state in zip(self._generators, state["generators"], strict=True):
            restore_rng(rng, saved_state)
        self.awaits_outcome = False
        if state["shown"] is not None:
            self.act(np.asarray(state["shown"]))
            if state.get("answered") is not None:  # before an update, perhaps
                self._acted.logits[:] = state["answered"]


def loss_gradient(
    networks: Networks, activations: Activations, batch: Minibatch, vf_coef: float, gradient: Networks
) -> None:
    """Write each model's gradient of its own loss into `gradient`, given the `activations` for its rows.

    loss = mean_b(−w_b J_b − ent_coef H_b + vf_coef (v_b − V_b)²), with J_b = min(r_b A_b, clip(r_b, 1 ± ε) A_b) and
    r_b = π(a_b) / π_before(a_b) (Schulman et al. 2017, eq. 7 and 9), weighted by the importance weight and the credit,
    w_b (Espeholt et al. 2018, section 4.2). Where A_b < 0, J_b is at least DUAL_CLIP A_b (Ye et al. 2020, arXiv
    1912.09729, section 3.3).
    """
    distribution = networks.architecture.distribution
    n_rows = np.float32(batch.advantages.shape[1])
    log_probs, log_prob_gradient = distribution.log_prob_gradient(activations.logits, batch.actions)
    if batch.swarm_probabilities is not None:
        log_prob_gradient = pool_gradient(batch.actions, batch.swarm_probabilities)
    ratios = _ratios(log_probs, batch)
    epsilon = batch.clip_range
    is_bad_unclipped = (ratios > 1 - epsilon) & (ratios < DUAL_CLIP)
    is_unclipped = np.where(batch.advantages > 0, ratios < 1 + epsilon, is_bad_unclipped)
    scale = batch.weights * batch.advantages * ratios * is_unclipped / n_rows
    outputs_gradient = np.multiply(-scale[:, :, None], log_prob_gradient, order="C").astype(np.float32, copy=False)
    if batch.ent_coef.any():
        outputs_gradient -= batch.ent_coef[:, :, None] / n_rows * distribution.entropy_gradient(activations.logits)
    error = activations.values - batch.value_targets[:, :, None]
    backward(networks, activations, outputs_gradient, np.float32(2 * vf_coef) / n_rows * error, gradient)


def losses(distribution: Distribution, activations: Activations, batch: Minibatch) -> Losses:
    """Return the terms of the loss whose gradient `loss_gradient` writes."""
    ratios = _ratios(distribution.log_prob(activations.logits, batch.actions), batch)
    clipped = np.clip(ratios, 1 - batch.clip_range, 1 + batch.clip_range)
    objective = np.minimum(ratios * batch.advantages, clipped * batch.advantages)
    objective = np.where(batch.advantages < 0, np.maximum(objective, DUAL_CLIP * batch.advantages), objective)
    return Losses(
        policy_loss=-(batch.weights * objective).mean(axis=1),
        value_loss=np.square(activations.values[:, :, 0] - batch.value_targets).mean(axis=1),
        entropy=distribution.entropy(activations.logits).mean(axis=1),
    )


def _ratios(log_probs: Floats, batch: Minibatch) -> Floats:
    """Return π(a) / π_before(a) of each action, (P, B)."""
    return ratio(log_probs, batch.log_probs)
