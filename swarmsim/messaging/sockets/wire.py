"""The wire of the sockets link: a header that tells a body's length in digits, and the body, a JSON object.

Between two programs of this package a body may hold arrays as they lie in memory: it then begins with a NUL
byte, which JSON cannot, and goes on as `codec` writes it. Everybody else gets plain JSON, arrays as lists, and
one message for each component that a message speaks for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from swarmsim.errors import AddressError, MessageError
from swarmsim.messaging import codec
from swarmsim.messaging.message import Message

MAX_FRAME_BYTES = 1 << 28

_ARRAYS = b"\0"
_DIGITS = frozenset(b"0123456789")


class FrameError(MessageError):
    """Bytes that are no frame: nothing that follows them can be read either."""


@dataclass(frozen=True)
class Wire:
    """How frames are written at an address.

    Attributes:
        format: the encoding of bodies; one in which digits are single bytes, such as utf-8.
        header_length: of the header, in bytes.
        longest: bytes of a body at most.

    Raises:
        AddressError: there is no such encoding, or no length fits into such a header.
    """

    format: str = "utf-8"
    header_length: int = 10
    longest: int = MAX_FRAME_BYTES

    def __post_init__(self) -> None:
        try:
            is_known = "{0}".encode(self.format) == b"{0}"
        except (LookupError, TypeError):
            is_known = False
        if not is_known:
            raise AddressError(
                f"format is an encoding whose digits are single bytes, like 'utf-8', not {self.format!r}"
            )
        if type(self.header_length) is not int or not 1 <= self.header_length <= 20:
            raise AddressError(f"header_length is a number of bytes from 1 to 20, not {self.header_length!r}")

    # --- frames

    def frame(self, body: bytes) -> bytes:
        """Return header and body as the one piece in which they are to be sent.

        Raises:
            MessageError: the body is too long for the wire.
        """
        digits = str(len(body))
        if len(body) > self.longest or len(digits) > self.header_length:
            raise MessageError(f"a message of {len(body):,} bytes cannot be sent: {self.longest:,} bytes at most")
        return digits.ljust(self.header_length).encode("ascii") + body

    def length(self, header: bytes, longest: int) -> int:
        """Return the length of a body that a header tells.

        Raises:
            FrameError: it tells none, or one above `longest`.
        """
        digits = header.strip(b" ")
        if not digits or not _DIGITS.issuperset(digits):
            raise FrameError(f"a header tells the length of its body in digits, not {header!r}")
        if int(digits) > longest:
            raise FrameError(f"a body has {longest:,} bytes at most, not {int(digits):,}")
        return int(digits)

    # --- bodies

    def body(self, message: Message) -> bytes:
        """Return the body of a message for a program of this package.

        Raises:
            MessageError: it holds something that is neither a JSON value nor an array of numbers.
        """
        text, arrays = codec.parts(message)
        return codec.joined(text, arrays, _ARRAYS) if arrays else self._encoded(text)

    def plain_bodies(self, message: Message) -> list[bytes]:
        """Return the bodies of a message for somebody who has announced nothing: JSON, one for each component.

        Raises:
            MessageError: it holds something that JSON does not have.
        """
        return [self._encoded(codec.parts(_without_arrays(part))[0]) for part in unpacked(message)]

    def _encoded(self, text: bytes) -> bytes:
        return text if self.format == "utf-8" else text.decode("utf-8").encode(self.format, "replace")

    def is_plain(self, body: bytes) -> bool:
        return not body.startswith(_ARRAYS)

    def message(self, body: bytes) -> Message:
        """Return the message of a body, not yet validated.

        Raises:
            MessageError: it is no JSON object, nor what a program of this package writes.
        """
        if body.startswith(_ARRAYS):
            return codec.decode(body[1:])
        try:
            message = orjson.loads(body if self.format == "utf-8" else body.decode(self.format))
        except (ValueError, RecursionError) as error:
            raise MessageError(f"a body of {len(body)} bytes is not JSON: {error}") from None
        if not isinstance(message, dict):
            raise MessageError(f"a message is a JSON object, not {type(message).__name__}")
        return message


class Frames:
    """What has come of a stream of frames.

    Attributes:
        longest: bytes of a body at most.
    """

    def __init__(self, wire: Wire, longest: int) -> None:
        self.longest = longest
        self._wire = wire
        self._buffer = bytearray()
        self._length = -1

    def bodies(self, data: bytes) -> Iterator[bytes]:
        """Take in what has come, and return each body that is whole with it.

        Raises:
            FrameError: what comes is no frame.
        """
        buffer, header_length = self._buffer, self._wire.header_length
        buffer += data
        while True:
            if self._length < 0:
                if len(buffer) < header_length:
                    return
                self._length = self._wire.length(bytes(buffer[:header_length]), self.longest)
            end = header_length + self._length
            if len(buffer) < end:
                return
            body = bytes(buffer[header_length:end])
            del buffer[:end]
            self._length = -1
            yield body


def unpacked(message: Message) -> list[Message]:
    """Return one message for each component where COMPONENT_ID names several, each with its row of the arrays."""
    names = message.get("COMPONENT_ID")
    if not isinstance(names, list | tuple):
        return [message]
    rows = {
        key: value
        for key, value in message.items()
        if isinstance(value, list | tuple | np.ndarray) and len(value) == len(names)
    }
    return [
        {**message, "ID": f"{message.get('ID')}.{i}", **{key: value[i] for key, value in rows.items()}}
        for i in range(len(names))
    ]


def _without_arrays(value: Any) -> Any:
    """Return `value` with lists for its arrays."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _without_arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(item) for item in value]
    return value
