"""Messages as fragments that a pipe keeps whole, and messages again out of whatever bytes lie in a pipe.

A fragment is at most PIPE_BUF long, so that it is written in one piece. It begins with a magic that no
text holds, and its checksum covers all that follows; what is no such fragment is skipped up to the
next magic.
"""

import select
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from swarmsim.messaging import codec

MOST_UNFINISHED = 1024

MAGIC = b"\xf5\xfa\xf7\xfd"  # bytes that UTF-8 never has
# Magic and checksum; then the payload's length, flags, and the sender, slot and position of an `Arrival`.
_HEADER = struct.Struct("<4sIHBQHQ")
_FRONT, _FIELDS = struct.Struct("<4sI"), struct.Struct("<HBQHQ")
_PAYLOAD = select.PIPE_BUF - _HEADER.size
_FIRST, _LAST, _FLOOD = 1, 2, 4
_WHOLE = _FIRST | _LAST
_NUMBER_BITS = 16

Piece = tuple[int, bytes, int]
"""What a fragment carries to each of its receivers: flags, payload, and the payload's checksum."""

Arrival = tuple[int, int, int, bytes, bool]
"""A message that came: its sender's number, the sender's slot for this receiver, how many bytes that sender has sent
here, this message included, its body, and whether that sender floods."""

Complain = Callable[[str, str], None]


def sender_number(process_id: int, count: int) -> int:
    """Return the number of the client that was the `count`-th of a process."""
    return process_id << _NUMBER_BITS | count % (1 << _NUMBER_BITS)


def id_of_sender(sender: int) -> str:
    """Return the member id of the client with that number."""
    return f"{sender >> _NUMBER_BITS}-{sender % (1 << _NUMBER_BITS)}"


def pieces_of(body: bytes) -> list[Piece]:
    """Return what the fragments of a message carry, in order."""
    size = len(body)
    if size <= _PAYLOAD:
        return [(_WHOLE, body, zlib.crc32(body))]
    pieces = []
    for start in range(0, size, _PAYLOAD):
        payload = body[start : start + _PAYLOAD]
        flags = (_FIRST if start == 0 else 0) | (_LAST if start + _PAYLOAD >= size else 0)
        pieces.append((flags, payload, zlib.crc32(payload)))
    return pieces


def fragment(piece: Piece, sender: int, slot: int, position: int, floods: bool = False) -> bytes:
    """Return a piece of a message as it is written for one receiver."""
    flags, payload, checksum = piece
    fields = _FIELDS.pack(len(payload), flags | _FLOOD if floods else flags, sender, slot, position)
    return _FRONT.pack(MAGIC, zlib.crc32(fields, checksum)) + fields + payload


@dataclass(slots=True)
class _Unfinished:
    position: int
    size: int = 0
    payloads: list[bytes] = field(default_factory=list)


class Reader:
    """The messages in what is read from one pipe, whoever has written into it.

    Args:
        complain: called with what was left out, and how much or whose.

    Attributes:
        kept: what may be the beginning of a fragment, the rest of which was left in the pipe.
    """

    def __init__(self, complain: Complain) -> None:
        self.kept = b""
        self._complain = complain
        self._skipped = 0
        self._unfinished: dict[int, _Unfinished] = {}

    def read(self, chunk: bytes, *, emptied: bool) -> list[Arrival]:
        """Return the messages that `chunk` completes.

        A fragment is written whole or not at all: where the pipe was `emptied`, the rest of one will never come.
        """
        data, at, arrived = self.kept + chunk, 0, []
        while at < len(data):
            found = _fragment_at(data, at)
            if found is not None:
                end, flags, sender, slot, position, payload = found
                is_whole = flags == _WHOLE and not self._unfinished
                body = payload if is_whole else self._completed(flags, sender, position, payload)
                if body is not None:
                    arrived.append((sender, slot, position, body, flags & _FLOOD > 0))
                if self._skipped:
                    self._tell_skipped()
            elif not emptied and _may_go_on(data, at):
                break
            else:
                end = _next_magic(data, at + 1)
                self._skipped += end - at
            at = end
        self.kept = data[at:]
        if self._skipped and emptied:
            self._tell_skipped()
        return arrived

    def _tell_skipped(self) -> None:
        self._complain("skipped what is no message in its queue", f"{self._skipped:,} bytes")
        self._skipped = 0

    def _completed(self, flags: int, sender: int, position: int, payload: bytes) -> bytes | None:
        """Return the message that this fragment completes; a first one begins anew, since a sender can be cut short."""
        if flags & _FIRST:
            if self._unfinished:
                self._unfinished.pop(sender, None)
            if flags & _LAST:
                return payload
            self._make_room()
            self._unfinished[sender] = _Unfinished(position)
        message = self._unfinished.get(sender)
        if message is None or message.position != position:
            return None
        message.payloads.append(payload)
        message.size += len(payload)
        if message.size > codec.MAX_MESSAGE_BYTES:
            del self._unfinished[sender]
            limit = f"more than {codec.MAX_MESSAGE_BYTES:,} bytes"
            self._complain("left out a message that is too long", f"{limit} from {id_of_sender(sender)}")
        elif flags & _LAST:
            del self._unfinished[sender]
            return b"".join(message.payloads)
        return None

    def _make_room(self) -> None:
        """Drop the oldest of too many messages whose rest has not come."""
        if len(self._unfinished) >= MOST_UNFINISHED:
            sender = next(iter(self._unfinished))
            del self._unfinished[sender]
            self._complain(
                "left out a message whose rest had not come", f"the oldest of too many, {id_of_sender(sender)}'s"
            )


def _fragment_at(data: bytes, at: int) -> tuple[int, int, int, int, int, bytes] | None:
    """Return the fragment that begins there: its end, flags, sender, slot, position and payload; None without one."""
    start = at + _HEADER.size
    if start > len(data):
        return None
    magic, checksum, size, flags, sender, slot, position = _HEADER.unpack_from(data, at)
    end = start + size
    if magic != MAGIC or size > _PAYLOAD or end > len(data):
        return None
    payload = data[start:end]
    if zlib.crc32(data[at + _FRONT.size : start], zlib.crc32(payload)) != checksum:
        return None
    return end, flags, sender, slot, position, payload


def _may_go_on(data: bytes, at: int) -> bool:
    """Tell whether all that is wrong with the fragment that begins there may be that `data` ends."""
    if len(data) - at < _HEADER.size:
        return MAGIC.startswith(data[at : at + len(MAGIC)])
    magic, _, size, *_ = _HEADER.unpack_from(data, at)
    return magic == MAGIC and size <= _PAYLOAD and at + _HEADER.size + size > len(data)


def _next_magic(data: bytes, start: int) -> int:
    """Return where the next magic begins, or may begin at the very end of `data`; its length where none does."""
    found = data.find(MAGIC, start)
    if found < 0:
        found = data.find(MAGIC[:1], max(start, len(data) - len(MAGIC) + 1))
    return found if found >= 0 else len(data)
