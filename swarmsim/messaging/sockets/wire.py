"""The wire format of the sockets link: frames, each a header with the length of a body and the body, a JSON object.

Programs of this package may send each other arrays as raw bytes: such a body begins with a NUL byte, which JSON cannot
contain, and continues as `codec` encodes it. All other programs get plain JSON: arrays as lists, and one message per
component if a message covers several components.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from swarmsim.errors import AddressError, MessageError
from swarmsim.messaging import codec
from swarmsim.messaging.message import Message

MAX_BODY_BYTES = 1 << 28

_ARRAYS = b"\0"
_DIGITS = frozenset(b"0123456789")


class FrameError(MessageError):
    """Bytes that are not a frame; nothing after them on the connection can be decoded."""


@dataclass(frozen=True)
class Wire:
    """How messages are encoded as frames at one address.

    Attributes:
        format: the text encoding of bodies; digits must be single bytes in it, as in utf-8.
        header_length: in bytes, 1 to 20.
        max_body_bytes: the maximum length of a body.

    Raises:
        AddressError: the encoding or the header length cannot be used.
    """

    format: str = "utf-8"
    header_length: int = 10
    max_body_bytes: int = MAX_BODY_BYTES

    def __post_init__(self) -> None:
        try:
            is_known = "{0}".encode(self.format) == b"{0}"
        except (LookupError, TypeError):
            is_known = False
        if not is_known:
            raise AddressError(
                f"format must be an encoding whose digits are single bytes, like 'utf-8', not {self.format!r}"
            )
        if type(self.header_length) is not int or not 1 <= self.header_length <= 20:
            raise AddressError(f"header_length must be a number of bytes from 1 to 20, not {self.header_length!r}")

    # --- frames

    def frame(self, body: bytes) -> bytes:
        """Return header and body as one piece, to be sent together; raises MessageError if the body is too long."""
        digits = str(len(body))
        if len(body) > self.max_body_bytes or len(digits) > self.header_length:
            raise codec.too_long(len(body), min(self.max_body_bytes, 10**self.header_length - 1))
        return digits.ljust(self.header_length).encode("ascii") + body

    def body_length(self, header: bytes, max_bytes: int) -> int:
        """Return the body's length in a header; raises FrameError if it is no number or above `max_bytes`."""
        digits = header.strip(b" ")
        if not digits or not _DIGITS.issuperset(digits):
            raise FrameError(f"a header must be the length of its body in digits, not {header!r}")
        if int(digits) > max_bytes:
            raise FrameError(f"a body has {max_bytes:,} bytes at most, not {int(digits):,}")
        return int(digits)

    # --- bodies

    def encode(self, message: Message) -> bytes:
        """Return the body of a message for a program of this package; raises as `codec.encode`."""
        text, arrays = codec.encode_parts(message)
        return codec.join_parts(text, arrays, _ARRAYS) if arrays else self._encode_text(text)

    def encode_plain(self, message: Message) -> list[bytes]:
        """Return a message's bodies for any other program: plain JSON, one per component; raises as `codec.encode`."""
        return [
            self._encode_text(codec.encode_parts(_arrays_as_lists(part))[0]) for part in split_by_component(message)
        ]

    def _encode_text(self, text: bytes) -> bytes:
        return text if self.format == "utf-8" else text.decode("utf-8").encode(self.format, "replace")

    def decode(self, body: bytes) -> Message:
        """Return the message of a body, not yet validated; raises MessageError if the body holds no JSON object."""
        if not is_plain_body(body):
            return codec.decode(body[1:])
        try:
            message = orjson.loads(body if self.format == "utf-8" else body.decode(self.format))
        except (ValueError, RecursionError) as error:
            raise MessageError(f"a body of {len(body)} bytes is not JSON: {error}") from None
        if not isinstance(message, dict):
            raise MessageError(f"a message is a JSON object, not {type(message).__name__}")
        return message


def is_plain_body(body: bytes) -> bool:
    return not body.startswith(_ARRAYS)


class FrameDecoder:
    """Splits a stream of bytes into frames' bodies; `max_body_bytes`, their maximum, may change between frames."""

    def __init__(self, wire: Wire, max_body_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self._wire = wire
        self._buffer = bytearray()
        self._length = -1

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add received bytes, and yield each body that is now complete; raises FrameError if a header is invalid."""
        buffer, header_length = self._buffer, self._wire.header_length
        buffer += data
        while True:
            if self._length < 0:
                if len(buffer) < header_length:
                    return
                self._length = self._wire.body_length(bytes(buffer[:header_length]), self.max_body_bytes)
            end = header_length + self._length
            if len(buffer) < end:
                return
            body = bytes(buffer[header_length:end])
            del buffer[:end]
            self._length = -1
            yield body


def split_by_component(message: Message) -> list[Message]:
    """Return one message per component of a list in COMPONENT_ID, each with its row of the lists and arrays."""
    names = message.get("COMPONENT_ID")
    if not isinstance(names, list | tuple):
        return [message]
    batched = {
        key: value
        for key, value in message.items()
        if isinstance(value, list | tuple | np.ndarray) and len(value) == len(names)
    }
    return [
        {**message, "ID": f"{message.get('ID')}.{i}", **{key: value[i] for key, value in batched.items()}}
        for i in range(len(names))
    ]


def _arrays_as_lists(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _arrays_as_lists(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_arrays_as_lists(item) for item in value]
    return value
