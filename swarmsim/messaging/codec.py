"""A message as bytes, for links inside one host: a JSON body, then its arrays as they lie in memory.

Body: the JSON's length as 4 bytes (little endian), the JSON, and the arrays' bytes one after the
other. Each array is told in the JSON by `{"__array__": [dtype, shape]}` at its place. A handler
gets the same dict that was sent, its arrays read-only.
"""

import json
import struct
from typing import Any

import numpy as np

from swarmsim.errors import MessageError
from swarmsim.messaging.message import Message

_LENGTH = struct.Struct("<I")
_ARRAY_KEY = "__array__"
_DTYPE_KINDS = "biuf"
_NOT_JSON = (TypeError, ValueError, RecursionError)


def encode(message: Message) -> bytes:
    """Return the body of `message`.

    Raises:
        MessageError: it holds something that is neither a JSON value nor an array of numbers.
    """
    arrays: list[bytes] = []
    try:
        text = _as_json(message, arrays).encode()
    except _NOT_JSON as error:
        raise MessageError(
            f"{_guilty_part(message)} cannot be sent: no JSON value or array of numbers: {error}"
        ) from None
    return b"".join((_LENGTH.pack(len(text)), text, *arrays))


def _as_json(value: object, arrays: list[bytes]) -> str:
    """Return `value` as JSON, and add the bytes of its arrays to `arrays`."""

    def other(item: object) -> Any:
        if isinstance(item, np.ndarray) and item.dtype.kind in _DTYPE_KINDS:
            arrays.append(item.tobytes())
            return {_ARRAY_KEY: [item.dtype.str, item.shape]}
        if isinstance(item, np.generic) and item.dtype.kind in _DTYPE_KINDS:
            return item.item()
        raise TypeError(f"{type(item).__name__} {str(item)[:40]!r}")

    return json.dumps(value, default=other)


def _guilty_part(message: Message) -> str:
    for key, value in message.items():
        try:
            _as_json({key: value}, [])
        except _NOT_JSON:
            return f"the value of {key}"
    return "the message"


def decode(body: bytes) -> Message:
    """Return the message of a body.

    Raises:
        MessageError: the body is none that `encode` wrote.
    """
    try:
        (length,) = _LENGTH.unpack_from(body)
        start = _LENGTH.size + length
        if start > len(body):
            raise ValueError("it is cut short")
        text = body[_LENGTH.size : start].decode()
        message = json.loads(text, object_hook=_Arrays(body, start)) if _ARRAY_KEY in text else json.loads(text)
    except (ValueError, TypeError, struct.error, RecursionError) as error:
        raise MessageError(f"a body of {len(body)} bytes is no message: {error}") from None
    if not isinstance(message, dict):
        raise MessageError(f"a message is a JSON object, not {type(message).__name__}")
    return message


class _Arrays:
    """Put the arrays behind the JSON back at their places, in the order in which they were told."""

    def __init__(self, body: bytes, start: int) -> None:
        self._body = body
        self._start = start

    def __call__(self, found: dict[str, Any]) -> Any:
        if found.keys() != {_ARRAY_KEY}:
            return found
        name, shape = found[_ARRAY_KEY]
        dtype = np.dtype(name)
        if dtype.kind not in _DTYPE_KINDS or min(shape, default=0) < 0:
            raise ValueError(f"no array of numbers: {name} {shape}")
        size = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(self._body, dtype, size, self._start).reshape(shape)
        self._start += size * dtype.itemsize
        return array
