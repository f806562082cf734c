"""What P models have seen and done since their last update, and what of it they learn from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.hyperparameters import A2CSettings
from swarmsim.learning.networks import Activations, Architecture, Floats


@dataclass(frozen=True)
class Transition:
    """What came of one action in each of N environments.

    Attributes:
        actions: (N,) integers, or (N, D) numbers.
        rewards: (N,).
        terminated: (N,) booleans: the episode ended by the task's own rule.
        truncated: (N,) booleans: it was cut off, so the value of its last state still counts.
        final_observations: (N, n_inputs), of which the rows of ended episodes are used; None where none was truncated.
        active: (N,) booleans: False where an environment had no episode left to play.
        log_probs: (N,), how probable the swarm found its actions; None where it did not tell.
    """

    actions: NDArray[Any]
    rewards: Floats
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: Floats | None
    active: NDArray[np.bool_]
    log_probs: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True)
class Batch:
    """B rows that P models learn from: actions (B,) or (B, D), row weights (B,) that sum to 1, and each model's own
    advantages and returns, both (P, B).
    """

    actions: NDArray[Any]
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
        of_an_action = architecture.distribution
        self._actions = np.empty((n_steps, n_envs, *of_an_action.action_shape), of_an_action.action_type)
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

    def state(self, n_rows: int) -> dict[str, Any]:
        """Return what was recorded, and the observations of the `n_rows` steps that were acted in."""
        n_steps = self.length
        observations = self._activations.outputs[0][: n_rows * self.n_envs]
        return {
            "n_envs": self.n_envs,
            "observations": observations.copy(),
            "actions": self._actions[:n_steps].copy(),
            "rewards": self._rewards[:n_steps].copy(),
            "dones": self._dones[:n_steps].copy(),
            "active": self._active[:n_steps].copy(),
            "bootstraps": [[step, values] for step, values in self.bootstraps.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take in again what `state` gave; what the models made of the observations is to be found anew."""
        self.length = len(state["actions"])
        self._activations.outputs[0][: len(state["observations"])] = state["observations"]
        recorded = (
            (self._actions, "actions"),
            (self._rewards, "rewards"),
            (self._dones, "dones"),
            (self._active, "active"),
        )
        for room, key in recorded:
            room[: self.length] = state[key]
        self.bootstraps = {step: np.asarray(values) for step, values in state["bootstraps"]}

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
            actions=self._actions[:n_steps].reshape(n_steps * self.n_envs, *self._actions.shape[2:]),
            row_weights=active.astype(np.float32) / np.float32(n_active),
            advantages=advantages.reshape(n_models, -1),
            returns=returns.reshape(n_models, -1),
        )
