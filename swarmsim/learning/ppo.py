"""Proximal policy optimisation on replayed experience of the swarm, corrected by V-trace, for a whole population.

The swarm, not the model, has acted, and some time ago. So each model reckons advantages and value targets by V-trace
(Espeholt et al. 2018, arXiv 1802.01561) against the probability that the swarm gave to its action, and keeps each
update near the policy that it had before it, by the clipped objective of Schulman et al. 2017 (arXiv 1707.06347,
eq. 7). That the policy kept near to is another one than that which acted, is the decoupled objective of Hilton et al.
2021 (arXiv 2110.00641, section 3). Each model draws minibatches of its own, as in bagging (Breiman 1996), so that
models of one experience stay different.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.a2c import Block, blocks, clip
from swarmsim.learning.adam import TrainingState
from swarmsim.learning.advantages import vtrace
from swarmsim.learning.distributions import Distribution
from swarmsim.learning.hyperparameters import PPOSettings
from swarmsim.learning.learner import Learner
from swarmsim.learning.networks import ACTORS, CRITICS, Activations, Architecture, Floats, Networks, backward, forward
from swarmsim.learning.replay import Replay
from swarmsim.learning.rollout import Transition
from swarmsim.learning.seeding import restore, saved
from swarmsim.learning.stats import Losses

VALUE_OF_UNIT_REWARDS = 10.0  # that of unit rewards for ever, in the units of the critics: a size that networks take to
LEAST_DISCOUNTING = 1e-3  # what counts as the difference of gamma from 1 where it has less
LEAST_RMS = 1e-4  # of rewards; smaller ones count as this, so that their unit is never nothing
DUAL_CLIP = 3.0  # a ratio beyond which a bad action is left alone: where densities are narrow, it has no bound
MOST_LOG_RATIO = 20.0  # e to the power of more is of no use to anybody
ROWS_AT_ONCE = 512  # of the replay, seen together: few enough for a core's cache, and for memory


@dataclass(frozen=True)
class TrainingBatch:
    """B rows that P models learn from in minibatches, reckoned before the first of them.

    Attributes:
        observations: (B, n_inputs).
        actions: (B,) or (B, D).
        rows: those of them to be drawn from.
        log_probs, advantages, value_targets, weights: (P, B), each model's own; advantages are normalised, and weights
            say how much a row counts for the policy.
    """

    observations: Floats
    actions: NDArray[Any]
    rows: NDArray[np.int64]
    log_probs: Floats
    advantages: Floats
    value_targets: Floats
    weights: Floats


@dataclass(frozen=True)
class Minibatch:
    """Rows of a lesson, each model's own: actions (P, B) or (P, B, D), the others (P, B)."""

    actions: NDArray[Any]
    log_probs: Floats
    advantages: Floats
    value_targets: Floats
    weights: Floats


def loss_gradient(
    networks: Networks, activations: Activations, batch: Minibatch, settings: PPOSettings, gradient: Networks
) -> None:
    """Write into `gradient` each model's own, of its own loss, given its `activations` for its rows.

    loss = mean_b(−w_b J_b − ent_coef H_b + vf_coef (v_b − V_b)²), with J_b = min(r_b A_b, clip(r_b, 1 ± ε) A_b) and
    r_b = π(a_b) / π_before(a_b); where A_b < 0, J_b is at least DUAL_CLIP A_b (Ye et al. 2020, arXiv 1912.09729,
    section 3.3).
    """
    distribution = networks.architecture.distribution
    n_rows = np.float32(batch.advantages.shape[1])
    log_probs, towards_actions = distribution.log_prob_gradient(activations.logits, batch.actions)
    ratios = _ratios(log_probs, batch)
    epsilon = np.float32(settings.clip_range)
    is_bad_free = (ratios > 1 - epsilon) & (ratios < DUAL_CLIP)
    is_free = np.where(batch.advantages > 0, ratios < 1 + epsilon, is_bad_free)
    scale = batch.weights * batch.advantages * ratios * is_free / n_rows
    outputs_gradient = np.multiply(-scale[:, :, None], towards_actions, order="C").astype(np.float32, copy=False)
    if settings.ent_coef:
        outputs_gradient -= np.float32(settings.ent_coef) / n_rows * distribution.entropy_gradient(activations.logits)
    error = activations.values - batch.value_targets[:, :, None]
    backward(networks, activations, outputs_gradient, np.float32(2 * settings.vf_coef) / n_rows * error, gradient)


def losses(distribution: Distribution, activations: Activations, batch: Minibatch, clip_range: float) -> Losses:
    """Return what each model's loss, of which `loss_gradient` is the gradient, is made of."""
    ratios = _ratios(distribution.log_prob(activations.logits, batch.actions), batch)
    clipped = np.clip(ratios, 1 - np.float32(clip_range), 1 + np.float32(clip_range))
    objective = np.minimum(ratios * batch.advantages, clipped * batch.advantages)
    objective = np.where(batch.advantages < 0, np.maximum(objective, DUAL_CLIP * batch.advantages), objective)
    return Losses(
        policy_loss=-(batch.weights * objective).mean(axis=1),
        value_loss=np.square(activations.values[:, :, 0] - batch.value_targets).mean(axis=1),
        entropy=distribution.entropy(activations.logits).mean(axis=1),
    )


def _ratios(log_probs: Floats, batch: Minibatch) -> Floats:
    """Return how much more probable each action is (P, B) than it was before the update."""
    return np.exp(np.clip(log_probs - batch.log_probs, -MOST_LOG_RATIO, MOST_LOG_RATIO))


class PPO(Learner):
    """P models that learn again and again from the latest `replay_size` transitions."""

    has_cumulative_advantage = True
    settings: PPOSettings

    def __init__(
        self,
        architecture: Architecture,
        settings: PPOSettings,
        generators: Sequence[np.random.Generator],
        keep: Callable[[TrainingState], TrainingState] = lambda memory: memory,
    ) -> None:
        super().__init__(architecture, settings, generators, keep)
        self.settings = settings
        self._generators = list(generators)
        self._blocks = list(blocks(architecture, self.weights))
        self._parts = [slice(0, architecture.actor[-1].end), slice(architecture.critic[0].start, None)]
        self._replay = self._empty_replay(n_envs=1)
        self._shown = Activations.empty(architecture, len(self.weights), n_rows=1)
        of_a_block = len(self._blocks[0].gradient)
        self._drawn = Activations.empty(architecture, of_a_block, settings.batch_size, of_its_own=True)

    def _empty_replay(self, n_envs: int) -> Replay:
        steps = max(self.settings.replay_size // n_envs, self.settings.n_steps)
        return Replay(self.architecture, steps, n_envs)

    def state(self) -> dict[str, Any]:
        return super().state() | {
            "replay": self._replay.state(),
            "generators": [saved(rng) for rng in self._generators],
            "shown": self._shown.outputs[0].copy() if self.awaits_outcome else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._replay = self._empty_replay(state["replay"]["n_envs"])
        self._replay.restore(state["replay"])
        for rng, text in zip(self._generators, state["generators"], strict=True):
            restore(rng, text)
        self.awaits_outcome = False
        if state["shown"] is not None:
            self.act(np.asarray(state["shown"]))

    def break_off(self) -> None:
        self._replay.break_off()
        self.awaits_outcome = False

    def act(self, observations: Floats) -> Floats:
        if len(observations) != self._replay.n_envs:
            self._replay = self._empty_replay(len(observations))
        if len(observations) != len(self._shown.inputs[0]):
            self._shown = Activations.empty(self.architecture, len(self.weights), len(observations))
        self._shown.outputs[0][:] = observations
        forward(ACTORS, self._networks, self._shown)
        self.awaits_outcome = True
        return self._shown.logits

    @property
    def update_is_due(self) -> bool:
        """Whether so many steps are new as are much beside all that there have been so far."""
        n_seen = self.training_state.reward_count_and_squares[0] / self._replay.n_envs
        return self.awaits_outcome and self._replay.n_new >= self.settings.steps_between_updates(n_seen)

    def learn(self) -> None:
        if self.update_is_due:
            self._update(self._shown.outputs[0])

    def record(self, transition: Transition) -> None:
        self.learn()
        self._replay.add(self._shown.outputs[0], transition)
        played = transition.rewards[transition.active].astype(np.float64)
        rewards = self.training_state.reward_count_and_squares
        rewards += played.size, np.square(played).sum()
        self.awaits_outcome = False

    def finish(self, observations: Floats) -> None:
        if self._replay.n_new > 0:
            self._update(observations)
        self.break_off()

    def _update(self, next_observations: Floats) -> None:
        """Learn from what is replayed, which `next_observations` (N, n_inputs) follow."""
        lesson = self._lesson(next_observations)
        self._replay.n_new = 0
        if lesson is None:
            return
        shape = self.settings.n_batches, self.settings.batch_size
        drawn = np.stack([rng.integers(len(lesson.rows), size=shape) for rng in self._generators], axis=1)
        for number, indices in enumerate(lesson.rows[drawn], 1):
            self._adam.begin_update()
            for block in self._blocks:
                is_looked_at = number == self.settings.n_batches
                self._learn_from(lesson, block, indices[block.models], is_looked_at=is_looked_at)
                self._adam.step(block.models, block.gradient)

    def _learn_from(
        self, lesson: TrainingBatch, block: Block, indices: NDArray[np.int64], *, is_looked_at: bool
    ) -> None:
        """Write into the gradient of a block's models that of the rows `indices` (P, B) of a lesson."""
        rows = np.arange(block.models.start, block.models.stop)[:, None], indices
        batch = Minibatch(
            lesson.actions[indices],
            lesson.log_probs[rows],
            lesson.advantages[rows],
            lesson.value_targets[rows],
            lesson.weights[rows],
        )
        seen = self._drawn.models(slice(0, len(indices)))
        seen.outputs[0][:, 0] = lesson.observations[indices]
        for who in (ACTORS, CRITICS):
            forward(who, block.networks, seen)
        loss_gradient(block.networks, seen, batch, self.settings, block.gradient_networks)
        if is_looked_at:
            told = losses(self.architecture.distribution, seen, batch, self.settings.clip_range)
            self.figures.add(told, block.gradient)
        for part in self._parts:
            clip(block.gradient[:, part], self.settings.max_grad_norm)

    def _lesson(self, next_observations: Floats) -> TrainingBatch | None:
        """Return what is to be learnt from the replay; None where nothing of it counts."""
        steps = self._replay.steps
        n_steps, n_envs = steps.rewards.shape
        n_rows = n_steps * n_envs
        active = np.flatnonzero(steps.active)
        if not active.size:
            return None
        finals = self._replay.final_observations
        shown = np.concatenate((steps.observations.reshape(n_rows, -1), next_observations, *finals.values()))
        outputs, values = self._seen(shown, n_rows)
        next_values = values[:, n_envs : n_rows + n_envs].reshape(-1, n_steps, n_envs).copy()
        for number, step in enumerate(finals):
            at = n_rows + (1 + number) * n_envs
            ends = steps.ends[step]
            next_values[:, step, ends] = values[:, at : at + n_envs][:, ends]
        next_values *= ~steps.terminated

        actions = steps.actions.reshape(n_rows, *steps.actions.shape[2:])
        log_probs = self.architecture.distribution.log_prob(outputs, actions)
        swarm = steps.log_probs.reshape(n_rows)
        swarm = np.where(np.isnan(swarm), log_probs, swarm)  # who was not told takes the action for its own
        ratios = np.exp(np.clip(log_probs - swarm, -MOST_LOG_RATIO, MOST_LOG_RATIO))
        counted = np.minimum(ratios, np.float32(self.settings.rho_clip))
        advantages, value_targets = vtrace(
            steps.rewards * np.float32(self._unit()),
            values[:, :n_rows].reshape(-1, n_steps, n_envs),
            next_values,
            steps.ends,
            ratios.reshape(-1, n_steps, n_envs),
            self.settings.gamma,
            self.settings.gae_lambda,
            self.settings.rho_clip,
        )
        advantages = self._normalized(advantages.reshape(-1, n_rows), active)
        new = active[active >= (n_steps - self._replay.n_new) * n_envs]
        merits = self.training_state.cumulative_advantage
        merits += np.take(counted * advantages, new, axis=1).sum(axis=1)
        return TrainingBatch(
            shown,
            actions,
            active,
            log_probs,
            advantages,
            value_targets.reshape(-1, n_rows),
            counted,
        )

    @cached_property
    def _rows(self) -> Activations:
        return Activations.empty(self.architecture, len(self.weights), ROWS_AT_ONCE)

    def _seen(self, observations: Floats, n_acted: int) -> tuple[Floats, Floats]:
        """Return what the actors say to the first of `observations` (B, n_inputs), and the values (P, B) of all."""
        n_models, n_outputs = len(self.weights), self.architecture.distribution.n_outputs
        outputs = np.empty((n_models, n_acted, n_outputs), np.float32)
        values = np.empty((n_models, len(observations)), np.float32)
        for start in range(0, len(observations), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            rows = observations[some]
            seen = self._rows.rows(0, len(rows))
            seen.outputs[0][:] = rows
            forward(CRITICS, self._networks, seen)
            values[:, some] = seen.values[:, :, 0]
            if start < n_acted:
                forward(ACTORS, self._networks, seen)
                outputs[:, some] = seen.logits[:, : n_acted - start]
        return outputs, values

    def _unit(self) -> float:
        """Return what a reward is multiplied by, so that values have a size that networks take to."""
        if not self.settings.normalize_rewards:
            return 1.0
        number, squares = self.training_state.reward_count_and_squares.tolist()
        rms = max((squares / number) ** 0.5, LEAST_RMS) if number else 1.0
        return VALUE_OF_UNIT_REWARDS * max(1 - self.settings.gamma, LEAST_DISCOUNTING) / rms

    def _normalized(self, advantages: Floats, rows: NDArray[np.int64]) -> Floats:
        """Return advantages (P, B) less their mean, in standard deviations, both of the `rows` that count.

        A deviation far below the largest so far is noise, as it is where all goes well: it is not made to look larger.
        """
        counted = np.take(advantages, rows, axis=1)  # laid out by models, so that each is summed up by itself
        deviations, spreads = counted.std(axis=1), self.training_state.largest_advantage_std
        np.maximum(spreads, deviations, out=spreads)
        divisors = np.maximum(deviations, np.float32(self.settings.min_advantage_std) * spreads) + np.float32(1e-8)
        return (advantages - counted.mean(axis=1, keepdims=True)) / divisors[:, None]
