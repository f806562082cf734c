"""Checked reading of message fields; a value that cannot be used is rejected in one sentence."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields
from functools import lru_cache
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from swarmsim.errors import MessageRefused
from swarmsim.finite import are_finite
from swarmsim.messaging.message import Message

Scalar = TypeVar("Scalar", bound=np.generic)
Fields = dict[str, Any]

LONGEST_NAME = 1000

# For each type of an array: the numpy kinds it accepts, and what an error calls its values.
_ACCEPTED = {
    np.uint8: ("u", "bytes"),
    np.bool_: ("b", "true or false"),
    np.int64: ("iu", "whole numbers"),
    np.float32: ("iuf", "numbers"),
    np.float64: ("iuf", "numbers"),
}


def invalid_field(message: Message, key: str, expected: str) -> MessageRefused:
    """Return the error for a message whose field `key` should be `expected`."""
    value = message.get(key, "nothing")
    shown = f"an array {value.shape}" if isinstance(value, np.ndarray) else " ".join(repr(value).split())[:60]
    return MessageRefused(f"{key} from {str(message.get('SENT_BY'))[:40]!r} is {expected}, not {shown}")


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
    """Return whether a field is that text; it may be missing or hold anything else, also an array."""
    value = message.get(key)
    return isinstance(value, str) and value == wanted


def reply_address(request: Message) -> dict[str, str]:
    """Return the address of a reply: the room of the request, or its sender alone if DIRECT asks for that.

    Clients of the reference system only read messages that have a TO_ROOM, so the room is the default.
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
    kinds, meaning = _ACCEPTED[dtype]
    try:
        array = np.asarray(message.get(key))
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    if array.dtype.kind in kinds:
        return array.astype(dtype, copy=False)
    raise invalid_field(message, key, f"made of {meaning}")


def by_component(message: Message, key: str, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return a field that maps components to values: only those of `names`, if they are given."""
    value = message.get(key)
    if not isinstance(value, Mapping):
        raise invalid_field(message, key, "a mapping of components")
    return dict(value) if names is None else {name: value[name] for name in names if name in value}


def number_by_name(message: Message, key: str, *, default: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return a field that maps names to numbers."""
    if default is not None and key not in message:
        return dict(default)
    return {name: number({**message, key: value}, key) for name, value in by_component(message, key).items()}


def genome(message: Message, key: str, vector: object, length: int) -> NDArray[np.float32]:
    """Return the weights (G,) of one component, all finite."""
    message = {**message, key: vector}
    weights = numbers(message, key, np.float32)
    if weights.shape != (length,) or not are_finite(weights):
        raise invalid_field(message, key, f"made of {length} finite weights for each component")
    return weights


def component_ids(message: Message, key: str = "COMPONENT_ID") -> tuple[str, ...]:
    """Return the components that a message speaks for: one process can answer for several."""
    ids = message.get(key)
    names = (ids,) if isinstance(ids, str) else tuple(ids) if isinstance(ids, list | tuple) else ()
    try:
        if _are_names(names):
            return names
    except TypeError:  # an item that is not hashable is no name
        pass
    raise invalid_field(message, key, "a component's name or several")


@lru_cache(maxsize=64)
def _are_names(names: tuple[object, ...]) -> bool:
    return bool(names) and all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in names)


@lru_cache(maxsize=1 << 14)
def component_order(component_id: str) -> tuple[object, ...]:
    """Return the sort key of a component id, with numbers by value: model2 comes before model10."""
    stem = component_id.rstrip("0123456789")
    digits = component_id[len(stem) :]
    return stem, int(digits) if digits else -1, digits


def message_field(key: str, read: Callable[[Message, str], Any], **default: Any) -> Any:
    """Return a dataclass field of a `Declared` message, which is sent as `key` unless it is None or empty."""
    return field(metadata={"key": key, "read": read}, **default)


class Declared:
    """A message whose fields are declared by `message_field`."""

    KIND: ClassVar[tuple[str, object]]  # the key and value that tell it from others; None if the key's presence does

    @classmethod
    def is_in(cls, message: Message) -> bool:
        """Return whether a message is of this kind; the key may also hold what cannot be compared, such as an array."""
        key, value = cls.KIND
        return key in message and (value is None or (type(message[key]) is type(value) and message[key] == value))

    @classmethod
    def read(cls, message: Message) -> Self | None:
        if not cls.is_in(message):
            return None
        return cls(**{name: read(message, key) for name, key, read in cls._declared()})

    def fields(self) -> Fields:
        key, value = self.KIND
        values = {other: getattr(self, name) for name, other, _ in self._declared()}
        sent = {other: item for other, item in values.items() if other == key or not (item is None or item == {})}
        return sent if value is None else {key: value, **sent}

    @classmethod
    def _declared(cls) -> list[tuple[str, str, Callable[[Message, str], Any]]]:
        return [(f.name, f.metadata["key"], f.metadata["read"]) for f in fields(cls)]  # type: ignore[arg-type]
