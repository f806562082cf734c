"""What the fields of a message hold, whichever of their forms a component sent; anything else is refused."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from swarmsim.errors import MessageRefused
from swarmsim.learning.distributions import Categorical, Distribution
from swarmsim.messaging.message import Message

Scalar = TypeVar("Scalar", bound=np.generic)

LONGEST_NAME = 1000

_ACCEPTED = {
    np.bool_: "b",
    np.int64: "iu",
    np.float32: "iuf",
    np.float64: "iuf",
}  # numpy's letters for kinds of numbers
_PYTHON = {np.bool_: bool, np.int64: int, np.float32: float, np.float64: float}
_KINDS = {np.bool_: "true or false", np.int64: "whole numbers", np.float32: "numbers", np.float64: "numbers"}


def invalid_field(message: Message, key: str, what: str) -> MessageRefused:
    """Return the error for a message whose field `key` should be `what`."""
    value = message.get(key, "nothing")
    told = f"an array {value.shape}" if isinstance(value, np.ndarray) else " ".join(repr(value).split())[:60]
    return MessageRefused(f"{key} from {str(message.get('SENT_BY'))[:40]!r} is {what}, not {told}")


def flag(message: Message, key: str, *, default: bool | None = None) -> bool:
    """Return a field that is true or false.

    Raises (every function here):
        MessageRefused: the field is missing, or holds something else.
    """
    value = message.get(key, default)
    if value is True or value is False:
        return value
    raise invalid_field(message, key, "true or false")


def text(message: Message, key: str) -> str:
    """Return a field that is a text."""
    value = message.get(key)
    if isinstance(value, str):
        return value
    raise invalid_field(message, key, "a text")


def has_value(message: Message, key: str, wanted: str) -> bool:
    """Tell whether a field is that text; it may be missing, or hold anything else, arrays too."""
    value = message.get(key)
    return isinstance(value, str) and value == wanted


def reply_address(request: Message) -> dict[str, str]:
    """Return where the answer to a request goes: to its asker alone, if asked for (DIRECT) or asked so; else its room.

    Who joins rooms alone may not bear a message that comes without one.
    """
    room = request.get("TO_ROOM")
    if flag(request, "DIRECT", default=False) or not isinstance(room, str):
        return {"TO": text(request, "SENT_BY")}
    return {"TO_ROOM": room}


def integer(message: Message, key: str, *, minimum: int = 0, default: int | None = None) -> int:
    """Return a field that is a whole number."""
    value = message.get(key, default)
    if type(value) is int and value >= minimum:
        return value
    raise invalid_field(message, key, f"a whole number from {minimum}")


def number(message: Message, key: str, *, default: float | None = None) -> float:
    """Return a field that is one number."""
    value = message.get(key, default)
    if type(value) is float or type(value) is int:
        return float(value)
    raise invalid_field(message, key, "a number")


def strings(message: Message, key: str) -> list[str]:
    """Return a field that is a list of texts."""
    value = message.get(key, ())
    if isinstance(value, list | tuple) and all(type(item) is str and len(item) <= LONGEST_NAME for item in value):
        return list(value)
    raise invalid_field(message, key, "a list of names")


def numbers(message: Message, key: str, dtype: type[Scalar]) -> NDArray[Scalar]:
    """Return a field that is a number or an array of numbers, as an array of `dtype`."""
    value = message.get(key)
    if value is not None:
        try:
            array = np.asarray(value)
        except ValueError:  # lists of different lengths
            array = np.asarray(None)
        if array.dtype.kind in _ACCEPTED[dtype]:
            return array.astype(dtype, copy=False)
    raise invalid_field(message, key, f"made of {_KINDS[dtype]}")


def rows(message: Message, key: str, width: int) -> NDArray[np.float32]:
    """Return a field that is one vector of `width` numbers for each environment, (N, width)."""
    array = numbers(message, key, np.float32)
    if array.size == 0 or array.size % width:
        raise invalid_field(message, key, f"one vector of {width} numbers for each environment")
    return array.reshape(-1, width)


def by_environment(message: Message, key: str, dtype: type[Scalar], n_envs: int) -> NDArray[Scalar]:
    """Return a value for each environment, (N,); with one environment a single value may stand for itself."""
    value = message.get(key)
    if n_envs == 1 and type(value) is _PYTHON[dtype]:
        return np.array((value,), dtype)
    array = numbers(message, key, dtype).reshape(-1)
    if array.size != n_envs:
        raise invalid_field(message, key, f"one value for each of {n_envs} environment(s)")
    return array


def choices(message: Message, key: str, n_envs: int, n_choices: int) -> NDArray[np.int64]:
    """Return an action for each environment, (N,), counted from 0."""
    value = message.get(key)
    if n_envs == 1 and type(value) is int and 0 <= value < n_choices:
        return np.array((value,))
    array = by_environment(message, key, np.int64, n_envs) if type(value) is not int else np.full(n_envs, -1)
    if array.min() < 0 or array.max() >= n_choices:
        raise invalid_field(message, key, f"made of actions from 0 to {n_choices - 1}")
    return array


def actions_taken(message: Message, n_envs: int, distribution: Distribution) -> NDArray[Any]:
    """Return an action for each environment: (N,) of those to choose from, or (N, D) of D numbers each."""
    if isinstance(distribution, Categorical):
        return choices(message, "ACTION", n_envs, distribution.n)
    (width,) = distribution.action_shape
    vectors = rows(message, "ACTION", width)
    if len(vectors) != n_envs or not are_finite(vectors):
        raise invalid_field(message, "ACTION", f"{width} finite number(s) for each of {n_envs} environment(s)")
    return vectors


def by_component(message: Message, key: str, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return a field that holds something for each component: those of `names`, where they are given."""
    value = message.get(key)
    if not isinstance(value, Mapping):
        raise invalid_field(message, key, "a mapping of components")
    return dict(value) if names is None else {name: value[name] for name in names if name in value}


def number_of_each(message: Message, key: str) -> dict[str, float]:
    """Return a field that holds a number for each of some names."""
    values = by_component(message, key)
    return {name: number({**message, key: value}, key) for name, value in values.items()}


def are_finite(array: NDArray[Any]) -> bool:
    """Tell whether all numbers of an array are finite: their sum then is, at the sizes that learning has."""
    return isfinite(np.add.reduce(array, axis=None))


def genome(message: Message, key: str, vector: object, length: int) -> NDArray[np.float32]:
    """Return one component's weights (G,), all finite."""
    found = numbers({**message, key: vector}, key, np.float32)
    if found.shape != (length,) or not are_finite(found):
        raise invalid_field({**message, key: vector}, key, f"made of {length} finite weights for each component")
    return found


def remembered(message: Message, vectors: object, length: int) -> NDArray[np.float32]:
    """Return what an optimiser remembers of one component's weights, its two moments, (2, G), all finite."""
    found = numbers({**message, "MOMENTS": vectors}, "MOMENTS", np.float32)
    if found.shape != (2, length) or not are_finite(found) or (found[1] < 0).any():
        raise invalid_field({**message, "MOMENTS": vectors}, "MOMENTS", f"two finite moments of {length} weights each")
    return found


def component_ids(message: Message, key: str = "COMPONENT_ID") -> tuple[str, ...]:
    """Return the components that a message speaks for: one process can answer for several."""
    ids = message.get(key)
    names = (ids,) if isinstance(ids, str) else tuple(ids) if isinstance(ids, list | tuple) else ()
    try:
        are_names = _are_names(names)
    except TypeError:  # something in it is no name, nor anything like it
        are_names = False
    if not are_names:
        raise invalid_field(message, key, "a component's name or several")
    return names


@lru_cache(maxsize=64)
def _are_names(names: tuple[object, ...]) -> bool:
    return bool(names) and all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in names)


@lru_cache(maxsize=1 << 14)
def component_order(component_id: str) -> tuple[object, ...]:
    """Sort key of component ids, numbers by value: model2 comes before model10."""
    text = component_id.rstrip("0123456789")
    digits = component_id[len(text) :]
    return text, int(digits) if digits else -1, digits
