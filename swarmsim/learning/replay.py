"""The latest transitions of N environments, in the order of their steps: an experience replay (Lin 1992)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.credit import behaviour_log_probs, log_probs_of, mixture_credit
from swarmsim.learning.learner import Transition
from swarmsim.learning.networks import Architecture, Floats


@dataclass(frozen=True)
class Steps:
    """T steps of N environments, as arrays (T, N, …)."""

    observations: Floats  # (T, N, n_inputs), before the actions
    actions: NDArray[Any]  # (T, N), or (T, N, D) where an action is D numbers
    rewards: Floats
    log_probs: Floats  # of the actions under the swarm's distribution; NaN if unknown
    behaviour: Floats  # (T, N, P), the log-probabilities that those of each model are compared to
    credit: Floats  # (T, N, P), of each model
    terminated: NDArray[np.bool_]  # the episode ended by the task's own rule
    ends: NDArray[np.bool_]  # the trajectory ends here, so the next step does not follow from this one
    active: NDArray[np.bool_]  # False where an environment had no episode left to play
    swarm_probabilities: Floats  # (T, N, A) of all actions, with A = 0 unless the rule needs them

    @classmethod
    def empty(cls, architecture: Architecture, n_models: int, n_steps: int, n_envs: int) -> "Steps":
        shape, distribution = (n_steps, n_envs), architecture.distribution
        return cls(
            observations=np.zeros((*shape, architecture.n_inputs), np.float32),
            actions=np.zeros((*shape, *distribution.action_shape), distribution.action_type),
            rewards=np.zeros(shape, np.float32),
            log_probs=np.zeros(shape, np.float32),
            behaviour=np.zeros((*shape, n_models), np.float32),
            credit=np.ones((*shape, n_models), np.float32),
            terminated=np.zeros(shape, np.bool_),
            ends=np.zeros(shape, np.bool_),
            active=np.zeros(shape, np.bool_),
            swarm_probabilities=np.zeros((*shape, 0), np.float32),
        )

    def __getitem__(self, some: slice) -> "Steps":
        return Steps(**{name: array[some] for name, array in vars(self).items()})

    def copy_from(self, other: "Steps") -> None:
        for name, array in vars(other).items():
            getattr(self, name)[:] = array


class Replay:
    """The latest steps, up to `capacity` of them.

    Args:
        is_joint: whether models get credit for what the swarm does, not for what each would do on its own.
    """

    def __init__(
        self, architecture: Architecture, n_models: int, capacity: int, n_envs: int, *, is_joint: bool
    ) -> None:
        self.n_envs = n_envs
        self.n_new = 0  # steps added since this was last set to 0
        # (N, n_inputs) by step, counted from the oldest: the last observations of episodes that were truncated in it
        self.final_observations: dict[int, Floats] = {}
        self._capacity = capacity
        # twice the size, so that it moves only rarely
        self._buffer = Steps.empty(architecture, n_models, 2 * capacity, n_envs)
        self._start = self._end = 0
        self._distribution, self._is_joint = architecture.distribution, is_joint
        # Of the newest steps: the models' outputs (P, N, n_outputs), and whether credit follows from them. Credit is
        # computed for many steps at once, as it is needed no sooner.
        self._uncredited: list[tuple[Floats, bool]] = []

    @property
    def steps(self) -> Steps:
        """All steps, the oldest first, as a view."""
        self._credit()
        return self._buffer[self._start : self._end]

    def add(self, observations: Floats, transition: Transition, outputs: Floats) -> None:
        """Append the transition that followed the action on `observations` (N, n_inputs), to which models answered.

        Args:
            outputs: (P, N, n_outputs), the models' answers.
        """
        behaviour, swarm = log_probs_of(transition)
        if transition.swarm_probabilities is not None:
            self._make_room_for(transition.swarm_probabilities.shape[1])
        if self._end == len(self._buffer.rewards):
            n_remaining = self._end - self._start - 1
            self._buffer[:n_remaining].copy_from(self._buffer[self._end - n_remaining : self._end])
            self._drop_oldest_final()
            self._start, self._end = 0, n_remaining
        new = self._buffer[self._end : self._end + 1]
        new.observations[0] = observations
        new.actions[0] = transition.actions
        new.rewards[0] = transition.rewards
        new.log_probs[0] = swarm
        new.behaviour[0] = behaviour[:, None]
        new.credit[0] = 1 if transition.credits is None or not self._is_joint else transition.credits.T
        follows = self._is_joint and transition.credits is None and transition.swarm_probabilities is None
        self._uncredited.append((outputs.copy(), follows))
        if transition.swarm_probabilities is not None:
            new.swarm_probabilities[0] = transition.swarm_probabilities
        new.terminated[0] = transition.terminated
        new.ends[0] = transition.terminated | transition.truncated
        new.active[0] = transition.active
        if self._end > self._start:  # the observation after the last step is known, so it needs no final one
            self._buffer.ends[self._end - 1] |= transition.truncated & ~transition.active
        self._end += 1
        self.n_new += 1
        if self._end - self._start > self._capacity:
            self._start += 1
            self._drop_oldest_final()
        if transition.final_observations is not None:
            self.final_observations[self._end - self._start - 1] = transition.final_observations.copy()

    def _credit(self) -> None:
        """Complete what the newest steps say of each model: behaviour and credit."""
        if not self._uncredited:
            return
        outputs, follows = zip(*self._uncredited, strict=True)
        self._uncredited = []
        new = self._buffer[self._end - len(outputs) : self._end]
        n_rows = new.rewards.size
        actions = new.actions.reshape(n_rows, *new.actions.shape[2:])
        own = self._distribution.log_prob(np.concatenate(outputs, axis=1), actions)
        swarm, behaviour = new.log_probs.reshape(n_rows), new.behaviour[:, :, 0].reshape(n_rows)
        compared = behaviour_log_probs(own, behaviour, swarm, is_joint=self._is_joint)
        new.behaviour[:] = compared.T.reshape(new.behaviour.shape)
        mixture = mixture_credit(own, swarm).T.reshape(new.credit.shape)
        new.credit[:] = np.where(np.array(follows)[:, None, None], mixture, new.credit)

    def _make_room_for(self, n_actions: int) -> None:
        """Make room for the swarm's probabilities of `n_actions` actions; those of earlier steps count as 0."""
        if self._buffer.swarm_probabilities.shape[2] != n_actions:
            shape = *self._buffer.rewards.shape, n_actions
            self._buffer = replace(self._buffer, swarm_probabilities=np.zeros(shape, np.float32))

    def _drop_oldest_final(self) -> None:
        self.final_observations = {step - 1: rows for step, rows in self.final_observations.items() if step >= 1}

    def break_off(self) -> None:
        """End the trajectories at the newest step."""
        if self._end > self._start:
            self._buffer.ends[self._end - 1] = True

    def state(self) -> dict[str, Any]:
        finals = [[step, rows] for step, rows in self.final_observations.items()]
        return {"n_envs": self.n_envs, "n_new": self.n_new, "final_observations": finals, **vars(self.steps)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.n_new = state["n_new"]
        self._start, self._end = 0, len(state["rewards"])
        log_probs = np.asarray(state["log_probs"])[..., None]
        first_version = {  # compared each model to the policy that acted, and gave no credit
            "behaviour": np.nan_to_num(log_probs),
            "credit": np.ones_like(log_probs),
            "swarm_probabilities": np.zeros((*log_probs.shape[:2], 0), np.float32),
        }
        saved = Steps(**{name: {**first_version, **state}[name] for name in vars(self.steps)})
        self._make_room_for(saved.swarm_probabilities.shape[2])
        self._uncredited = []
        self.steps.copy_from(saved)
        self.final_observations = {step: np.asarray(rows) for step, rows in state["final_observations"]}
