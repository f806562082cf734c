"""A message as bytes, for links inside one host: a JSON body, then its arrays as they lie in memory.

Body: the JSON's length and the number of arrays, 4 bytes each (little endian), the JSON, and the arrays'
bytes one after the other. Each array is told in the JSON by `{"__array__": [dtype, shape]}` at its
place. A handler gets the same dict that was sent, its arrays read-only.
"""

import math
import struct
from typing import Any

import numpy as np
import orjson

from swarmsim.errors import MessageError
from swarmsim.messaging.message import Message

MAX_MESSAGE_BYTES = 1 << 30

_HEAD = struct.Struct("<II")
_ARRAY_KEY = "__array__"
_ARRAY_KEY_AS_JSON = b'"__array__":'
_DTYPES = {dtype: dtype.str for dtype in map(np.dtype, "?bhilqBHILQefd")}
_DTYPE_OF = {name: dtype for dtype, name in _DTYPES.items()}
_NOTHING_ELSE = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_NOT_JSON = (TypeError, ValueError, RecursionError)


def encode(message: Message) -> bytes:
    """Return the body of `message`.

    Raises:
        MessageError: it holds something that is neither a JSON value nor an array of numbers, or is too long.
    """
    return joined(*parts(message))


def parts(message: Message) -> tuple[bytes, list[bytes]]:
    """Return a message's JSON, in UTF-8, and the bytes of the arrays that are told in it; raises as `encode`."""
    arrays: list[bytes] = []
    try:
        text = _as_json(message, arrays)
    except _NOT_JSON as error:
        raise MessageError(
            f"{_guilty_part(message)} cannot be sent: no JSON value or array of numbers: {error}"
        ) from None
    if arrays and text.count(_ARRAY_KEY_AS_JSON) != len(arrays):
        raise MessageError(f"a message with arrays cannot be sent with a key {_ARRAY_KEY!r} of its own")
    return text, arrays


def joined(text: bytes, arrays: list[bytes], before: bytes = b"") -> bytes:
    """Return the body of the `parts` of a message, after `before`; raises as `encode`."""
    body = b"".join((before, _HEAD.pack(len(text), len(arrays)), text, *arrays))
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageError(f"a message of {len(body):,} bytes cannot be sent: {MAX_MESSAGE_BYTES:,} bytes at most")
    return body


def _as_json(value: object, arrays: list[bytes]) -> bytes:
    """Return `value` as JSON, and add the bytes of its arrays to `arrays`."""

    def other(item: object) -> Any:
        if isinstance(item, np.ndarray) and item.dtype in _DTYPES:
            arrays.append(item.tobytes())
            return {_ARRAY_KEY: (_DTYPES[item.dtype], item.shape)}
        if isinstance(item, np.generic) and item.dtype in _DTYPES:
            return item.item()
        raise TypeError(f"{type(item).__name__} {str(item)[:40]!r}")

    text = orjson.dumps(value, default=other, option=_NOTHING_ELSE)
    if b"null" in text:
        _refuse_not_finite(value)
    return text


def _refuse_not_finite(value: object) -> None:
    """Raise ValueError for a number that JSON does not have, and would silently become null."""
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        raise ValueError(f"{value} is no number; an array can hold it")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for item in inner:
        _refuse_not_finite(item)


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
        length, n_arrays = _HEAD.unpack_from(body)
        end = _HEAD.size + length
        if end > len(body):
            raise ValueError("it is cut short")
        message = orjson.loads(body[_HEAD.size : end])
        if n_arrays:
            end = _Arrays(body, end, n_arrays).put_all_into(message)
        if end != len(body):
            raise ValueError(f"{len(body) - end} bytes of it have no place in it")
    except (ValueError, TypeError, struct.error, RecursionError) as error:
        raise MessageError(f"a body of {len(body)} bytes is no message: {error}") from None
    if not isinstance(message, dict):
        raise MessageError(f"a message is a JSON object, not {type(message).__name__}")
    return message


class _Arrays:
    """Put the arrays behind the JSON back at their places, in the order in which they were told."""

    def __init__(self, body: bytes, start: int, number: int) -> None:
        self._body = body
        self._start = start
        self._left = number

    def put_all_into(self, message: object) -> int:
        """Return where the last of them ends."""
        self._put_into(message)
        if self._left:
            raise ValueError(f"{self._left} of its arrays have no place in it")
        return self._start

    def _put_into(self, value: object) -> None:
        """Replace what stands for arrays in a dict or a list, and in all that it holds, until none is left."""
        places: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for place, item in places:
            if type(item) is dict and _ARRAY_KEY in item and len(item) == 1:
                value[place] = self._next(*item[_ARRAY_KEY])  # type: ignore[index]
                self._left -= 1
            elif type(item) is dict or type(item) is list:
                self._put_into(item)
            if not self._left:
                return

    def _next(self, name: str, shape: list[int]) -> np.ndarray:
        if name not in _DTYPE_OF or type(shape) is not list or min(shape, default=0) < 0:
            raise ValueError(f"no array of numbers: {str(name)[:40]} {str(shape)[:40]}")
        array: np.ndarray = np.ndarray(shape, _DTYPE_OF[name], self._body, self._start)
        self._start += array.nbytes
        return array
