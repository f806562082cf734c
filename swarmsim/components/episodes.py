"""Gymnasium environments as the main job needs them: made by id, checked, and played side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation
from numpy.typing import NDArray

from swarmsim.errors import SettingsError, unknown


@dataclass(frozen=True)
class Shape:
    """What the models must know of an environment."""

    n_inputs: int
    n_actions: int


def make_env(env_id: str) -> gymnasium.Env[NDArray[np.float32], np.int64]:
    """Return the environment of a Gymnasium id, its observations flattened to a vector.

    Raises:
        SettingsError: there is none of that id, it cannot be made here, or its spaces are not supported.
    """
    try:
        env = gymnasium.make(env_id)
    except gymnasium.error.UnregisteredEnv:
        raise SettingsError(unknown("environment", env_id, gymnasium.registry, show=0)) from None
    except ModuleNotFoundError as error:
        raise SettingsError(f"environment {env_id!r}: {error}") from None
    except (gymnasium.error.Error, ImportError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise SettingsError(f"environment {env_id!r} cannot be made: {first_line}") from None
    if not isinstance(env.observation_space, spaces.Box) or not isinstance(env.action_space, spaces.Discrete):
        told = f"{env.observation_space} as observations and {env.action_space} as actions"
        env.close()
        raise SettingsError(f"environment {env_id!r} has {told}; a Box and a Discrete space are needed")
    return env if len(env.observation_space.shape) == 1 else FlattenObservation(env)


def shape_of(env_id: str) -> Shape:
    """Return the shape of an environment; raises as `make_env`."""
    env = make_env(env_id)
    observations, actions = env.observation_space, env.action_space
    env.close()
    assert isinstance(actions, spaces.Discrete)
    return Shape(int(np.prod(observations.shape or (1,))), int(actions.n))


@dataclass(frozen=True)
class Step:
    """What came of one action in each of N environments; rows of idle ones are zero.

    Attributes:
        rewards: (N,).
        terminated, truncated: (N,) booleans; where both hold, the episode counts as terminated.
        final_observations: (N, n_inputs), the last observation of each episode that ended; None where none did.
    """

    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: NDArray[np.float32] | None


class Episodes:
    """Exactly as many episodes as there are seeds, up to N of them side by side.

    Episodes are numbered as they begin. An environment that ends one begins the next number; once
    every number has begun, it stays idle. All are played to their end and all count, so that long
    ones weigh as much as short ones.

    Args:
        envs: N environments of one shape.
        seeds: of each episode, in the order of their numbers.
    """

    def __init__(self, envs: Sequence[gymnasium.Env[NDArray[np.float32], np.int64]], seeds: Sequence[int]) -> None:
        self._envs = envs
        self._seeds = seeds
        self._begun = 0
        self._numbers = [-1] * len(envs)
        first = envs[0].action_space
        assert isinstance(first, spaces.Discrete)
        self._first_action = int(first.start)
        self.returns = [0.0] * len(seeds)
        self.lengths = [0] * len(seeds)
        self.ended: list[int] = []
        self.observations = np.zeros((len(envs), *(envs[0].observation_space.shape or ())), np.float32)
        self.active = np.zeros(len(envs), np.bool_)
        for slot in range(len(envs)):
            self._begin_next(slot)

    @property
    def done(self) -> bool:
        """Whether all episodes have ended."""
        return len(self.ended) == len(self._seeds)

    @property
    def n_steps(self) -> int:
        """Environment steps so far, over all episodes."""
        return sum(self.lengths)

    def _begin_next(self, slot: int) -> None:
        self.active[slot] = self._begun < len(self._seeds)
        if self.active[slot]:
            self._numbers[slot] = self._begun
            self.observations[slot], _ = self._envs[slot].reset(seed=self._seeds[self._begun])
            self._begun += 1

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Take `actions` (N,), counted from 0, in the environments that play; `observations` and `active` move on."""
        n_envs = len(self._envs)
        rewards = np.zeros(n_envs, np.float32)
        terminated, truncated = np.zeros(n_envs, np.bool_), np.zeros(n_envs, np.bool_)
        final_observations = None
        self.observations = self.observations.copy()
        for slot, plays in enumerate(self.active.tolist()):
            if not plays:
                continue
            action = np.int64(self._first_action + actions[slot])
            observation, reward, ended, cut_off, _ = self._envs[slot].step(action)
            number = self._numbers[slot]
            self.observations[slot] = observation
            rewards[slot] = reward
            self.returns[number] += float(reward)
            self.lengths[number] += 1
            if ended or cut_off:
                terminated[slot], truncated[slot] = ended, cut_off and not ended
                if final_observations is None:
                    final_observations = np.zeros_like(self.observations)
                final_observations[slot] = observation
                self.ended.append(number)
                self._begin_next(slot)
        return Step(rewards, terminated, truncated, final_observations)
