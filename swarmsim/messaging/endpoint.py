"""A client's end of a link: the interface that every link has, and what links inside one host share."""

import contextlib
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from swarmsim.errors import LinkClosed, MessageError, StopRequested
from swarmsim.messaging.codec import decode, encode
from swarmsim.messaging.message import Message, validate
from swarmsim.messaging.rooms import CHANGES_ROOMS, MIRRORED, Rooms, apply_command, logged, receivers

logger = logging.getLogger("swarmsim")

COMPLAINT_SECONDS = 1.0

Address = tuple[str, int]


def format_address(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


class Endpoint(ABC):
    """What a `Client` asks of a link; `id` is this client's member id in its swarm."""

    id: str
    rejections: "RejectionLog"
    closed: bool = False

    @abstractmethod
    def rooms(self) -> Rooms:
        """Return who is where now."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Hand a valid message to all who get it."""

    @abstractmethod
    def receive(self, timeout: float) -> Message:
        """Return the next message.

        Raises:
            WaitTimeout: none came within `timeout` seconds; Stalled, where it is known that none can come.
            LinkClosed: the swarm stopped, or this end is closed.
        """

    @abstractmethod
    def unread_members(self) -> list[str]:
        """Return the names of the other members with whom messages lie unread now."""

    @abstractmethod
    def remove_member(self, process_id: int) -> None:
        """Take every client of a process that has gone without a word out of the rooms, and tell all that are left."""

    def listen(self, handle: Callable[[Message], None]) -> None:
        """Have every message handled until this component is asked to stop."""
        with contextlib.suppress(StopRequested):
            while True:
                handle(self.receive(math.inf))

    @abstractmethod
    def close(self) -> None:
        """Let go of everything, without a word to the others; a second call does nothing."""


class RejectionLog:
    """Lines in the log about what a client cannot use, of each kind one in `COMPLAINT_SECONDS`; the others are counted.

    Args:
        name: the client's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._due: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def log(self, kind: str, what: str) -> None:
        """Tell what was done, one of a few kinds, and to what; or count it where that was told just now."""
        now = time.monotonic()
        if now < self._due.get(kind, now):
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        self._due[kind] = now + COMPLAINT_SECONDS
        unsaid = self._unsaid.pop(kind, 0)
        logger.warning("%s %s: %s%s", self._name, kind, what, f", and {unsaid:,} more before it" if unsaid else "")

    def close(self) -> None:
        """Tell what was only counted so far."""
        for kind, unsaid in self._unsaid.items():
            logger.warning("%s %s: %s more", self._name, kind, f"{unsaid:,}")
        self._unsaid.clear()


def read_body(body: bytes, rejections: RejectionLog) -> Message | None:
    """Return the message of `body`, or None, with a complaint, where it is none."""
    try:
        message = decode(body)
        validate(message)
    except MessageError as error:
        rejections.log("left out what it got", str(error))
        return None
    return message


class HostEndpoint(Endpoint):
    """An end whose sender knows the rooms, and hands a message straight to its receivers."""

    def __init__(self, member_id: str) -> None:
        self.id = member_id
        self._routes: dict[tuple[str | None, str | None], tuple[str, ...]] = {}
        self._routes_of: Rooms | None = None

    def send(self, message: Message) -> None:
        if self.closed:
            raise self.gone()
        body = encode(message)
        if message["TYPE"] in CHANGES_ROOMS:
            table = self.update_rooms(lambda rooms: apply_command(rooms, message, self.id))
        else:
            table = self.rooms()
        self.deliver(table, message, self._receivers(table, message), body)
        if message["TYPE"] in MIRRORED and table.logging:
            self._mirror(table, message)

    def _receivers(self, table: Rooms, message: Message) -> tuple[str, ...]:
        """Return who gets `message`; found once for each address while nobody comes or goes."""
        if table is not self._routes_of:
            self._routes, self._routes_of = {}, table
        address = message.get("TO_ROOM"), message.get("TO")
        if address not in self._routes:
            self._routes[address] = receivers(table, message, self.id)
        return self._routes[address]

    def _mirror(self, table: Rooms, message: Message) -> None:
        log = logged(message)
        to = receivers(table, log, self.id)
        if to:
            self.deliver(table, log, to, encode(log))

    @abstractmethod
    def gone(self) -> LinkClosed:
        """Return the error that tells why this end can no longer be used."""

    @abstractmethod
    def update_rooms(self, change: Callable[[Rooms], Rooms]) -> Rooms:
        """Replace the swarm's rooms by `change(rooms)`, as one step for all members, and return them."""

    @abstractmethod
    def deliver(self, table: Rooms, message: Message, to: Sequence[str], body: bytes) -> None:
        """Put `body` into the queue of each receiver."""
