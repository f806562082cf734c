"""A message as bytes, for links inside one host: JSON followed by the raw bytes of its arrays.

Body: the length of the JSON and the number of arrays (4 bytes each, little endian), the JSON, and the arrays' bytes.
In the JSON, `{"__array__": [dtype, shape]}` stands at the place of each array. Decoded arrays are read-only.
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
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_ENCODING_ERRORS = (TypeError, ValueError, RecursionError)


def encode(message: Message) -> bytes:
    """Return the body of `message`.

    Raises:
        MessageError: a value is neither a JSON value nor an array of numbers, or the body is too long.
    """
    return join_parts(*encode_parts(message))


def encode_parts(message: Message) -> tuple[bytes, list[bytes]]:
    """Return a message's JSON (UTF-8) and the bytes of each of its arrays; raises as `encode`."""
    arrays: list[bytes] = []
    try:
        text = _encode_json(message, arrays)
    except _ENCODING_ERRORS as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, _ENCODING_ERRORS):
            raise error.__cause__ from None  # a signal's handler raised it while an array was encoded
        raise MessageError(
            f"{_invalid_part(message)} cannot be sent: not a JSON value or an array of numbers: {error}"
        ) from None
    if arrays and text.count(_ARRAY_KEY_AS_JSON) != len(arrays):
        raise MessageError(f"a message with arrays cannot have the key {_ARRAY_KEY!r} itself")
    return text, arrays


def join_parts(text: bytes, arrays: list[bytes], prefix: bytes = b"") -> bytes:
    """Return `prefix` and the body of these parts; raises as `encode`."""
    body = b"".join((prefix, _HEAD.pack(len(text), len(arrays)), text, *arrays))
    if len(body) > MAX_MESSAGE_BYTES:
        raise too_long(len(body), MAX_MESSAGE_BYTES)
    return body


def too_long(size: int, limit: int) -> MessageError:
    """Return the error for a message of `size` bytes where `limit` are allowed."""
    megabytes = f" ({size / 1e6:,.0f} MB)" if size >= 1e6 else ""
    return MessageError(
        f"a message of {size:,} bytes{megabytes} cannot be sent: {limit:,} bytes at most; send it in parts"
    )


def _encode_json(value: object, arrays: list[bytes]) -> bytes:
    """Return `value` as JSON, and append the bytes of its arrays to `arrays`."""

    def encode_numpy(item: object) -> Any:
        if isinstance(item, np.ndarray) and item.dtype in _DTYPES:
            arrays.append(item.tobytes())
            return {_ARRAY_KEY: (_DTYPES[item.dtype], item.shape)}
        if isinstance(item, np.generic) and item.dtype in _DTYPES:
            return item.item()
        raise TypeError(f"{type(item).__name__} {str(item)[:40]!r}")

    text = orjson.dumps(value, default=encode_numpy, option=_OPTIONS)
    if b"null" in text:
        _check_finite(value)
    return text


def _check_finite(value: object) -> None:
    """Raise ValueError for NaN and infinities, which orjson would silently write as null."""
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        raise ValueError(f"{value} is not a JSON number; an array can hold it")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for item in inner:
        _check_finite(item)


def _invalid_part(message: Message) -> str:
    for key, value in message.items():
        try:
            _encode_json({key: value}, [])
        except _ENCODING_ERRORS:
            return f"the value of {key}"
    return "the message"


def decode(body: bytes) -> Message:
    """Return the message of a body; raises MessageError unless `encode` returned that body."""
    try:
        length, n_arrays = _HEAD.unpack_from(body)
        end = _HEAD.size + length
        if end > len(body):
            raise ValueError("it is truncated")
        message = orjson.loads(body[_HEAD.size : end])
        if n_arrays:
            end = _ArrayDecoder(body, end, n_arrays).decode_into(message)
        if end != len(body):
            raise ValueError(f"{len(body) - end} surplus bytes")
    except (ValueError, TypeError, struct.error, RecursionError) as error:
        raise MessageError(f"a body of {len(body)} bytes is not a message: {error}") from None
    if not isinstance(message, dict):
        raise MessageError(f"a message must be a JSON object, not {type(message).__name__}")
    return message


class _ArrayDecoder:
    """Replaces the placeholders in a decoded message by the arrays that follow the JSON, in order."""

    def __init__(self, body: bytes, start: int, number: int) -> None:
        self._body = body
        self._start = start
        self._remaining = number

    def decode_into(self, message: object) -> int:
        """Replace all placeholders, and return the end of the last array in the body."""
        self._replace_in(message)
        if self._remaining:
            raise ValueError(f"{self._remaining} of its arrays have no placeholder")
        return self._start

    def _replace_in(self, value: object) -> None:
        """Replace the placeholders in a dict or a list, recursively, until no array remains."""
        items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            kind = type(item)
            if kind is dict and _ARRAY_KEY in item and len(item) == 1:
                value[key] = self._next_array(*item[_ARRAY_KEY])  # type: ignore[index]
                self._remaining -= 1
            elif kind is dict or kind is list:
                self._replace_in(item)
            else:
                continue
            if not self._remaining:
                return

    def _next_array(self, name: str, shape: list[int]) -> np.ndarray:
        if name not in _DTYPE_OF or type(shape) is not list or min(shape, default=0) < 0:
            raise ValueError(f"not an array of numbers: {str(name)[:40]} {str(shape)[:40]}")
        array: np.ndarray = np.ndarray(shape, _DTYPE_OF[name], self._body, self._start)
        self._start += array.nbytes
        return array
