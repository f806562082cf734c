"""The link inside one process: every message handled in the order in which it was sent, for debugging and tests.

There is nobody else to wait for: a component that listens is called whenever another one waits for
a message, and a wait that nothing can end any more fails at once.
"""

import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from swarmsim.errors import AddressError, ComponentFailed, LinkClosed, Stalled, WaitTimeout
from swarmsim.messaging.endpoint import Address, HostEndpoint, RejectionLog, format_address, read_body
from swarmsim.messaging.message import Message
from swarmsim.messaging.rooms import Rooms

_HUBS: dict[Address, "InprocessHub"] = {}


class InprocessHub:
    """The swarm of one address in this process; it serves from creation until closed."""

    takes_a_process = False

    def __init__(self, address: Address) -> None:
        if address in _HUBS:
            raise AddressError(f"{format_address(address)} is already served in this process")
        self.address = address
        self.rooms = Rooms()
        self.ends: dict[str, InprocessEndpoint] = {}
        self.on_the_way: deque[tuple[str, bytes]] = deque()
        self.numbers = count()
        _HUBS[address] = self

    def serve(self) -> None:
        """Do nothing: who waits for a message has the others called."""

    def serve_beside(self) -> None:
        """Do nothing, as `serve`."""

    def close(self) -> None:
        for end in list(self.ends.values()):
            end.close()
        if _HUBS.get(self.address) is self:
            del _HUBS[self.address]


def find_hub(address: Address) -> InprocessHub | None:
    """Return the swarm that this process serves at `address`, or None."""
    return _HUBS.get(address)


class InprocessEndpoint(HostEndpoint):
    """A client's end of a swarm that lives in this process."""

    def __init__(self, hub: InprocessHub, name: str) -> None:
        super().__init__(f"in-{next(hub.numbers)}")
        self._name = name
        self._hub = hub
        self.rejections = RejectionLog(name)
        self._inbox: deque[Message] = deque()
        self._handle: Callable[[Message], None] | None = None
        hub.ends[self.id] = self

    def rooms(self) -> Rooms:
        return self._hub.rooms

    def gone(self) -> LinkClosed:
        return LinkClosed(f"{self._name!r} has left the swarm at {format_address(self._hub.address)}")

    def update_rooms(self, change: Callable[[Rooms], Rooms]) -> Rooms:
        self._hub.rooms = change(self._hub.rooms)
        return self._hub.rooms

    def deliver(self, table: Rooms, message: Message, to: Sequence[str], body: bytes) -> None:
        self._hub.on_the_way.extend((receiver, body) for receiver in to)

    def receive(self, timeout: float) -> Message:
        deadline = time.monotonic() + timeout
        while not self._inbox:
            if self.closed:
                raise self.gone()
            if not self._hub.on_the_way:
                raise Stalled(f"{self._name!r} waits for a message, and nobody in this process has one left to send")
            if time.monotonic() > deadline:
                raise WaitTimeout(f"{self._name!r} waited {timeout:g} s for a message and none came")
            receiver, body = self._hub.on_the_way.popleft()
            if receiver in self._hub.ends:
                self._hub.ends[receiver]._take(body)
        return self._inbox.popleft()

    def unread_members(self) -> list[str]:
        table = self._hub.rooms
        return sorted(
            {table.members[key].name for key, _ in self._hub.on_the_way if key in table.members} - {self._name}
        )

    def remove_member(self, process_id: int) -> None:
        """Do nothing: all clients are of this process, which is there."""

    def _take(self, body: bytes) -> None:
        message = read_body(body, self.rejections)
        if message is None:
            return
        if self._handle is None:
            self._inbox.append(message)
        else:
            self._call(self._handle, message)

    def _call(self, handle: Callable[[Message], None], message: Message) -> None:
        try:
            handle(message)
        except (ComponentFailed, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise ComponentFailed(self._name, type(error).__name__, str(error), traceback.format_exc()) from error

    def listen(self, handle: Callable[[Message], None]) -> None:
        """Have messages handled from now on, and return at once: this process has others to serve."""
        self._handle = handle
        while self._inbox:
            self._call(handle, self._inbox.popleft())

    def close(self) -> None:
        self.closed = True
        self.rejections.close()
        self._hub.ends.pop(self.id, None)
