"""The link between processes of one host: each client's queue is a named pipe that any process can open.

A sender writes directly into the pipes of its receivers. It has written to all of them before `send` returns, so its
later messages cannot overtake this one. The kernel writes up to PIPE_BUF bytes atomically; a longer message is split
into fragments, and the receiver reassembles it.

Flow control: a sender has at most `WINDOW_BYTES`, or one longer message, unacknowledged at each receiver. If the window
is full, the sender waits up to `SEND_TIMEOUT` before it raises an error. Meanwhile it reads and acknowledges its own
queue, up to `BACKLOG_BYTES`, so two clients that send to each other cannot deadlock. No message is dropped, except for
a dead receiver or if it is invalid.

Fairness: messages are handled in order of arrival, but a sender that floods cannot crowd out the others. Senders flag
their own messages as a flood.
"""

import contextlib
import errno
import fcntl
import math
import os
import select
import termios
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from swarmsim.errors import AddressError, LinkClosed, MessageError, WaitTimeout
from swarmsim.messaging.codec import encode
from swarmsim.messaging.endpoint import Address, HostEndpoint, RejectionLog, Wakeup, decode_valid, format_address
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.messaging.process_context import PROCESS, poll_with_spin, running_time, sleep_of
from swarmsim.messaging.queues.directory import SharedRooms, directory_of, storage
from swarmsim.messaging.queues.flow_control import (
    COUNTED_ROOMS,
    FLOOD_BYTES,
    MAX_RECEIVERS,
    WINDOW_BYTES,
    Acknowledgements,
    Counters,
)
from swarmsim.messaging.queues.fragments import (
    FairQueue,
    FragmentReader,
    Piece,
    encode_fragment,
    member_id_of,
    sender_number,
    split_body,
)
from swarmsim.messaging.rooms import COMMAND_ROOM, Member, Rooms, apply_command, receivers

SEND_TIMEOUT = 30.0
# A sender polls its window with increasing pauses, since an acknowledgement wakes nobody.
MIN_PAUSE, MAX_PAUSE = 0.0002, 0.002
READ_BYTES, MAX_READS = 1 << 16, 16
QUEUE_BYTES = 1 << 20  # requested pipe size; the kernel limits the total for each user, and smaller pipes work too
BACKLOG_BYTES = 1 << 26
BURST_MESSAGES = 64  # a client that sends more between two calls of `receive` floods

_DEAD_RECEIVER_ERRORS = (errno.EPIPE, errno.ENXIO, errno.ENOENT, errno.EBADF)
_client_numbers = count()


@dataclass(slots=True)
class _Outlet:
    """Another client's queue, opened for writing.

    Attributes:
        slot: the index of that client's acknowledgements in this client's counters.
        sent: how many bytes were sent to that client.
        send_limit: `sent` may grow up to this value before the acknowledgements must be read again.
    """

    descriptor: int
    slot: int
    sent: int = 0
    send_limit: int = FLOOD_BYTES


class QueuesEndpoint(HostEndpoint):
    """A client's endpoint of the swarm at an address on this host; raises AddressError if no swarm runs there."""

    def __init__(self, address: Address, name: str) -> None:
        self._name = name
        self._address = address
        self._directory = directory_of(address)
        self._number = sender_number(os.getpid(), next(_client_numbers))
        super().__init__(member_id_of(self._number))
        with contextlib.ExitStack() as undo:
            self._open_files(undo)
            undo.pop_all()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._inbox, fcntl.F_SETPIPE_SZ, QUEUE_BYTES)
        self._slots = count()
        self._outlets: dict[str, _Outlet] = {}
        self._burst = 0
        self._acknowledgements = Acknowledgements(self._directory / "counts")
        self.rejections = RejectionLog(name)
        self._reader = FragmentReader(self.rejections.log)
        self._arrivals = FairQueue()
        self._reading = threading.RLock()  # held to change the arrivals: a sender that waits reads them too
        self._is_released = False
        self._poll = select.poll()
        for source in (self._inbox, PROCESS.fileno(), self._wakeup.fileno()):
            self._poll.register(source, select.POLLIN)
        self._poll.register(self._alive, 0)
        PROCESS.release_after_fork(self, self._release)

    def _open_files(self, undo: contextlib.ExitStack) -> None:
        """Open the files of this client; `undo` closes those that it has opened if another one cannot be."""

        def opened(path: Path, flags: int) -> int:
            descriptor = os.open(path, flags | os.O_NONBLOCK)
            undo.callback(os.close, descriptor)
            return descriptor

        inbox = self._directory / "inbox" / self.id
        try:
            self._alive = opened(self._directory / "alive", os.O_WRONLY)
            self._rooms = undo.enter_context(contextlib.closing(SharedRooms(self._directory)))
            undo.callback(inbox.unlink, missing_ok=True)
            with storage(self._directory):
                self._counters = undo.enter_context(
                    contextlib.closing(Counters(self._directory / "counts" / self.id, create=True))
                )
                os.mkfifo(inbox, 0o600)
            self._wakeup = undo.enter_context(contextlib.closing(Wakeup()))
            self._inbox = opened(inbox, os.O_RDONLY)
            self._inbox_writer = opened(inbox, os.O_WRONLY)  # so that reads never return end-of-file
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENXIO):
                raise
            raise AddressError(
                f"no swarm runs at {format_address(self._address)}: start its Server first, or check the address"
            ) from None

    # --- membership

    def rooms(self) -> Rooms:
        try:
            table = self._rooms.read()
        except (FileNotFoundError, ValueError):
            raise self.closed_error() from None
        return table

    def update_rooms(self, change: Callable[[Rooms], Rooms]) -> Rooms:
        try:
            with storage(self._directory):
                return self._rooms.update(change)
        except FileNotFoundError:
            raise self.closed_error() from None

    def forget_departed(self, table: Rooms) -> None:
        for departed in self._outlets.keys() - table.members.keys():
            self._close_outlet(departed)

    def closed_error(self) -> LinkClosed:
        reason = "has left the swarm" if self.closed else "lost its link: the swarm has stopped"
        return LinkClosed(f"{self._name!r} {reason} at {format_address(self._address)}")

    # --- sending

    def deliver(self, table: Rooms, message: Message, to: Sequence[str], body: bytes) -> None:
        room = message.get("TO_ROOM")
        slot = 0 if room is None else min(table.rooms.index(room) + 1, COUNTED_ROOMS - 1)
        self._counters.deliveries[slot] += len(to)  # before the first write, so that no effect precedes its count
        self._burst += 1
        pieces, size = split_body(body), len(body)
        for receiver in to:
            try:
                self._write_message(table, receiver, pieces, size)
            except OSError as error:
                if error.errno not in _DEAD_RECEIVER_ERRORS:
                    raise
                self._counters.deliveries[slot] -= 1
                self._remove_dead_member(receiver)

    def _write_message(self, table: Rooms, receiver: str, pieces: Sequence[Piece], size: int) -> None:
        """Write a message of `size` bytes into a queue; wait for its window, and for space in the pipe."""
        outlet = self._outlets.get(receiver) or self._open_outlet(receiver)
        if outlet.sent + size > outlet.send_limit and not self._window_is_open(outlet, size):
            self._wait_to_send(table, receiver, partial(self._window_is_open, outlet, size), 0)
        position = outlet.sent + size
        floods = self._burst > BURST_MESSAGES
        for piece in pieces:
            data = encode_fragment(piece, self._number, outlet.slot, position, floods)
            if not _try_write(outlet, data):
                self._wait_to_send(table, receiver, partial(_try_write, outlet, data), select.POLLOUT)
        outlet.sent = position  # only now: an interrupted message is never acknowledged

    def _open_outlet(self, receiver: str) -> _Outlet:
        descriptor = os.open(self._directory / "inbox" / receiver, os.O_WRONLY | os.O_NONBLOCK)
        slot = next(self._slots)
        if slot >= MAX_RECEIVERS:
            os.close(descriptor)
            raise MessageError(f"{self._name!r} has sent to {MAX_RECEIVERS:,} clients, and cannot send to any more")
        with storage(self._directory):
            self._counters.reserve(slot)
        outlet = self._outlets[receiver] = _Outlet(descriptor, slot)
        return outlet

    def _window_is_open(self, outlet: _Outlet, size: int) -> bool:
        """Return whether the window has space for `size` bytes; an empty window has space for a message of any size.

        If the window is more than half full, this client counts as flooding until it calls `receive`.
        """
        acknowledged = self._counters.acknowledged[outlet.slot]
        outlet.send_limit = acknowledged + FLOOD_BYTES
        if acknowledged >= outlet.sent or outlet.sent + size <= outlet.send_limit:
            return True
        self._burst += BURST_MESSAGES
        return outlet.sent + size <= acknowledged + WINDOW_BYTES

    def _wait_to_send(self, table: Rooms, receiver: str, until: Callable[[], bool], wakes: int) -> None:
        """Wait until `until()` is true; check it after each of the poll events `wakes` of the queue, or after a pause.

        Incoming messages are read and acknowledged meanwhile, since their sender may be the receiver.
        """
        deadline, pause = running_time() + SEND_TIMEOUT, MIN_PAUSE
        while not until():
            left = deadline - running_time()
            if left <= 0:
                name = table.members[receiver].name
                raise WaitTimeout(f"{self._name!r} waited {SEND_TIMEOUT:g} s to send to {name!r}: its queue is full")
            if not wakes:
                time.sleep(min(pause, left))
                pause = min(2 * pause, MAX_PAUSE)
            queue = (self._outlets.get(receiver) or self._open_outlet(receiver)).descriptor
            poll = select.poll()
            for source, events in ((queue, wakes), (self._alive, 0), (self._inbox, select.POLLIN)):
                poll.register(source, events)
            poll.register(PROCESS.fileno(), select.POLLIN)
            ready = dict(poll.poll(1000 * sleep_of(left) if wakes else 0))
            if ready.pop(queue, 0) & select.POLLERR:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            self._handle_events(ready.items())
            self._acknowledge_backlog()
            if self._arrivals.line:
                self._wakeup.set()

    def _acknowledge_backlog(self) -> None:
        """Acknowledge all messages read so far, so that their senders can continue, unless the backlog is too large."""
        with self._reading:
            if self._arrivals.size <= BACKLOG_BYTES:
                for sender, slot, position, *_ in self._arrivals.last_of_each_sender():
                    self._acknowledgements.acknowledge(sender, slot, position)

    def remove_member(self, process_id: int) -> None:
        ids = f"{process_id}-"
        for member_id in [key for key in self.rooms().members if key.startswith(ids)]:
            self._remove_dead_member(member_id)
        for inbox in (self._directory / "inbox").glob(f"{ids}*"):
            inbox.unlink(missing_ok=True)

    def _remove_dead_member(self, member_id: str) -> None:
        """Remove a member whose process has died from the rooms, and send DISCONNECT to the others."""
        self._close_outlet(member_id)
        if member_id not in self.rooms().members:
            return
        disconnect = {"TYPE": MESSAGE_TYPE.COMMAND.DISCONNECT.id, "TO_ROOM": COMMAND_ROOM}
        removed: list[Member] = []  # stays empty if another client removes it at the same time

        def without_member(rooms: Rooms) -> Rooms:
            removed.extend(member for member in (rooms.members.get(member_id),) if member is not None)
            return apply_command(rooms, disconnect, member_id)

        table = self.update_rooms(without_member)
        (self._directory / "inbox" / member_id).unlink(missing_ok=True)
        for member in removed:
            message = {**disconnect, "ID": f"{self.id}.disconnect.{member_id}", **member.disconnect_fields()}
            self.deliver(table, message, receivers(table, message, member_id), encode(message))

    def _close_outlet(self, receiver: str) -> None:
        outlet = self._outlets.pop(receiver, None)
        if outlet is not None:
            os.close(outlet.descriptor)
            outlet.descriptor = -1

    # --- receiving

    def receive(self, timeout: float) -> Message:
        self._burst = 0
        deadline = math.inf if timeout == math.inf else running_time() + timeout
        if self._arrivals.line and not self.closed:
            self._handle_events(self._poll.poll(0))  # so that other senders join the line
        while not self.closed:
            message = self._pop_message()
            if message is not None:
                return message
            left = math.inf if deadline == math.inf else deadline - running_time()
            if left <= 0:
                raise WaitTimeout(f"{self._name!r} waited {timeout:g} s for a message and none came")
            self._wait_for_input(left)
        raise self.closed_error()

    def _wait_for_input(self, seconds: float) -> None:
        if self._reader.pending:  # a fragment whose rest is still in the pipe
            self._handle_events([(self._inbox, select.POLLIN)])
            return
        self._wakeup.is_awaited = True
        is_needless = self._arrivals.line or self.closed
        ready = () if is_needless else poll_with_spin(self._poll, seconds)
        self._wakeup.is_awaited = False
        self._handle_events(ready)

    def _pop_message(self) -> Message | None:
        """Remove and acknowledge messages in the queue up to the first valid one, and return that."""
        while self._arrivals.line:
            with self._reading:
                sender, slot, position, body, _ = self._arrivals.pop()
                self._acknowledgements.acknowledge(sender, slot, position)
            message = decode_valid(body, self.rejections)
            if message is not None:
                return message
        return None

    def _handle_events(self, ready: Iterable[tuple[int, int]]) -> None:
        for source, _ in ready:
            if source == self._inbox:
                with self._reading:
                    self._read_inbox()
            elif source == self._wakeup.fileno():
                self._wakeup.clear()
            elif source == self._alive:
                raise self.closed_error()
            else:
                PROCESS.handle_events()

    def _read_inbox(self) -> None:
        """Move messages from the pipe into the fair queue; a read that does not fill its buffer empties the pipe."""
        for _ in range(MAX_READS):
            try:
                chunk = os.read(self._inbox, READ_BYTES)
            except BlockingIOError:
                chunk = b""
            emptied = len(chunk) < READ_BYTES
            for arrival in self._reader.read(chunk, emptied=emptied):
                self._arrivals.push(arrival)
            if emptied:
                return

    def unread_members(self) -> list[str]:
        names = []
        for member in self.rooms().members.values():
            unread = array("i", [0])
            with contextlib.suppress(OSError):  # it has just left
                writer = os.open(self._directory / "inbox" / member.id, os.O_WRONLY | os.O_NONBLOCK)
                fcntl.ioctl(writer, termios.FIONREAD, unread)
                os.close(writer)
            if unread[0] and member.id != self.id:
                names.append(member.name)
        return names

    # --- leaving

    def leave(self) -> None:
        super().leave()
        self._wakeup.set()

    def close(self) -> None:
        if self._is_released:
            return
        PROCESS.forget_resource(self)
        (self._directory / "inbox" / self.id).unlink(missing_ok=True)
        self.rejections.close()
        self._release()

    def _release(self) -> None:
        self.closed = self._is_released = True
        for receiver in list(self._outlets):
            self._close_outlet(receiver)
        for descriptor in (self._inbox, self._inbox_writer, self._alive):
            os.close(descriptor)
        self._wakeup.close()
        self._rooms.close()
        self._counters.close()
        self._acknowledgements.close()


def _try_write(outlet: _Outlet, data: bytes) -> bool:
    """Write a fragment into a queue; return False if the pipe has no space for it."""
    try:
        os.write(outlet.descriptor, data)
    except BlockingIOError:
        return False
    return True
