"""The losses of soft actor-critic, and their gradient by every weight (Haarnoja et al. 2018, arXiv 1812.05905)."""

from dataclasses import dataclass

import numpy as np

from swarmsim.learning.hyperparameters import SACSettings
from swarmsim.learning.learner import Losses
from swarmsim.learning.networks import Floats
from swarmsim.learning.perceptron import Perceptrons, Signals
from swarmsim.learning.sac_networks import SACArchitecture
from swarmsim.learning.squash import draw, draw_gradient
from swarmsim.learning.transitions import Transitions

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
    by_outputs = draw_gradient(gaussian, outputs[:, now], noise[:, now], actions[:, now], by_actions, by_log_probs)
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
