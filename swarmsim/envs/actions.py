"""Actions as models take them, a choice or a vector of numbers, and what they are in an environment's own space."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.wrappers.utils import rescale_box
from numpy.typing import NDArray

MOST_JOINT_ACTIONS = 4096  # combinations of several choices that a model may have a logit for, each

Space = spaces.Space[Any]
ToOwn = Callable[[Any], Any]


def simplified(space: Space) -> tuple[Space, ToOwn]:
    """Return the space that models act in, and what turns an action of it into one of the environment's own `space`.

    It is Discrete, counted from 0, each combination of several choices being one action; or a Box of one axis, its
    numbers from -1 to 1 wherever those of `space` have bounds, to which they are stretched.

    Raises:
        ValueError: `space` has neither choices nor numbers, or too many to choose from.
    """
    if isinstance(space, spaces.Discrete):
        start, kind = space.start, space.dtype.type
        return spaces.Discrete(int(space.n)), lambda action: kind(start + action)
    if isinstance(space, spaces.Box) and space.dtype is not None and space.dtype.kind == "f":
        return _numbers(space)
    if isinstance(space, spaces.MultiDiscrete):
        return _joined(space, np.asarray(space.nvec, np.int64), np.asarray(space.start, np.int64))
    if isinstance(space, spaces.MultiBinary):
        return _joined(space, np.full(space.shape, 2), np.zeros(space.shape, np.int64))
    raise ValueError(f"has {space} as actions; Discrete, MultiDiscrete, MultiBinary or a Box of floats is needed")


def _numbers(space: spaces.Box) -> tuple[Space, ToOwn]:
    limit = np.full(space.shape, 1 if space.is_bounded() else np.inf, space.dtype)
    _, _, stretched = rescale_box(space, -limit, limit) if space.is_bounded() else (None, None, lambda action: action)

    def own(action: NDArray[np.float32]) -> NDArray[np.floating]:
        within = np.clip(action.reshape(space.shape), -limit, limit)
        return np.clip(stretched(within), space.low, space.high).astype(space.dtype)

    return spaces.Box(-limit.ravel(), limit.ravel(), dtype=limit.dtype.type), own


def _joined(space: Space, sizes: NDArray[np.int64], starts: NDArray[np.int64]) -> tuple[Space, ToOwn]:
    number = math.prod(sizes.ravel().tolist())
    if number > MOST_JOINT_ACTIONS:
        told = f"has {number} combinations of choices as actions"
        raise ValueError(f"{told}; at most {MOST_JOINT_ACTIONS} can be told apart")

    def own(action: np.int64) -> NDArray[np.integer]:
        choices = np.array(np.unravel_index(int(action), sizes.ravel())).reshape(sizes.shape)
        return (choices + starts).astype(space.dtype)

    return spaces.Discrete(number), own


def told(space: Space) -> dict[str, Any]:
    """Return a space of actions as plain values, of which `read` makes it again."""
    facts: dict[str, Any]
    match space:
        case spaces.Discrete():
            facts = {"n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            facts = {"nvec": space.nvec.tolist(), "start": space.start.tolist(), "dtype": str(space.dtype)}
        case spaces.MultiBinary():
            facts = {"n": space.n}
        case spaces.Box():
            facts = {"low": space.low.tolist(), "high": space.high.tolist(), "dtype": str(space.dtype)}
        case _:
            raise TypeError(f"{space} is no space that models act in")
    return {"space": type(space).__name__, **facts}


def read(facts: Mapping[str, Any]) -> Space:
    """Return the space that was `told`.

    Raises:
        KeyError, TypeError, ValueError: it was not.
    """
    kinds = {kind.__name__: kind for kind in (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)}
    arguments: dict[str, Any] = {key: value for key, value in facts.items() if key != "space"}
    if "dtype" in arguments:
        arguments["dtype"] = np.dtype(arguments["dtype"]).type
    for bound in ("low", "high"):
        if bound in arguments:
            arguments[bound] = np.array(arguments[bound], arguments["dtype"])
    return kinds[facts["space"]](**arguments)
