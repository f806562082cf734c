"""The link between processes of one host: each client's queue is a named pipe that any process can open.

A sender writes straight into its receivers' pipes, so a process forked late is reached like any
other; and it has written to all of them before it goes on, so nothing that it says later overtakes
the message. The kernel keeps a write of up to PIPE_BUF bytes whole; a longer message goes as several
such fragments, put together again by the receiver. A full queue makes its sender wait, up to
`SEND_TIMEOUT`, and is then an error; nothing is ever dropped but what was meant for a receiver that
is gone.
"""

import contextlib
import errno
import fcntl
import math
import mmap
import os
import select
import struct
import termios
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from swarmsim.errors import AddressError, LinkClosed, StopRequested, WaitTimeout
from swarmsim.messaging.address import SharedRooms, directory_of
from swarmsim.messaging.codec import encode
from swarmsim.messaging.endpoint import Address, HostEndpoint, read_body, tell_address
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.messaging.process import THIS_PROCESS
from swarmsim.messaging.rooms import COMMAND_ROOM, Rooms, apply_command, receivers

SEND_TIMEOUT = 30.0
# How long a message is looked for before going to sleep: waking up again costs more than most waits of a step last.
SPIN_SECONDS = 0.0005
READ_BYTES = 1 << 16
QUEUE_BYTES = 1 << 20  # asked for; the kernel grants a user only so much for all pipes, and smaller ones work too
COUNTED_ROOMS = 64

_FRAGMENT = struct.Struct("<H??IH")  # payload bytes, whether first and last of its message, sender's pid and number
_PAYLOAD = select.PIPE_BUF - _FRAGMENT.size
_RECEIVER_IS_GONE = (errno.EPIPE, errno.ENXIO, errno.ENOENT)
_numbers = count()


class QueuesEndpoint(HostEndpoint):
    """A client's end of the swarm that runs at an address of this host.

    Raises:
        AddressError: no swarm runs there.
    """

    def __init__(self, address: Address, name: str) -> None:
        self._name = name
        self._address = address
        self._directory = directory_of(address)
        try:
            self._rooms = SharedRooms(self._directory)
            self._alive = os.open(self._directory / "alive", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            raise AddressError(
                f"no swarm runs at {tell_address(address)}: start its Server first, or check the address"
            ) from None
        number = next(_numbers) % (1 << 16)
        super().__init__(f"{os.getpid()}-{number}")
        self._sender = (os.getpid(), number)
        self._known = Rooms()
        inbox = self._directory / "inbox" / self.id
        os.mkfifo(inbox, 0o600)
        self._inbox = os.open(inbox, os.O_RDONLY | os.O_NONBLOCK)
        self._own_writer = os.open(inbox, os.O_WRONLY | os.O_NONBLOCK)  # so that the queue never ends
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._inbox, fcntl.F_SETPIPE_SZ, QUEUE_BYTES)
        self._counts, self._counts_map = self._shared_counts()
        self._writers: dict[str, int] = {}
        self._arrived: deque[Message] = deque()
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._unread = b""
        self._partial: dict[tuple[int, int], list[bytes]] = {}
        self._poll = select.poll()
        for source in (self._inbox, THIS_PROCESS.fileno()):
            self._poll.register(source, select.POLLIN)
        self._poll.register(self._alive, 0)
        THIS_PROCESS.own(self, self._let_go)

    def _shared_counts(self) -> tuple[memoryview, mmap.mmap]:
        with (self._directory / "counts" / self.id).open("w+b") as file:
            file.truncate(8 * COUNTED_ROOMS)
            shared = mmap.mmap(file.fileno(), 8 * COUNTED_ROOMS)
        return memoryview(shared).cast("Q"), shared

    # --- who is where

    def rooms(self) -> Rooms:
        try:
            table = self._rooms.read()
        except (FileNotFoundError, ValueError):
            raise self.gone() from None
        if table is not self._known:
            self._known = table
            for departed in self._writers.keys() - table.members.keys():
                self._close_writer(departed)
        return table

    def update_rooms(self, change: Callable[[Rooms], Rooms]) -> Rooms:
        try:
            return self._rooms.update(change)
        except FileNotFoundError:
            raise self.gone() from None

    def gone(self) -> LinkClosed:
        what = "has left the swarm" if self.closed else "lost its link: the swarm has stopped"
        return LinkClosed(f"{self._name!r} {what} at {tell_address(self._address)}")

    # --- sending

    def deliver(self, table: Rooms, message: Message, to: Sequence[str], body: bytes) -> None:
        room = message.get("TO_ROOM")
        slot = 0 if room is None else min(table.rooms.index(room) + 1, COUNTED_ROOMS - 1)
        self._counts[slot] += len(to)  # before the first is written, so that nobody finds an effect uncounted
        fragments = _fragments(body, self._sender)
        for receiver in to:
            try:
                for fragment in fragments:
                    self._write(table, receiver, fragment)
            except OSError as error:
                if error.errno not in _RECEIVER_IS_GONE:
                    raise
                self._counts[slot] -= 1
                self._forget(receiver)

    def _write(self, table: Rooms, receiver: str, fragment: bytes) -> None:
        writer = self._writers.get(receiver)
        if writer is None:
            writer = os.open(self._directory / "inbox" / receiver, os.O_WRONLY | os.O_NONBLOCK)
            self._writers[receiver] = writer
        deadline = None
        while True:
            try:
                os.write(writer, fragment)
                return
            except BlockingIOError:
                deadline = deadline or time.monotonic() + SEND_TIMEOUT
                self._wait_for_room(writer, deadline, table.members[receiver].name)

    def _wait_for_room(self, writer: int, deadline: float, receiver_name: str) -> None:
        """Wait until `writer` takes a fragment; take in what comes meanwhile, since its sender may be our receiver."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeout(
                f"{self._name!r} waited {SEND_TIMEOUT:g} s to send to {receiver_name!r}: its queue is full"
            )
        poll = select.poll()
        poll.register(writer, select.POLLOUT)
        poll.register(self._inbox, select.POLLIN)
        poll.register(THIS_PROCESS.fileno(), select.POLLIN)
        poll.poll(left * 1000)
        THIS_PROCESS.notice()
        self._read()

    def _forget(self, receiver: str) -> None:
        """Take a receiver that is gone without a word out of the rooms, and tell all that are left."""
        self._close_writer(receiver)
        member = self.rooms().members.get(receiver)
        if member is None:
            return
        farewell: Message = {
            "TYPE": MESSAGE_TYPE.COMMAND.DISCONNECT.id,
            "ID": f"{self.id}.farewell.{receiver}",
            "TO_ROOM": COMMAND_ROOM,
            "SENT_BY": member.name,
            "COMPONENTS": list(member.components),
        }
        table = self.update_rooms(lambda rooms: apply_command(rooms, farewell, receiver))
        (self._directory / "inbox" / receiver).unlink(missing_ok=True)
        self.deliver(table, farewell, receivers(table, farewell, receiver), encode(farewell))

    def _close_writer(self, receiver: str) -> None:
        writer = self._writers.pop(receiver, None)
        if writer is not None:
            os.close(writer)

    # --- receiving

    def receive(self, timeout: float) -> Message:
        deadline = time.monotonic() + timeout
        while not self._arrived:
            if self.closed:
                raise self.gone()
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"{self._name!r} waited {timeout:g} s for a message and none came")
            for source, event in self._ready(left):
                if source == self._inbox:
                    self._read()
                elif source == self._alive and event:
                    raise self.gone()
                else:
                    THIS_PROCESS.notice()
        return self._arrived.popleft()

    def _ready(self, seconds: float) -> list[tuple[int, int]]:
        """Return what asks for attention, within `seconds`; look for it a moment before going to sleep."""
        end = time.monotonic() + SPIN_SECONDS
        while not (ready := self._poll.poll(0)) and time.monotonic() < end:
            os.sched_yield()
        return ready or self._poll.poll(None if seconds == math.inf else seconds * 1000)

    def _read(self) -> None:
        try:
            size = os.readv(self._inbox, (self._buffer,))
        except BlockingIOError:
            return
        start, unread = 0, self._unread + self._buffer[:size]
        while len(unread) - start >= _FRAGMENT.size:
            size, first, last, *sender = _FRAGMENT.unpack_from(unread, start)
            end = start + _FRAGMENT.size + size
            if end > len(unread):
                break
            payload = unread[start + _FRAGMENT.size : end]
            start = end
            body = self._completed((sender[0], sender[1]), payload, first=first, last=last)
            message = None if body is None else read_body(body, self._name)
            if message is not None:
                self._arrived.append(message)
        self._unread = unread[start:]

    def _completed(self, sender: tuple[int, int], payload: bytes, *, first: bool, last: bool) -> bytes | None:
        """Return the message that this fragment completes; a first one begins anew, since a sender can be cut short."""
        if first and last:
            return payload
        fragments = [] if first else self._partial.get(sender, [])
        fragments.append(payload)
        self._partial[sender] = fragments
        return b"".join(self._partial.pop(sender)) if last else None

    def behind(self) -> list[str]:
        names = []
        for member in self.rooms().members.values():
            unread = array("i", [0])
            with contextlib.suppress(OSError):  # it has just gone
                writer = os.open(self._directory / "inbox" / member.id, os.O_WRONLY | os.O_NONBLOCK)
                fcntl.ioctl(writer, termios.FIONREAD, unread)
                os.close(writer)
            if unread[0] and member.id != self.id:
                names.append(member.name)
        return names

    def listen(self, handle: Callable[[Message], None]) -> None:
        with contextlib.suppress(StopRequested):
            while True:
                handle(self.receive(math.inf))

    # --- leaving

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        THIS_PROCESS.disown(self)
        (self._directory / "inbox" / self.id).unlink(missing_ok=True)
        self._let_go()

    def _let_go(self) -> None:
        self.closed = True
        for descriptor in (self._inbox, self._own_writer, self._alive, *self._writers.values()):
            os.close(descriptor)
        self._writers.clear()
        self._rooms.close()
        self._counts.release()
        self._counts_map.close()


def deliveries(address: Address) -> dict[str, int]:
    """Return how many messages have been put into queues of the swarm at `address`, by room; "" for direct ones."""
    directory = directory_of(address)
    shared = SharedRooms(directory)
    names = ("", *shared.read().rooms)[:COUNTED_ROOMS]
    shared.close()
    totals = [0] * COUNTED_ROOMS
    for counts in (directory / "counts").iterdir():
        for slot, number in enumerate(memoryview(counts.read_bytes()).cast("Q")):
            totals[slot] += number
    return dict(zip(names, totals, strict=False))


def _fragments(body: bytes, sender: tuple[int, int]) -> list[bytes]:
    fragments = []
    for start in range(0, len(body), _PAYLOAD):
        payload = body[start : start + _PAYLOAD]
        fragments.append(_FRAGMENT.pack(len(payload), start == 0, start + _PAYLOAD >= len(body), *sender) + payload)
    return fragments
