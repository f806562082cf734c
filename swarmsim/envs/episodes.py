"""Episodes played in several environments at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from swarmsim.envs.make import Environment


@dataclass(slots=True)  # not frozen: one is made in every step
class StepResult:
    """The outcome of one step in N environments; rows of idle environments are zero.

    Attributes:
        rewards: (N,).
        terminated, truncated: (N,) booleans; an episode that is both counts as terminated only.
        final_observations: (N, n_inputs), the last observation of each episode that ended; None if none ended.
    """

    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: NDArray[np.float32] | None


class Episodes:
    """Plays one episode per seed, up to N at a time, each to its end.

    Episodes are numbered in the order in which they begin. An environment whose episode ended begins the next one, and
    stays idle if none is left. All episodes count, so that returns are not biased towards short ones.

    Args:
        envs: N environments of one shape.
        seeds: the seed of each episode, by number.
    """

    def __init__(self, envs: Sequence[Environment], seeds: Sequence[int]) -> None:
        self._envs = envs
        self._seeds = list(seeds)
        self._waiting = list(range(len(seeds)))
        self._numbers = [-1] * len(envs)
        self._actions: list[list[Any]] = [[] for _ in envs]
        self._action_type = np.int64 if isinstance(envs[0].action_space, spaces.Discrete) else np.float32
        self.returns = [0.0] * len(seeds)
        self.lengths = [0] * len(seeds)
        self.ended: list[int] = []
        self.observations = np.zeros((len(envs), *(envs[0].observation_space.shape or ())), np.float32)
        self.active = np.zeros(len(envs), np.bool_)
        for slot in range(len(envs)):
            self._begin_next(slot)

    def state(self) -> dict[str, Any]:
        """Return the state: of a running episode its actions, which reproduce it from its seed."""
        return {
            "seeds": list(self._seeds),
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "ended": list(self.ended),
            "waiting": list(self._waiting),
            "observations": self.observations.copy(),
            "running": [
                [number, list(actions)] if is_active else None
                for number, actions, is_active in zip(self._numbers, self._actions, self.active.tolist(), strict=True)
            ],
        }

    def restore(self, state: Mapping[str, Any], *, replay: bool) -> bool:
        """Restore `state`; with `replay`, replay the actions of running episodes, otherwise restart these episodes.

        Returns:
            Whether the replay reached the same observations; it does if its seed determines the environment.
        """
        self._seeds, self._waiting = list(state["seeds"]), list(state["waiting"])
        self.returns, self.lengths, self.ended = list(state["returns"]), list(state["lengths"]), list(state["ended"])
        for slot, running in enumerate(state["running"]):
            self.active[slot] = running is not None
            if running is None:
                continue
            number, actions = running
            self._begin(slot, number)
            if replay:
                self._actions[slot] = list(actions)
                for action in actions:
                    self.observations[slot], *_ = self._envs[slot].step(self._action_type(action))
            else:
                self.returns[number], self.lengths[number] = 0.0, 0
        return not replay or np.array_equal(self.observations[self.active], state["observations"][self.active])

    @property
    def done(self) -> bool:
        """Whether all episodes have ended."""
        return len(self.ended) == len(self._seeds)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The number of each environment's current or last episode, (N,)."""
        return np.array(self._numbers)

    @property
    def n_steps(self) -> int:
        """Environment steps so far in all episodes."""
        return sum(self.lengths)

    def _begin_next(self, slot: int) -> None:
        if self._waiting:
            self._begin(slot, self._waiting.pop(0))
        else:
            self.active[slot] = False

    def _begin(self, slot: int, number: int) -> None:
        self.active[slot] = True
        self._numbers[slot] = number
        self._actions[slot] = []
        self.observations[slot], _ = self._envs[slot].reset(seed=self._seeds[number])

    def step(self, actions: NDArray[Any]) -> StepResult:
        """Step the active environments with their rows of `actions`: (N,) integers or (N, D) floats.

        Updates `observations` (N, n_inputs) and `active` (N,).
        """
        n_envs = len(self._envs)
        rewards = np.zeros(n_envs, np.float32)
        terminated, truncated = np.zeros(n_envs, np.bool_), np.zeros(n_envs, np.bool_)
        final_observations = None
        self.observations = self.observations.copy()
        for slot, is_active in enumerate(self.active.tolist()):
            if not is_active:
                continue
            action = actions[slot].tolist()
            self._actions[slot].append(action)
            observation, reward, is_terminated, is_truncated, _ = self._envs[slot].step(self._action_type(action))
            number = self._numbers[slot]
            self.observations[slot] = observation
            rewards[slot] = reward
            self.returns[number] += float(reward)
            self.lengths[number] += 1
            if is_terminated or is_truncated:
                terminated[slot], truncated[slot] = is_terminated, is_truncated and not is_terminated
                if final_observations is None:
                    final_observations = np.zeros_like(self.observations)
                final_observations[slot] = observation
                self.ended.append(number)
                self._begin_next(slot)
        return StepResult(rewards, terminated, truncated, final_observations)
