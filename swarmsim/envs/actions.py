"""Translates the models' actions, a choice or a vector of numbers, into actions of an environment's own space."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.wrappers.utils import rescale_box
from numpy.typing import NDArray

MAX_JOINT_ACTIONS = 4096  # combinations of several choices; each needs a logit

Space = spaces.Space[Any]
ToEnvAction = Callable[[Any], Any]


def to_model_space(space: Space) -> tuple[Space, ToEnvAction]:
    """Return the action space of the models, and a function from its actions to those of the environment's `space`.

    The models' space is Discrete, counted from 0, with one action for each combination of several choices; or a Box
    with one axis. A bounded `space` has the bounds -1 and 1 in the Box, and the function rescales them.

    Raises:
        ValueError: the models cannot act in `space`, or it has too many combinations of choices.
    """
    if isinstance(space, spaces.Discrete):
        start, kind = space.start, space.dtype.type
        return spaces.Discrete(int(space.n)), lambda action: kind(start + action)
    if isinstance(space, spaces.Box) and space.dtype is not None and space.dtype.kind == "f":
        return _flat_box(space)
    if isinstance(space, spaces.MultiDiscrete):
        return _joint_discrete(space, np.asarray(space.nvec, np.int64), np.asarray(space.start, np.int64))
    if isinstance(space, spaces.MultiBinary):
        return _joint_discrete(space, np.full(space.shape, 2), np.zeros(space.shape, np.int64))
    raise ValueError(f"has the action space {space}; supported: Discrete, MultiDiscrete, MultiBinary and Box of floats")


def _flat_box(space: spaces.Box) -> tuple[Space, ToEnvAction]:
    limit = np.full(space.shape, 1 if space.is_bounded() else np.inf, space.dtype)
    _, _, rescale = rescale_box(space, -limit, limit) if space.is_bounded() else (None, None, lambda action: action)

    def to_env_action(action: NDArray[np.float32]) -> NDArray[np.floating]:
        clipped = np.clip(action.reshape(space.shape), -limit, limit)
        return np.clip(rescale(clipped), space.low, space.high).astype(space.dtype)

    return spaces.Box(-limit.ravel(), limit.ravel(), dtype=limit.dtype.type), to_env_action


def _joint_discrete(space: Space, sizes: NDArray[np.int64], starts: NDArray[np.int64]) -> tuple[Space, ToEnvAction]:
    n_actions = math.prod(sizes.ravel().tolist())
    if n_actions > MAX_JOINT_ACTIONS:
        raise ValueError(f"has {n_actions} combinations of choices as actions; supported: at most {MAX_JOINT_ACTIONS}")

    def to_env_action(action: np.int64) -> NDArray[np.integer]:
        choices = np.array(np.unravel_index(int(action), sizes.ravel())).reshape(sizes.shape)
        return (choices + starts).astype(space.dtype)

    return spaces.Discrete(n_actions), to_env_action
