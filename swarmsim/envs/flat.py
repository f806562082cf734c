"""Observations as vectors: of an environment whose observation space is no Box with one axis."""

import math
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
        self._space, self.left_out = without_text(env.observation_space)
        if not is_flattenable(self._space):
            raise ValueError(
                f"has the observation space {env.observation_space}; supported: spaces whose elements all have the "
                "same size; one of your own `wrappers` can return such observations"
            )
        super().__init__(env)
        self.observation_space: Space = spaces.flatten_space(self._space)

    def observation(self, observation: Any) -> NDArray[Any]:
        """Return an observation of the environment as a vector."""
        return _vector(self._space, observation, "the observation")


def is_vector(space: Space) -> bool:
    """Return whether observations of `space` are vectors already, which models receive as they are."""
    return isinstance(space, spaces.Box) and len(space.shape) == 1


def without_text(space: Space, place: str = "") -> tuple[Space, list[str]]:
    """Return a space without the text that no vector can hold, and the names of the parts that are left out."""
    if not isinstance(space, spaces.Dict):
        return space, []
    parts: list[tuple[str, Space]] = []
    left_out: list[str] = []
    for name, part in space.items():
        if is_flattenable(part) or not _is_text(part):
            kept_part, names = without_text(part, f"{place}{name}.")
            parts.append((name, kept_part))
            left_out += names
        else:
            left_out.append(f"{place}{name}")
    return spaces.Dict(parts) if parts else space, left_out


def vectors(space: Space, value: Any) -> tuple[NDArray[Any], bool]:
    """Return observations as vectors (B, n), and whether it is a single one.

    Args:
        value: one observation of `space`; or a batch, in which each array has one more axis in front, and a tuple or an
            array stands for several numbers or texts; or vectors, as `Flat` returns them.

    Raises:
        BadValue: `value` is none of these.
    """
    if isinstance(space, spaces.Box):
        rows, is_single = _arrays(value, space.shape, (spaces.flatdim(space),))
        return (rows if is_vector(space) else rows.astype(space.dtype)), is_single
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and not _fits(value, space.shape):
        flat_shape = (spaces.flatdim(space),)
        if _fits(value, flat_shape):
            return _arrays(value, flat_shape)
    size = _batch_size(space, value)
    if size is None:
        return _vector(space, value, "the observation")[None], True
    if size == 0:
        raise BadValue("the batch holds no observation")
    each = [_vector(space, _at(space, value, row), f"observation {row} of the batch") for row in range(size)]
    return np.stack(each), False


def _arrays(value: Any, *shapes: tuple[int, ...]) -> tuple[NDArray[Any], bool]:
    """Return arrays of one of these shapes, or a batch of them, as rows; and whether it is a single one."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise BadValue(f"the observation is {shown(value)}, which is no array of numbers") from None
    shape = next((shape for shape in shapes if _fits(array, shape)), None)
    if array.dtype.kind in "biuf" and (shape is None or array.size == 0):
        raise BadValue(f"an observation has the shape {shapes[0]}, or (n, …) in a batch of n, not {array.shape}")
    return numbers(array, array.shape).reshape(-1, math.prod(shape or ())), array.shape == shape


def _fits(array: NDArray[Any], shape: tuple[int, ...] | None) -> bool:
    """Return whether an array has this shape, or one more axis in front."""
    return shape in (array.shape, array.shape[1:])


def _batch_size(space: Space, value: Any) -> int | None:
    """Return the number of observations in a batch; None for a single one, or for what `_vector` reports."""
    match space:
        case spaces.Dict() if hasattr(value, "keys") and space.keys() <= value.keys():
            sizes = {str(name): _batch_size(part, value[name]) for name, part in space.items()}
        case spaces.Tuple() if isinstance(value, tuple | list) and len(value) == len(space):
            sizes = {str(number): _batch_size(part, value[number]) for number, part in enumerate(space)}
        case spaces.Dict() | spaces.Tuple():
            return None
        case spaces.Text():
            return len(value) if isinstance(value, tuple | list | np.ndarray) else None
        case _:
            try:
                return len(value) if np.ndim(value) > len(space.shape or ()) else None
            except ValueError:  # lists of different lengths
                return None
    if len(set(sizes.values())) > 1:
        parts = ", ".join(f"{size or 'no batch'} in {name}" for name, size in sizes.items())
        raise BadValue(f"each part of a batch must hold the same number of observations, not {parts}")
    return next(iter(sizes.values()), None)


def _at(space: Space, value: Any, row: int) -> Any:
    """Return one observation of a batch."""
    match space:
        case spaces.Dict():
            return {name: _at(part, value[name], row) for name, part in space.items()}
        case spaces.Tuple():
            return tuple(_at(part, value[number], row) for number, part in enumerate(space))
        case _:
            return value[row]


def _vector(space: Space, value: Any, name: str) -> NDArray[Any]:
    _check(space, value, name)
    return spaces.flatten(space, value)  # type: ignore[return-value]


def is_flattenable(space: Space) -> bool:
    """Return whether each observation of `space` can be a vector, and all of the same size."""
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
        case spaces.MultiDiscrete():
            places = numbers(value, space.shape, name) - space.start
            if places.dtype.kind not in "biu" or not ((places >= 0) & (places < space.nvec)).all():
                raise BadValue(f"{name} is {shown(value)}, but the observation space is {space}")
        case spaces.Text():
            if value not in space:
                raise BadValue(f"{name} is {shown(value)}, but the observation space is {space}")
        case _:
            numbers(value, space.shape, name)
