"""Framing: messages as fragments in a pipe, reassembled by the receiver and queued fairly among their senders.

A fragment has at most PIPE_BUF bytes, so that the kernel writes it atomically. It begins with magic bytes that UTF-8
never contains, and its checksum covers everything after them. The reader resynchronises after invalid bytes: it skips
to the next magic.
"""

import select
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from swarmsim.messaging import codec

MAX_UNFINISHED = 1024
FAIR_SHARE = 1  # messages of a flooding sender in the fair queue

MAGIC = b"\xf5\xfa\xf7\xfd"
# Magic and checksum, then payload length, flags, and the sender, slot and position of an `Arrival`.
_HEADER = struct.Struct("<4sIHBQHQ")
_FRONT, _FIELDS = struct.Struct("<4sI"), struct.Struct("<HBQHQ")
_PAYLOAD = select.PIPE_BUF - _HEADER.size
_FIRST, _LAST, _FLOOD = 1, 2, 4
_WHOLE = _FIRST | _LAST
_NUMBER_BITS = 16

Piece = tuple[int, bytes, int]
"""The part of a fragment that is the same for each receiver: flags, payload, and the payload's checksum."""

Arrival = tuple[int, int, int, bytes, bool]
"""A received message: the sender's number, the receiver's slot in the sender's counters, the position (bytes sent to
this receiver up to the end of this message), the body, and whether the sender floods."""


def sender_number(process_id: int, count: int) -> int:
    """Return the number of the `count`-th client of a process."""
    return process_id << _NUMBER_BITS | count % (1 << _NUMBER_BITS)


def member_id_of(sender: int) -> str:
    """Return the member id of the client with that number."""
    return f"{sender >> _NUMBER_BITS}-{sender % (1 << _NUMBER_BITS)}"


def split_body(body: bytes) -> list[Piece]:
    """Return the pieces of a message, in order."""
    size = len(body)
    if size <= _PAYLOAD:
        return [(_WHOLE, body, zlib.crc32(body))]
    pieces = []
    for start in range(0, size, _PAYLOAD):
        payload = body[start : start + _PAYLOAD]
        flags = (_FIRST if start == 0 else 0) | (_LAST if start + _PAYLOAD >= size else 0)
        pieces.append((flags, payload, zlib.crc32(payload)))
    return pieces


def encode_fragment(piece: Piece, sender: int, slot: int, position: int, floods: bool = False) -> bytes:
    """Return the fragment that carries a piece of a message to one receiver."""
    flags, payload, checksum = piece
    fields = _FIELDS.pack(len(payload), flags | _FLOOD if floods else flags, sender, slot, position)
    return _FRONT.pack(MAGIC, zlib.crc32(fields, checksum)) + fields + payload


@dataclass(slots=True)
class _Unfinished:
    position: int
    size: int = 0
    payloads: list[bytes] = field(default_factory=list)


class FragmentReader:
    """Reassembles the messages of all senders from the bytes of one pipe.

    Args:
        log_rejected: called with what the reader did to invalid input, and details.

    Attributes:
        pending: bytes that may be the beginning of a fragment whose rest is still in the pipe.
    """

    def __init__(self, log_rejected: Callable[[str, str], None]) -> None:
        self.pending = b""
        self._log_rejected = log_rejected
        self._skipped = 0
        self._unfinished: dict[int, _Unfinished] = {}

    def read(self, chunk: bytes, *, emptied: bool) -> list[Arrival]:
        """Return the messages that `chunk` completes.

        Args:
            chunk: the next bytes from the pipe.
            emptied: whether the pipe is empty now. Fragments are written atomically, so no rest of one will follow.
        """
        data, at, arrivals = self.pending + chunk, 0, []
        while at < len(data):
            parsed = _parse_fragment(data, at)
            if parsed is not None:
                end, flags, sender, slot, position, payload = parsed
                is_whole = flags == _WHOLE and not self._unfinished
                body = payload if is_whole else self._reassemble(flags, sender, position, payload)
                if body is not None:
                    arrivals.append((sender, slot, position, body, flags & _FLOOD > 0))
                if self._skipped:
                    self._log_skipped()
            elif not emptied and _may_be_incomplete(data, at):
                break
            else:
                end = _find_magic(data, at + 1)
                self._skipped += end - at
            at = end
        self.pending = data[at:]
        if self._skipped and emptied:
            self._log_skipped()
        return arrivals

    def _log_skipped(self) -> None:
        self._log_rejected("skipped invalid bytes in its queue", f"{self._skipped:,} bytes")
        self._skipped = 0

    def _reassemble(self, flags: int, sender: int, position: int, payload: bytes) -> bytes | None:
        """Return the message that this fragment completes.

        A first fragment discards the sender's unfinished message, since an interrupted send is never continued.
        """
        if flags & _FIRST:
            if self._unfinished:
                self._unfinished.pop(sender, None)
            if flags & _LAST:
                return payload
            self._limit_unfinished()
            self._unfinished[sender] = _Unfinished(position)
        message = self._unfinished.get(sender)
        if message is None or message.position != position:
            return None
        message.payloads.append(payload)
        message.size += len(payload)
        if message.size > codec.MAX_MESSAGE_BYTES:
            del self._unfinished[sender]
            limit = f"more than {codec.MAX_MESSAGE_BYTES:,} bytes"
            self._log_rejected("ignored a message that is too long", f"{limit} from {member_id_of(sender)}")
        elif flags & _LAST:
            del self._unfinished[sender]
            return b"".join(message.payloads)
        return None

    def _limit_unfinished(self) -> None:
        """Drop the oldest unfinished message if there are too many."""
        if len(self._unfinished) >= MAX_UNFINISHED:
            sender = next(iter(self._unfinished))
            del self._unfinished[sender]
            details = f"the oldest of more than {MAX_UNFINISHED:,}, from {member_id_of(sender)}"
            self._log_rejected("dropped an unfinished message", details)


def _parse_fragment(data: bytes, at: int) -> tuple[int, int, int, int, int, bytes] | None:
    """Return end, flags, sender, slot, position and payload of the valid fragment that begins at `at`, or None."""
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


def _may_be_incomplete(data: bytes, at: int) -> bool:
    """Return whether further bytes could complete a valid fragment that begins at `at`."""
    if len(data) - at < _HEADER.size:
        return MAGIC.startswith(data[at : at + len(MAGIC)])
    magic, _, size, *_ = _HEADER.unpack_from(data, at)
    return magic == MAGIC and size <= _PAYLOAD and at + _HEADER.size + size > len(data)


def _find_magic(data: bytes, start: int) -> int:
    """Return where the next magic begins, or may begin at the end of `data`; otherwise the length of `data`."""
    index = data.find(MAGIC, start)
    if index < 0:
        index = data.find(MAGIC[:1], max(start, len(data) - len(MAGIC) + 1))
    return index if index >= 0 else len(data)


class FairQueue:
    """Received messages in order of arrival, except that a flooding sender cannot crowd out the others.

    A flooding sender has `FAIR_SHARE` messages in line. Its other messages wait in a queue of their own; one of them
    moves into line for each one that is popped. So each sender's messages stay in order, and so do the messages of
    several senders while none of them floods.

    Attributes:
        line: the next messages; empty only if no message waits.
        size: the total bytes of all bodies in the queue.
    """

    def __init__(self) -> None:
        self.line: deque[Arrival] = deque()
        self.size = 0
        self._waiting: dict[int, deque[Arrival]] = {}

    def push(self, arrival: Arrival) -> None:
        """Append a message to the line, or to its sender's waiting messages."""
        sender, _, _, body, floods = arrival
        self.size += len(body)
        if sender in self._waiting:
            self._waiting[sender].append(arrival)
        else:
            self.line.append(arrival)
            if floods and len(self.line) > FAIR_SHARE:
                self._limit_to_share(sender)

    def _limit_to_share(self, sender: int) -> None:
        """Move all but `FAIR_SHARE` messages of a sender out of the line."""
        line, waiting, places = deque[Arrival](), deque[Arrival](), FAIR_SHARE
        for arrival in self.line:
            if arrival[0] != sender:
                line.append(arrival)
            elif places:
                line.append(arrival)
                places -= 1
            else:
                waiting.append(arrival)
        if waiting:
            self.line, self._waiting[sender] = line, waiting

    def pop(self) -> Arrival:
        """Remove and return the first message in line."""
        arrival = self.line.popleft()
        sender = arrival[0]
        self.size -= len(arrival[3])
        if sender in self._waiting:
            waiting = self._waiting[sender]
            self.line.append(waiting.popleft())
            if not waiting:
                del self._waiting[sender]
        return arrival

    def last_of_each_sender(self) -> Iterator[Arrival]:
        """Return the last message of each sender."""
        last = {arrival[0]: arrival for arrival in self.line}
        last.update((sender, waiting[-1]) for sender, waiting in self._waiting.items())
        yield from last.values()
