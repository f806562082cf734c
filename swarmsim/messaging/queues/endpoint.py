"""The link between processes of one host: each client's queue is a named pipe that any process can open.

A sender writes straight into its receivers' pipes, so a process forked late is reached like any
other; and it has written to all of them before it goes on, so nothing that it says later overtakes
the message. The kernel keeps a write of up to PIPE_BUF bytes whole; a longer message goes as several
such fragments, put together again by the receiver.

Of one sender `WINDOW_BYTES` at most, or one longer message, are under way to a receiver that has not
taken them; a full window makes its sender wait, up to `SEND_TIMEOUT`, and is then an error. Who waits
so takes in what others send it, up to `BACKLOG_BYTES`, so that two who wait for each other go on.
Nothing is ever dropped but what was meant for a receiver that is gone, and what is no message.

Messages are handed on in the order in which they came, but for those of a sender that floods: that is
told with each of them, so that they cannot crowd out others'.
"""

import contextlib
import errno
import fcntl
import os
import select
import termios
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

from swarmsim.errors import AddressError, LinkClosed, MessageError, WaitTimeout
from swarmsim.messaging.codec import encode
from swarmsim.messaging.endpoint import Address, HostEndpoint, RejectionLog, format_address, read_body
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.messaging.process_context import PROCESS, ready_soon
from swarmsim.messaging.queues.arrivals import Arrivals
from swarmsim.messaging.queues.directory import SharedRooms, directory_of
from swarmsim.messaging.queues.flow_control import (
    COUNTED_ROOMS,
    FLOOD_BYTES,
    MOST_RECEIVERS,
    WINDOW_BYTES,
    Acknowledgements,
    Counters,
    delivered,
)
from swarmsim.messaging.queues.fragments import Piece, Reader, fragment, id_of_sender, pieces_of, sender_number
from swarmsim.messaging.rooms import COMMAND_ROOM, Member, Rooms, apply_command, receivers

SEND_TIMEOUT = 30.0
# How long a sender sleeps before it looks again whether its window is open: nothing wakes it.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.0002, 0.002
READ_BYTES, MOST_READS = 1 << 16, 16
QUEUE_BYTES = 1 << 20  # asked for; the kernel grants a user only so much for all pipes, and smaller ones work too
BACKLOG_BYTES = 1 << 26
MOST_IN_A_ROW = 64  # messages that one sends without asking for one itself; who sends more floods

_RECEIVER_IS_GONE = (errno.EPIPE, errno.ENXIO, errno.ENOENT, errno.EBADF)
_numbers = count()


@dataclass(slots=True)
class _Outlet:
    """Another client's queue, opened to write.

    Attributes:
        slot: where that client tells what it has taken.
        sent: how many bytes were sent there.
        free_up_to: how many can be sent at least until it is to be seen what was taken meanwhile.
    """

    descriptor: int
    slot: int
    sent: int = 0
    free_up_to: int = FLOOD_BYTES


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
                f"no swarm runs at {format_address(address)}: start its Server first, or check the address"
            ) from None
        self._number = sender_number(os.getpid(), next(_numbers))
        super().__init__(id_of_sender(self._number))
        self._known = Rooms()
        inbox = self._directory / "inbox" / self.id
        os.mkfifo(inbox, 0o600)
        self._inbox = os.open(inbox, os.O_RDONLY | os.O_NONBLOCK)
        self._own_writer = os.open(inbox, os.O_WRONLY | os.O_NONBLOCK)  # so that the queue never ends
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._inbox, fcntl.F_SETPIPE_SZ, QUEUE_BYTES)
        self._counters = Counters(self._directory / "counts" / self.id, own=True)
        self._slots = count()
        self._outlets: dict[str, _Outlet] = {}
        self._in_a_row = 0
        self._acknowledgements = Acknowledgements(self._directory / "counts")
        self.rejections = RejectionLog(name)
        self._reader = Reader(self.rejections.log)
        self._arrivals = Arrivals()
        self._poll = select.poll()
        for source in (self._inbox, PROCESS.fileno()):
            self._poll.register(source, select.POLLIN)
        self._poll.register(self._alive, 0)
        PROCESS.release_after_fork(self, self._let_go)

    # --- who is where

    def rooms(self) -> Rooms:
        try:
            table = self._rooms.read()
        except (FileNotFoundError, ValueError):
            raise self.gone() from None
        if table is not self._known:
            self._known = table
            for departed in self._outlets.keys() - table.members.keys():
                self._close_outlet(departed)
        return table

    def update_rooms(self, change: Callable[[Rooms], Rooms]) -> Rooms:
        try:
            return self._rooms.update(change)
        except FileNotFoundError:
            raise self.gone() from None

    def gone(self) -> LinkClosed:
        what = "has left the swarm" if self.closed else "lost its link: the swarm has stopped"
        return LinkClosed(f"{self._name!r} {what} at {format_address(self._address)}")

    # --- sending

    def deliver(self, table: Rooms, message: Message, to: Sequence[str], body: bytes) -> None:
        room = message.get("TO_ROOM")
        slot = 0 if room is None else min(table.rooms.index(room) + 1, COUNTED_ROOMS - 1)
        self._counters.deliveries[slot] += len(to)  # before any is written, so that nobody finds an effect uncounted
        self._in_a_row += 1
        pieces, size = pieces_of(body), len(body)
        for receiver in to:
            try:
                self._put(table, receiver, pieces, size)
            except OSError as error:
                if error.errno not in _RECEIVER_IS_GONE:
                    raise
                self._counters.deliveries[slot] -= 1
                self._forget(receiver)

    def _put(self, table: Rooms, receiver: str, pieces: Sequence[Piece], size: int) -> None:
        """Write a message of `size` bytes into a queue, once its window is open and as fast as it takes the pieces."""
        outlet = self._outlets.get(receiver) or self._open(receiver)
        if outlet.sent + size > outlet.free_up_to and not self._has_room(outlet, size):
            self._wait(table, receiver, partial(self._has_room, outlet, size), 0)
        position = outlet.sent + size
        floods = self._in_a_row > MOST_IN_A_ROW
        for piece in pieces:
            data = fragment(piece, self._number, outlet.slot, position, floods)
            if not _is_written(outlet, data):
                self._wait(table, receiver, partial(_is_written, outlet, data), select.POLLOUT)
        outlet.sent = position  # only now: what was cut short will never be taken

    def _open(self, receiver: str) -> _Outlet:
        descriptor = os.open(self._directory / "inbox" / receiver, os.O_WRONLY | os.O_NONBLOCK)
        slot = next(self._slots)
        if slot >= MOST_RECEIVERS:
            os.close(descriptor)
            raise MessageError(
                f"{self._name!r} has sent to {MOST_RECEIVERS:,} clients, and can send to no further ones"
            )
        self._counters.taken[slot] = 0
        outlet = self._outlets[receiver] = _Outlet(descriptor, slot)
        return outlet

    def _has_room(self, outlet: _Outlet, size: int) -> bool:
        """Tell whether the window is open for so many bytes more; it is for any number where nothing is under way.

        Who finds it half full floods, until it asks for a message itself.
        """
        taken = self._counters.taken[outlet.slot]
        outlet.free_up_to = taken + FLOOD_BYTES
        if taken >= outlet.sent or outlet.sent + size <= outlet.free_up_to:
            return True
        self._in_a_row += MOST_IN_A_ROW
        return outlet.sent + size <= taken + WINDOW_BYTES

    def _wait(self, table: Rooms, receiver: str, until: Callable[[], bool], wakes: int) -> None:
        """Wait until `until()`: until one of these events of the receiver's queue, or for a pause where there are none.

        What comes meanwhile is taken in, since its sender may be our receiver.
        """
        deadline, pause = time.monotonic() + SEND_TIMEOUT, SHORTEST_PAUSE
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                name = table.members[receiver].name
                raise WaitTimeout(f"{self._name!r} waited {SEND_TIMEOUT:g} s to send to {name!r}: its queue is full")
            if not wakes:
                time.sleep(min(pause, left))
                pause = min(2 * pause, LONGEST_PAUSE)
            queue = (self._outlets.get(receiver) or self._open(receiver)).descriptor
            poll = select.poll()
            for source, events in ((queue, wakes), (self._alive, 0), (self._inbox, select.POLLIN)):
                poll.register(source, events)
            poll.register(PROCESS.fileno(), select.POLLIN)
            ready = dict(poll.poll(left * 1000 if wakes else 0))
            if ready.pop(queue, 0) & select.POLLERR:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            self._attend(ready.items())
            self._take_in()

    def _take_in(self) -> None:
        """Let go on whoever waits for messages here to be taken, unless far too many lie here already."""
        if self._arrivals.size <= BACKLOG_BYTES:
            for sender, slot, position, *_ in self._arrivals.last_of_each():
                self._acknowledgements.tell(sender, slot, position)

    def remove_member(self, process_id: int) -> None:
        ids = f"{process_id}-"
        for member_id in [key for key in self.rooms().members if key.startswith(ids)]:
            self._forget(member_id)
        for inbox in (self._directory / "inbox").glob(f"{ids}*"):
            inbox.unlink(missing_ok=True)

    def _forget(self, receiver: str) -> None:
        """Take a receiver that is gone without a word out of the rooms, and tell all that are left."""
        self._close_outlet(receiver)
        if receiver not in self.rooms().members:
            return
        farewell = {"TYPE": MESSAGE_TYPE.COMMAND.DISCONNECT.id, "TO_ROOM": COMMAND_ROOM}
        forgotten: list[Member] = []  # by this client, and not by another one at the same time

        def without_it(rooms: Rooms) -> Rooms:
            forgotten.extend(member for member in (rooms.members.get(receiver),) if member is not None)
            return apply_command(rooms, farewell, receiver)

        table = self.update_rooms(without_it)
        (self._directory / "inbox" / receiver).unlink(missing_ok=True)
        for member in forgotten:
            message = {
                **farewell,
                "ID": f"{self.id}.farewell.{receiver}",
                **member.farewell(),
            }
            self.deliver(table, message, receivers(table, message, receiver), encode(message))

    def _close_outlet(self, receiver: str) -> None:
        outlet = self._outlets.pop(receiver, None)
        if outlet is not None:
            os.close(outlet.descriptor)
            outlet.descriptor = -1

    # --- receiving

    def receive(self, timeout: float) -> Message:
        self._in_a_row = 0
        deadline = time.monotonic() + timeout
        if self._arrivals.line and not self.closed:
            self._attend(self._poll.poll(0))  # so that others get into line before it is worked off
        while not self.closed:
            message = self._next()
            if message is not None:
                return message
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"{self._name!r} waited {timeout:g} s for a message and none came")
            self._attend(self._ready(left))
        raise self.gone()

    def _next(self) -> Message | None:
        """Take out and return the next of what has come that is a message."""
        while self._arrivals.line:
            sender, slot, position, body, _ = self._arrivals.take()
            self._acknowledgements.tell(sender, slot, position)
            message = read_body(body, self.rejections)
            if message is not None:
                return message
        return None

    def _attend(self, ready: Iterable[tuple[int, int]]) -> None:
        for source, _ in ready:
            if source == self._inbox:
                self._read()
            elif source == self._alive:
                raise self.gone()
            else:
                PROCESS.handle_events()

    def _ready(self, seconds: float) -> list[tuple[int, int]]:
        """Return what asks for attention, within `seconds`."""
        return [(self._inbox, select.POLLIN)] if self._reader.kept else ready_soon(self._poll, seconds)

    def _read(self) -> None:
        """Put what lies in the queue into line; a read that fills the buffer may have left some."""
        for _ in range(MOST_READS):
            try:
                chunk = os.read(self._inbox, READ_BYTES)
            except BlockingIOError:
                chunk = b""
            emptied = len(chunk) < READ_BYTES
            for arrival in self._reader.read(chunk, emptied=emptied):
                self._arrivals.add(arrival)
            if emptied:
                return

    def unread_members(self) -> list[str]:
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

    # --- leaving

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        PROCESS.forget_resource(self)
        (self._directory / "inbox" / self.id).unlink(missing_ok=True)
        self.rejections.close()
        self._let_go()

    def _let_go(self) -> None:
        self.closed = True
        for receiver in list(self._outlets):
            self._close_outlet(receiver)
        for descriptor in (self._inbox, self._own_writer, self._alive):
            os.close(descriptor)
        self._rooms.close()
        self._counters.close()
        self._acknowledgements.close()


def deliveries(address: Address) -> dict[str, int]:
    """Return how many messages have been put into queues of the swarm at `address`, by room; "" for direct ones."""
    directory = directory_of(address)
    shared = SharedRooms(directory)
    names = ("", *shared.read().rooms)[:COUNTED_ROOMS]
    shared.close()
    totals = [0] * COUNTED_ROOMS
    for counts in (directory / "counts").iterdir():
        for slot, number in enumerate(delivered(counts)):
            totals[slot] += number
    return dict(zip(names, totals, strict=False))


def _is_written(outlet: _Outlet, data: bytes) -> bool:
    """Write a fragment into a queue, if it has room for it."""
    try:
        os.write(outlet.descriptor, data)
    except BlockingIOError:
        return False
    return True
