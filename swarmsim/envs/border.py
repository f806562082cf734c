"""The border to a user's environment: what it returns is checked here, before anything is learnt from it."""

import math
from numbers import Number
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from swarmsim.errors import BadValue
from swarmsim.finite import are_finite

LARGEST = float(np.finfo(np.float32).max)  # models compute with this type
LONGEST_VALUE = 80  # characters of a value in an error

Environment = gymnasium.Env[NDArray[np.float32], Any]  # with flat observations, and actions as models make them
Outcome = tuple[NDArray[Any], float, bool, bool]  # of a step: observation, reward, terminated, truncated


class Checked:
    """An environment with flat observations, whose results are checked; each method raises BadValue."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self._shape = env.observation_space.shape

    def reset(self, seed: int) -> NDArray[Any]:
        """Begin an episode, and return its first observation."""
        result = self.env.reset(seed=seed)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise BadValue(f"reset() returned {shown(result)}; it must return observation, info")
        return numbers(result[0], self._shape)

    def step(self, action: Any) -> Outcome:
        """Take `action`; a flag can be a bool, 0 or 1, and a reward any number, each also in an array of one."""
        result: Any = self.env.step(action)
        try:
            observation, reward, terminated, truncated, _ = result
        except (TypeError, ValueError):
            raise BadValue(
                f"step() returned {shown(result)}; it must return observation, reward, terminated, truncated, info"
            ) from None
        if type(reward) is not float or not -LARGEST <= reward <= LARGEST:
            reward = _reward(reward)
        if type(terminated) is not bool:
            terminated = _flag("terminated", terminated)
        if type(truncated) is not bool:
            truncated = _flag("truncated", truncated)
        return numbers(observation, self._shape), reward, terminated, truncated


def numbers(value: Any, shape: tuple[int, ...] | None, name: str = "the observation") -> NDArray[Any]:
    """Return `value` as an array; raises BadValue, which calls it `name`, unless it is finite numbers of that shape."""
    if type(value) is np.ndarray and value.shape == shape and value.dtype == np.float32 and are_finite(value):
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise BadValue(f"{name} is {shown(value)}, which is no array of numbers")
    if array.shape != shape:
        raise BadValue(f"{name} has the shape {array.shape}, but the observation space has {shape}")
    if array.dtype.kind == "f" and not (np.abs(array) <= LARGEST).all():
        raise BadValue(f"{name} is {shown(value)}, which {_not_finite(array)}", can_be_dropped=True)
    return array


def _reward(value: Any) -> float:
    array = np.asarray(value) if not isinstance(value, list | tuple | dict) else np.asarray(None)
    if isinstance(value, Number) and array.dtype.kind == "O" and not isinstance(value, complex):
        array = np.asarray(_to_float(value))  # such as a Fraction
    if array.shape not in ((), (1,)) or array.dtype.kind not in "biuf":
        raise BadValue(f"the reward is {shown(value)}, which is no number")
    reward = float(array.item())
    if not -LARGEST <= reward <= LARGEST:
        raise BadValue(f"the reward is {shown(value)}, which {_not_finite(array)}", can_be_dropped=True)
    return reward


def _to_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _flag(name: str, value: Any) -> bool:
    array = np.asarray(value) if isinstance(value, Number | np.ndarray | np.generic) else np.asarray(None)
    if array.shape not in ((), (1,)) or array.dtype.kind not in "biuf" or array.item() not in (0, 1):
        raise BadValue(f"{name} is {shown(value)}; it must be True or False")
    return bool(array.item())


def _not_finite(array: NDArray[Any]) -> str:
    return "is too large for float32" if are_finite(array) else "is not finite"


def shown(value: object) -> str:
    """Return a value in one short line."""
    text = " ".join(repr(value.tolist() if isinstance(value, np.ndarray) else value).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
