"""Observations as vectors: of an environment whose observation space is no Box with one axis."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from swarmsim.envs.actions import Space
from swarmsim.envs.border import numbers, shown
from swarmsim.errors import BadValue


class Flat(gymnasium.ObservationWrapper[NDArray[Any], Any, Any]):
    """An environment with flat observations; an observation that its space does not have raises BadValue.

    Attributes:
        left_out: the parts of the space that hold text, which no vector can hold.

    Raises:
        ValueError: the space has no vectors of one size.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.left_out: list[str] = []
        self._space: Space = self._without_text(env.observation_space)
        if not _is_flattenable(self._space):
            raise ValueError(
                f"has the observation space {env.observation_space}; supported: spaces whose elements all have the "
                "same size; one of your own `wrappers` can return such observations"
            )
        super().__init__(env)
        self.observation_space: Space = spaces.flatten_space(self._space)

    def _without_text(self, space: Space, place: str = "") -> Space:
        if not isinstance(space, spaces.Dict):
            return space
        parts: dict[str, Space] = {}
        for name, part in space.items():
            if _is_flattenable(part) or not _is_text(part):
                parts[name] = self._without_text(part, f"{place}{name}.")
            else:
                self.left_out.append(f"{place}{name}")
        return spaces.Dict(parts) if parts else space

    def observation(self, observation: Any) -> NDArray[Any]:
        """Return an observation of the environment as a vector."""
        _check(self._space, observation, "the observation")
        return spaces.flatten(self._space, observation)  # type: ignore[return-value]


def _is_flattenable(space: Space) -> bool:
    try:
        return bool(space.is_np_flattenable)
    except NotImplementedError:  # a space of the environment's own kind
        return False


def _is_text(space: Space) -> bool:
    return space.dtype is not None and np.dtype(space.dtype).kind == "U"


def _check(space: Space, value: Any, name: str) -> None:
    """Raise BadValue if `value` is no element of `space` that a vector can stand for; bounds may be exceeded."""
    match space:
        case spaces.Dict():
            if not hasattr(value, "keys") or not space.keys() <= value.keys():
                raise BadValue(f"{name} must be a dict of {', '.join(map(str, space))}, not {shown(value)}")
            for key, part in space.items():
                _check(part, value[key], f"{name}[{key!r}]")
        case spaces.Tuple():
            if not isinstance(value, tuple | list) or len(value) != len(space):
                raise BadValue(f"{name} must be a tuple of {len(space)}, not {shown(value)}")
            for number, part in enumerate(space):
                _check(part, value[number], f"{name}[{number}]")
        case spaces.Discrete():
            if np.shape(value) or np.asarray(value).dtype.kind not in "biu" or not 0 <= value - space.start < space.n:
                raise BadValue(f"{name} is {shown(value)}, but the observation space is {space}")
        case spaces.Text():
            if value not in space:
                raise BadValue(f"{name} is {shown(value)}, but the observation space is {space}")
        case _:
            numbers(value, space.shape, name)
