"""Soft actor-critic (SAC) for a whole population, off-policy from one shared replay; read `SAC` from `act` to `_update`.

Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905); the arithmetic is that of
Stable-Baselines3's `SAC`, except that one step of Adam moves actor, critics and temperature at once. Each model has its
own actor, critics, target critics and temperature, and draws its own minibatches, as in bagging (Breiman 1996), so that
models with the same experience stay different. `rate` values the actions that others propose.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.hyperparameters import SACSettings
from swarmsim.learning.learner import Adam, Learner, Losses, Transition, clip, require_finite
from swarmsim.learning.networks import Activations, Floats
from swarmsim.learning.perceptron import Perceptrons, Signals
from swarmsim.learning.sac_networks import SACArchitecture
from swarmsim.learning.seeding import restore_rng, rng_state
from swarmsim.learning.squash import draw, draw_gradient
from swarmsim.learning.transitions import TransitionBuffer, Transitions

MODELS_PER_BLOCK = 8  # few enough for the arrays of a minibatch to stay in a core's cache
UPDATES_PER_MEASUREMENT = 16  # measuring the losses costs a part of an update
UNIT_REWARDS_VALUE = 10.0  # the value of one RMS reward in every step for ever, as the critics see it: easy to learn
MIN_DISCOUNTING = 1e-3  # stands in for 1 − γ where γ is nearer to 1
MAX_SCALE = float(np.finfo(np.float32).max)  # of rewards
TEMPERATURE_SPEED = 10.0  # the temperature's logarithm moves as many times faster than a weight
FIRST_TEMPERATURE = 0.1


class Members:
    """Models that are updated at once: views of their weights, and room for a gradient."""

    def __init__(self, architecture: SACArchitecture, weights: Floats, models: slice, gradient: Floats) -> None:
        self.models = models
        self.architecture = architecture
        own = weights[models]
        self.gradient = gradient[: len(own)]
        self.actors = Perceptrons([architecture.actor], own)
        self.critics = Perceptrons(architecture.critics, own)
        self.targets = Perceptrons(architecture.targets, own)
        self.actors_gradient = Perceptrons([architecture.actor], self.gradient)
        self.critics_gradient = Perceptrons(architecture.critics, self.gradient)
        self.log_temperatures = own[:, architecture.log_temperature.start]
        self.critic_genes = slice(architecture.actor[-1].end, architecture.log_temperature.start)
        self.critic_weights, self.target_weights = own[:, self.critic_genes], own[:, architecture.n_learned :]

    def temperatures(self, ent_coef: float | str) -> Floats:
        """Return each model's α, (P,)."""
        if ent_coef == "auto":
            return np.float32(FIRST_TEMPERATURE) * np.exp(np.float32(TEMPERATURE_SPEED) * self.log_temperatures)
        return np.full(len(self.gradient), ent_coef, np.float32)


@dataclass(frozen=True)
class Room:
    """Room for the signals of a minibatch of B rows: the actors and critics have 2 B, the targets B."""

    actors: Signals
    critics: Signals
    targets: Signals

    @classmethod
    def of(cls, members: Members, batch_size: int) -> "Room":
        actors, critics = members.actors.signals(2 * batch_size), members.critics.signals(2 * batch_size)
        return cls(actors, critics, members.targets.signals(batch_size))


class SAC(Learner):
    """P models that learn from the latest `replay_size` transitions, a minibatch at a time."""

    settings: SACSettings
    architecture: SACArchitecture

    def _build_networks(self) -> None:
        n_learned = self.architecture.n_learned
        learned = {name: vars(self.training_state)[name][:, :n_learned] for name in ("weights", *MOMENTS)}
        self._adam = Adam(
            replace(self.training_state, **learned), self.settings.learning_rate, self.settings.adam_eps
        )
        n_models = len(self.weights)
        gradient = np.zeros((min(n_models, MODELS_PER_BLOCK), n_learned), np.float32)
        starts = range(0, n_models, MODELS_PER_BLOCK)
        models = [slice(start, min(start + MODELS_PER_BLOCK, n_models)) for start in starts]
        self._members = [Members(self.architecture, self.weights, some, gradient) for some in models]
        self._actors = Perceptrons([self.architecture.actor], self.weights)
        self._evaluated = self._actors.signals(1, are_shared=True)
        self._buffer = TransitionBuffer(self.architecture, self.settings.replay_size)
        self._n_new = 0  # transitions since the last update
        self._pending: Transition | None = None  # the observation after it is not known yet

    @cached_property
    def _rooms(self) -> dict[int, Room]:
        return {len(some.gradient): Room.of(some, self.settings.batch_size) for some in self._members}

    def _make_room(self, n_envs: int) -> None:
        self._acted = self._actors.signals(n_envs, are_shared=True)

    def act(self, observations: Floats) -> Floats:
        if len(observations) != self._acted.outputs.shape[2]:
            self._make_room(len(observations))
        self._complete(observations)
        self._acted.write(observations)
        self.awaits_outcome = True
        return self._actors.forward(self._acted)[:, 0]

    def record(self, transition: Transition) -> None:
        self.learn()
        rewards = transition.rewards[transition.active]
        self._count_rewards(rewards, rewards.size)
        self._pending = transition
        self.awaits_outcome = False

    def _complete(self, next_observations: Floats | None) -> None:
        """Add the last transition, which `next_observations` (N, n_inputs) follow; None if they are not known."""
        transition, self._pending = self._pending, None
        if transition is None:
            return
        known = transition.active.copy()
        observations = self._acted.inputs[0][0, 0, :, :-1]
        following = observations if next_observations is None else next_observations
        if transition.final_observations is not None:
            following = np.where(transition.truncated[:, None], transition.final_observations, following)
        if next_observations is None:
            known &= transition.terminated | transition.truncated
        require_finite(observations, "observations")
        require_finite(following, "observations")
        rows = Transitions(observations, transition.actions, transition.rewards, following, transition.terminated)
        self._buffer.add(rows[known])
        self._n_new += int(np.count_nonzero(known))

    @property
    def update_is_due(self) -> bool:
        return self.awaits_outcome and self._has_enough

    @property
    def _has_enough(self) -> bool:
        return self._n_new >= self.settings.train_freq and self._buffer.n_added >= self.settings.learning_starts

    def learn(self) -> None:
        if self.update_is_due:
            self._update()

    def finish(self, observations: Floats) -> None:
        self._complete(observations)
        if self._has_enough:
            self._update()
        self.break_off()

    def _update(self) -> None:
        """Learn from as many minibatches as are due; those before `learning_starts` are not made up for."""
        n_due, self._n_new = divmod(self._n_new, self.settings.train_freq)
        if self.training_state.n_updates[0] == 0:
            n_due = 1
            for members in self._members:
                members.target_weights[:] = members.critic_weights
        batch_size, shape = self.settings.batch_size, (2 * self.settings.batch_size, self.architecture.n_actions)
        for _ in range(n_due * self.settings.gradient_steps):
            rows = [rng.integers(len(self._buffer), size=batch_size) for rng in self._generators]
            noise = [rng.standard_normal(shape, np.float32) for rng in self._generators]
            is_measured = self.training_state.n_updates[0] % UPDATES_PER_MEASUREMENT == 0
            self._adam.begin_update()
            for members in self._members:
                batch = self._buffer[np.stack(rows[members.models])]
                self._learn_from(members, batch, np.stack(noise[members.models]), is_measured=is_measured)
            self.on_minibatch()

    def _learn_from(self, members: Members, batch: Transitions, noise: Floats, *, is_measured: bool) -> None:
        """Update some models with each one's own rows: Haarnoja et al. 2018 (arXiv 1812.05905), algorithm 1."""
        scaled = replace(batch, rewards=batch.rewards * np.float32(self._reward_scale()))
        measured = loss_gradient(members, self._rooms[len(noise)], scaled, noise, self.settings)
        if is_measured:
            self.stats.add(measured, members.gradient)
        for genes in (slice(members.critic_genes.start), members.critic_genes):
            clip(members.gradient[:, genes], self.settings.max_grad_norm)
        self._adam.step(members.models, members.gradient)
        targets = members.target_weights
        targets += np.float32(self.settings.tau) * (members.critic_weights - targets)

    def _reward_scale(self) -> float:
        """Return the factor of rewards that gives values a size which networks learn easily (see `normalize_rewards`).

        Rewards of 1 RMS for ever are worth RMS / (1 − γ), which becomes UNIT_REWARDS_VALUE.
        """
        if not self.settings.normalize_rewards:
            return 1.0
        scale = UNIT_REWARDS_VALUE * max(1 - self.settings.gamma, MIN_DISCOUNTING) / self._reward_rms()
        return min(scale, MAX_SCALE)

    def rate(self, observations: Floats, actions: Floats) -> Floats:
        """Return each model's value (P, Q, N) of Q `actions` (Q, N, D) for `observations` (N, n_inputs).

        It is the mean of its critics. Nothing is learned.
        """
        n_actions, n_envs, _ = actions.shape
        ratings = np.empty((len(self.weights), n_actions, n_envs), np.float32)
        for members in self._members:
            ratings[members.models] = rated(members.critics, observations, actions)
        return ratings

    def evaluate(self, observations: Floats) -> Activations:
        if len(observations) != self._evaluated.outputs.shape[2]:
            self._evaluated = self._actors.signals(len(observations), are_shared=True)
        self._evaluated.write(observations)
        outputs = self._actors.forward(self._evaluated)[:, 0]
        means, _ = self.architecture.distribution.means_and_stds(outputs)
        values = np.stack([self.rate(observations, mean[None])[n, 0] for n, mean in enumerate(np.tanh(means))])
        return Activations([self._evaluated.inputs[0][0, 0]], outputs, values[:, :, None])

    def break_off(self) -> None:
        self._complete(None)
        self.awaits_outcome = False

    def state(self) -> dict[str, Any]:
        return super().state() | {
            "buffer": self._buffer.state(),
            "n_new": self._n_new,
            "generators": [rng_state(rng) for rng in self._generators],
            "shown": self._acted.inputs[0][0, 0, :, :-1].copy() if self.awaits_outcome else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._buffer.restore(state["buffer"])
        self._n_new, self._pending = state["n_new"], None
        for rng, saved_state in zip(self._generators, state["generators"], strict=True):
            restore_rng(rng, saved_state)
        self.awaits_outcome = False
        if state["shown"] is not None:
            self.act(np.asarray(state["shown"]))


MOMENTS = "first_moment", "second_moment"


def rated(critics: Perceptrons, observations: Floats, actions: Floats) -> Floats:
    """Return the mean value (P, Q, N) that each model's critics give `actions` (Q, N, D) for `observations`."""
    n_actions, n_envs, _ = actions.shape
    signals = critics.signals(n_actions * n_envs, are_shared=True)
    repeated = np.broadcast_to(observations, (n_actions, *observations.shape)).reshape(n_actions * n_envs, -1)
    signals.write(repeated, actions.reshape(n_actions * n_envs, -1))
    values = critics.forward(signals)[..., 0]
    return (np.add.reduce(values, axis=1) / np.float32(critics.n_networks)).reshape(-1, n_actions, n_envs)


def loss_gradient(members: Members, room: Room, batch: Transitions, noise: Floats, settings: SACSettings) -> Losses:
    """Write each model's gradient of its losses into `members.gradient`, and return the losses.

    Critics: ½ Σ_k mean_b (Q_k(s, a) − y)², with y = r + γ (min_k Q'_k(s', a') − α log π(a'|s')) and no value after a
    terminated s; actor: mean_b (α log π(ã|s) − min_k Q_k(s, ã)); temperature: −log α mean_b (log π(ã|s) + H̄)
    (Haarnoja et al. 2018, arXiv 1812.05905, eq. 5, 7 and 18).

    Args:
        batch: (P, B) rows, each model's own.
        noise: (P, 2 B, D), which draws the actions ã for s, then a' for s'.
    """
    n_rows = batch.rewards.shape[1]
    gaussian = members.architecture.distribution
    temperatures = members.temperatures(settings.ent_coef)[:, None]

    # both observations' actions in one pass of the actors
    room.actors.inputs[0][:, 0, :n_rows, :-1] = batch.observations
    room.actors.inputs[0][:, 0, n_rows:, :-1] = batch.next_observations
    outputs = members.actors.forward(room.actors)[:, 0]
    actions, log_probs = draw(gaussian, outputs, noise)
    now, after = slice(n_rows), slice(n_rows, None)

    room.targets.write(batch.next_observations, actions[:, after])
    next_values = members.targets.forward(room.targets)[..., 0].min(axis=1) - temperatures * log_probs[:, after]
    targets = batch.rewards + np.float32(settings.gamma) * ~batch.terminated * next_values

    # the critics' values of the recorded actions, then of those that the actors would take
    room.critics.rows(0, n_rows).write(batch.observations, batch.actions)
    room.critics.rows(n_rows, 2 * n_rows).write(batch.observations, actions[:, now])
    values = members.critics.forward(room.critics)[..., 0]
    errors = values[:, :, now] - targets[:, None]
    by_values = errors[..., None] / np.float32(n_rows)
    members.critics.backward(room.critics.rows(0, n_rows), by_values, members.critics_gradient)

    policy_values = values[:, :, after]
    lowest = policy_values.argmin(axis=1)[:, None] == np.arange(policy_values.shape[1])[:, None]
    by_policy_values = lowest[..., None] * np.float32(-1 / n_rows)
    by_inputs = members.critics.inputs_gradient(room.critics.rows(n_rows, 2 * n_rows), by_policy_values)
    by_actions = np.add.reduce(by_inputs[..., batch.observations.shape[-1] :], axis=1)
    by_log_probs = np.broadcast_to(temperatures / np.float32(n_rows), (len(noise), n_rows))
    by_outputs = draw_gradient(
        gaussian, outputs[:, now], noise[:, now], actions[:, now], by_actions, by_log_probs
    )
    members.actors.backward(room.actors.rows(0, n_rows), by_outputs[:, None], members.actors_gradient)

    mean_log_probs = log_probs[:, now].mean(axis=1)
    target_entropy = -gaussian.n if settings.target_entropy == "auto" else settings.target_entropy
    by_log_temperature = -(mean_log_probs + np.float32(target_entropy)) if settings.ent_coef == "auto" else 0
    members.gradient[:, members.architecture.log_temperature.start] = by_log_temperature
    return Losses(
        policy_loss=(temperatures * log_probs[:, now] - policy_values.min(axis=1)).mean(axis=1),
        value_loss=np.add.reduce(np.square(errors).mean(axis=2), axis=1) / 2,
        entropy=-mean_log_probs,
    )
