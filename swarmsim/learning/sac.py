"""Soft actor-critic (SAC) for a whole population, off-policy from one shared replay; read `SAC` from `act` on.

Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications" (arXiv 1812.05905); the arithmetic is that of
Stable-Baselines3's `SAC`, except that one step of Adam moves actor, critics and temperature at once. Each model has its
own actor, critics, target critics and temperature, and draws its own minibatches, as in bagging (Breiman 1996), so that
models with the same experience stay different. `rate` values the actions that others propose.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from swarmsim.learning.hyperparameters import SACSettings
from swarmsim.learning.learner import Adam, Learner, Transition, clip, require_finite
from swarmsim.learning.networks import Activations, Floats
from swarmsim.learning.perceptron import Perceptrons
from swarmsim.learning.rating import mean_value, rate
from swarmsim.learning.sac_loss import Members, Room, loss_gradient
from swarmsim.learning.sac_networks import SACArchitecture
from swarmsim.learning.seeding import restore_rng, rng_state
from swarmsim.learning.transitions import TransitionBuffer, Transitions

MOMENTS = "first_moment", "second_moment"
MODELS_PER_BLOCK = 8  # few enough for the arrays of a minibatch to stay in a core's cache
UPDATES_PER_MEASUREMENT = 16  # measuring the losses costs a part of an update


class SAC(Learner):
    """P models that learn from the latest `replay_size` transitions, a minibatch at a time."""

    settings: SACSettings
    architecture: SACArchitecture

    def _build_networks(self) -> None:
        n_learned = self.architecture.n_learned
        learned = {name: vars(self.training_state)[name][:, :n_learned] for name in ("weights", *MOMENTS)}
        self._adam = Adam(
            replace(self.training_state, **learned), self._of_each_model("learning_rate"), self.settings.adam_eps
        )
        n_models = len(self.weights)
        gradient = np.zeros((min(n_models, MODELS_PER_BLOCK), n_learned), np.float32)
        starts = range(0, n_models, MODELS_PER_BLOCK)
        models = [slice(start, min(start + MODELS_PER_BLOCK, n_models)) for start in starts]
        self._members = [Members(self.architecture, self.weights, some, gradient) for some in models]
        self._actors = Perceptrons([self.architecture.actor], self.weights)
        self._evaluation = self._actors.signals(1, are_shared=True)
        self._buffer = TransitionBuffer(self.architecture, self.settings.replay_size)
        self._n_new = 0  # transitions since the last update, without the first `learning_starts`
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
        n_late = self._buffer.n_added - self.settings.learning_starts
        self._n_new += max(min(int(np.count_nonzero(known)), n_late), 0)

    @property
    def update_is_due(self) -> bool:
        return self.awaits_outcome and self._n_new >= self.settings.train_freq

    def learn(self) -> None:
        if self.update_is_due:
            self._update()

    def finish(self, observations: Floats) -> None:
        self._complete(observations)
        if self._n_new >= self.settings.train_freq:
            self._update()
        self.break_off()

    def _update(self) -> None:
        """Learn from as many minibatches as are due."""
        n_due, self._n_new = divmod(self._n_new, self.settings.train_freq)
        if self.training_state.n_updates[0] == 0:
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
        """Update some models, each from its own rows: Haarnoja et al. 2018 (arXiv 1812.05905), algorithm 1."""
        scaled = replace(batch, rewards=batch.rewards * np.float32(self._reward_scale(self.settings.normalize_rewards)))
        measured = loss_gradient(members, self._rooms[len(noise)], scaled, noise, self.settings)
        if is_measured:
            self.stats.add(measured, members.gradient)
        for genes in (slice(members.critic_genes.start), members.critic_genes):
            clip(members.gradient[:, genes], self.settings.max_grad_norm)
        self._adam.step(members.models, members.gradient)
        targets = members.target_weights
        targets += np.float32(self.settings.tau) * (members.critic_weights - targets)

    def rate(self, observations: Floats, actions: Floats) -> Floats:
        """Return each model's value (P, Q, N) of Q `actions` (Q, N, D) for `observations` (N, n_inputs).

        It is the mean of its critics. Nothing is learned.
        """
        n_actions, n_envs, _ = actions.shape
        ratings = np.empty((len(self.weights), n_actions, n_envs), np.float32)
        for members in self._members:
            ratings[members.models] = rate(members.critics, observations, actions)
        return ratings

    def outputs(self, observations: Floats) -> Floats:
        if len(observations) != self._evaluation.outputs.shape[2]:
            self._evaluation = self._actors.signals(len(observations), are_shared=True)
        self._evaluation.write(observations)
        return self._actors.forward(self._evaluation)[:, 0]

    def evaluate(self, observations: Floats) -> Activations:
        """Return outputs, and as values those of each model's own mean action by its critics."""
        outputs = self.outputs(observations)
        values = np.empty((*outputs.shape[:2], 1), np.float32)
        for members in self._members:
            signals = members.critics.signals(len(observations))
            signals.write(observations, np.tanh(outputs[members.models, :, : self.architecture.n_actions]))
            values[members.models] = mean_value(members.critics.forward(signals))
        return Activations([self._evaluation.inputs[0][0, 0]], outputs, values)

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
