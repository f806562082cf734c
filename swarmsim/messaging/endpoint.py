"""`Endpoint`: the interface between a `Client` and its link. `HostEndpoint`: what the links inside one host share."""

import contextlib
import logging
import math
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from swarmsim.errors import LinkClosed, MessageError, StopRequested
from swarmsim.messaging.codec import decode, encode
from swarmsim.messaging.message import Message, validate
from swarmsim.messaging.rooms import CHANGES_ROOMS, MIRRORED_TYPES, Rooms, apply_command, logging_copy, receivers

logger = logging.getLogger("swarmsim")

LOG_SECONDS = 1.0  # between two warnings of one kind

Address = tuple[str, int]


def format_address(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


class Endpoint(ABC):
    """A client's end of a link.

    Attributes:
        id: the client's member id in the swarm.
        sending: held by the thread that sends, changes the membership, asks the server, or leaves.
        closed: whether the client has left; nothing is sent or received any more.
    """

    id: str
    rejections: "RejectionLog"
    closed: bool = False

    def __init__(self) -> None:
        self.sending = threading.RLock()

    @abstractmethod
    def rooms(self) -> Rooms:
        """Return the current members and rooms."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Send a valid message to all its receivers."""

    @abstractmethod
    def receive(self, timeout: float) -> Message:
        """Return the next message.

        Raises:
            WaitTimeout: no message arrived within `timeout` seconds; Stalled if none can arrive any more.
            LinkClosed: the swarm stopped, or this endpoint is closed.
        """

    @abstractmethod
    def unread_members(self) -> list[str]:
        """Return the names of the other members that have unread messages."""

    @abstractmethod
    def remove_member(self, process_id: int) -> None:
        """Remove all clients of a process that ended without disconnecting, and send DISCONNECT for each of them."""

    def listen(self, handle: Callable[[Message], None]) -> None:
        """Call `handle` for each message until this component is asked to stop."""
        with contextlib.suppress(StopRequested):
            while not self.closed:
                try:
                    message = self.receive(math.inf)
                except LinkClosed:
                    if self.closed:  # by another thread, while this one waited
                        return
                    raise
                handle(message)

    def leave(self) -> None:
        """Count as closed, so that a wait of another thread for a message ends at once."""
        self.closed = True

    @abstractmethod
    def close(self) -> None:
        """Release all resources without sending anything; a second call does nothing."""


class Wakeup:
    """A descriptor by which one thread ends another one's wait for input, which it has read or which will not come.

    Attributes:
        is_awaited: whether a thread waits, or is about to; it looks for input once more after it has set this.
    """

    def __init__(self) -> None:
        self.is_awaited = False
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._descriptor

    def set(self) -> None:
        """End the wait of another thread, if one waits."""
        if self.is_awaited:
            os.eventfd_write(self._descriptor, 1)

    def clear(self) -> None:
        """Be ready for the next wait."""
        os.eventfd_read(self._descriptor)

    def close(self) -> None:
        self.is_awaited = False
        os.close(self._descriptor)


class RejectionLog:
    """Rate-limited warnings about what the client `name` cannot use: for each kind of action one in `LOG_SECONDS`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next_time: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def log(self, action: str, details: str) -> None:
        """Log what the client did and to what, or count it if the same action was logged just before."""
        now = time.monotonic()
        if now < self._next_time.get(action, now):
            self._suppressed[action] = self._suppressed.get(action, 0) + 1
            return
        self._next_time[action] = now + LOG_SECONDS
        number = self._suppressed.pop(action, 0)
        logger.warning("%s %s: %s%s", self._name, action, details, f", and {number:,} more before it" if number else "")

    def close(self) -> None:
        """Log the numbers of suppressed warnings."""
        for action, number in self._suppressed.items():
            logger.warning("%s %s: %s more", self._name, action, f"{number:,}")
        self._suppressed.clear()


def decode_valid(body: bytes, rejections: RejectionLog) -> Message | None:
    """Return the message of `body`; log an invalid one and return None."""
    try:
        message = decode(body)
        validate(message)
    except MessageError as error:
        rejections.log("ignored an invalid message", str(error))
        return None
    return message


class HostEndpoint(Endpoint):
    """An endpoint that knows the rooms, and delivers each message directly to its receivers."""

    def __init__(self, member_id: str) -> None:
        super().__init__()
        self.id = member_id
        self._routes: dict[tuple[str | None, str | None], tuple[str, ...]] = {}
        self._routes_of: Rooms | None = None

    def send(self, message: Message) -> None:
        if self.closed:
            raise self.closed_error()
        body = encode(message)
        if message["TYPE"] in CHANGES_ROOMS:
            table = self.update_rooms(lambda rooms: apply_command(rooms, message, self.id))
        else:
            table = self.rooms()
        self.deliver(table, message, self._receivers(table, message), body)
        if message["TYPE"] in MIRRORED_TYPES and table.logging:
            self._send_logging_copy(table, message)

    def _receivers(self, table: Rooms, message: Message) -> tuple[str, ...]:
        """Return the receivers of `message`, cached by address until the membership changes."""
        if table is not self._routes_of:
            self._routes, self._routes_of = {}, table
            self.forget_departed(table)
        address = message.get("TO_ROOM"), message.get("TO")
        if address not in self._routes:
            self._routes[address] = receivers(table, message, self.id)
        return self._routes[address]

    def _send_logging_copy(self, table: Rooms, message: Message) -> None:
        log = logging_copy(message)
        to = receivers(table, log, self.id)
        if to:
            self.deliver(table, log, to, encode(log))

    def forget_departed(self, table: Rooms) -> None:
        """Release what a sender has for members that are no longer in `table`."""

    @abstractmethod
    def closed_error(self) -> LinkClosed:
        """Return the error that says why this endpoint is closed."""

    @abstractmethod
    def update_rooms(self, change: Callable[[Rooms], Rooms]) -> Rooms:
        """Replace the swarm's rooms by `change(rooms)` atomically, and return them."""

    @abstractmethod
    def deliver(self, table: Rooms, message: Message, to: Sequence[str], body: bytes) -> None:
        """Put `body` into the queue of each receiver."""
