"""The latest transitions of N environments, in the order of their steps, to be learnt from again and again."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.networks import Architecture, Floats
from swarmsim.learning.rollout import Transition


@dataclass(frozen=True)
class Steps:
    """T steps of N environments.

    Attributes:
        observations: (T, N, n_inputs), those that were acted on.
        actions: (T, N), or (T, N, D) where an action is D numbers.
        rewards: (T, N).
        log_probs: (T, N), how probable the swarm found its actions; not a number where it did not tell.
        terminated: (T, N) booleans: the episode ended by the task's own rule.
        ends: (T, N) booleans: the step after is of another episode, or what came between them is not known.
        active: (T, N) booleans: False where nobody acted.
    """

    observations: Floats
    actions: NDArray[Any]
    rewards: Floats
    log_probs: Floats
    terminated: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    active: NDArray[np.bool_]

    @classmethod
    def empty(cls, architecture: Architecture, n_steps: int, n_envs: int) -> "Steps":
        """Return room for `n_steps`."""
        shape, of_an_action = (n_steps, n_envs), architecture.distribution
        return cls(
            observations=np.zeros((*shape, architecture.n_inputs), np.float32),
            actions=np.zeros((*shape, *of_an_action.action_shape), of_an_action.action_type),
            rewards=np.zeros(shape, np.float32),
            log_probs=np.zeros(shape, np.float32),
            terminated=np.zeros(shape, np.bool_),
            ends=np.zeros(shape, np.bool_),
            active=np.zeros(shape, np.bool_),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __getitem__(self, some: slice) -> "Steps":
        """Return a view on some of the steps."""
        return Steps(**{name: array[some] for name, array in self.arrays().items()})

    def take(self, other: "Steps") -> None:
        """Take over all that as many other steps hold."""
        for name, array in other.arrays().items():
            getattr(self, name)[:] = array


class Replay:
    """The latest steps, up to `capacity` of them.

    Attributes:
        n_new: steps that came since this was last set to 0.
        final_observations: by steps counted from the oldest, the last observations (N, n_inputs) of episodes that
            were cut off in it.
    """

    def __init__(self, architecture: Architecture, capacity: int, n_envs: int) -> None:
        self.n_envs = n_envs
        self.n_new = 0
        self.final_observations: dict[int, Floats] = {}
        self._capacity = capacity
        self._room = Steps.empty(architecture, 2 * capacity, n_envs)  # so that it is moved to the front but rarely
        self._start = self._end = 0

    @property
    def steps(self) -> Steps:
        """All that are there, the oldest first, as a view."""
        return self._room[self._start : self._end]

    def add(self, observations: Floats, transition: Transition) -> None:
        """Take in what came of the action on `observations` (N, n_inputs)."""
        if self._end == len(self._room.rewards):
            kept = self._end - self._start - 1
            self._room[:kept].take(self._room[self._end - kept : self._end])
            self._forget_oldest(1)
            self._start, self._end = 0, kept
        new = self._room[self._end : self._end + 1]
        ends = transition.terminated | transition.truncated
        log_probs = np.float32(np.nan) if transition.log_probs is None else transition.log_probs
        for array, value in (
            (new.observations, observations),
            (new.actions, transition.actions),
            (new.rewards, transition.rewards),
            (new.log_probs, log_probs),
            (new.terminated, transition.terminated),
            (new.ends, ends),
            (new.active, transition.active),
        ):
            array[0] = value
        self._end += 1
        self.n_new += 1
        if self._end - self._start > self._capacity:
            self._start += 1
            self._forget_oldest(1)
        if transition.final_observations is not None:
            self.final_observations[self._end - self._start - 1] = transition.final_observations.copy()

    def _forget_oldest(self, number: int) -> None:
        finals = self.final_observations.items()
        self.final_observations = {step - number: rows for step, rows in finals if step >= number}

    def break_off(self) -> None:
        """Have what comes next not follow from what is there."""
        if self._end > self._start:
            self._room.ends[self._end - 1] = True

    def state(self) -> dict[str, Any]:
        """Return all that is there."""
        finals = [[step, rows] for step, rows in self.final_observations.items()]
        arrays = {name: array.copy() for name, array in self.steps.arrays().items()}
        return {"n_envs": self.n_envs, "n_new": self.n_new, "final_observations": finals, **arrays}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state` told."""
        self.n_new = state["n_new"]
        self._start, self._end = 0, len(state["rewards"])
        self.steps.take(Steps(**{field.name: state[field.name] for field in fields(Steps)}))
        self.final_observations = {step: np.asarray(rows) for step, rows in state["final_observations"]}
