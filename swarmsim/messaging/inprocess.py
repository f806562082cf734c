"""The link inside one process: messages are handled in the order in which they were sent, for debugging and tests.

Handlers of listening components run while another component waits for a message. A wait that no message can end
any more fails at once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from swarmsim.errors import AddressError, ComponentFailed, LinkClosed, Stalled, WaitTimeout, explain, format_traceback
from swarmsim.messaging.endpoint import Address, HostEndpoint, RejectionLog, decode_valid, format_address
from swarmsim.messaging.message import Message
from swarmsim.messaging.rooms import Rooms

_HUBS: dict[Address, "InprocessHub"] = {}


class InprocessHub:
    """The swarm at one address in this process, from creation until closed."""

    needs_process = False

    def __init__(self, address: Address) -> None:
        if address in _HUBS:
            raise AddressError(f"{format_address(address)} is already served in this process")
        self.address = address
        self.sending = threading.RLock()
        self.rooms = Rooms()
        self.endpoints: dict[str, InprocessEndpoint] = {}
        self.in_transit: deque[tuple[str, bytes]] = deque()
        self.endpoint_numbers = count()
        _HUBS[address] = self

    def serve(self) -> None:
        """Do nothing: a component that waits for a message calls the others' handlers."""

    def serve_in_background(self) -> None:
        """Do nothing, like `serve`."""

    def close(self) -> None:
        for endpoint in list(self.endpoints.values()):
            endpoint.close()
        if _HUBS.get(self.address) is self:
            del _HUBS[self.address]


def find_hub(address: Address) -> InprocessHub | None:
    """Return the swarm at `address` in this process, or None."""
    return _HUBS.get(address)


class InprocessEndpoint(HostEndpoint):
    """A client's endpoint of a swarm in this process."""

    def __init__(self, hub: InprocessHub, name: str) -> None:
        super().__init__(f"in-{next(hub.endpoint_numbers)}")
        self._name = name
        self._hub = hub
        self.sending = hub.sending
        self.rejections = RejectionLog(name)
        self._inbox: deque[Message] = deque()
        self._handle: Callable[[Message], None] | None = None
        self._is_handling = False
        hub.endpoints[self.id] = self

    def rooms(self) -> Rooms:
        return self._hub.rooms

    def closed_error(self) -> LinkClosed:
        return LinkClosed(f"{self._name!r} has left the swarm at {format_address(self._hub.address)}")

    def update_rooms(self, change: Callable[[Rooms], Rooms]) -> Rooms:
        self._hub.rooms = change(self._hub.rooms)
        return self._hub.rooms

    def deliver(self, table: Rooms, message: Message, to: Sequence[str], body: bytes) -> None:
        self._hub.in_transit.extend((receiver, body) for receiver in to)

    def receive(self, timeout: float) -> Message:
        deadline = time.monotonic() + timeout
        while not self.closed:
            if self._inbox:
                return self._inbox.popleft()
            if not self._hub.in_transit:
                raise Stalled(f"{self._name!r} waits for a message, and no component here has one left to send")
            if time.monotonic() > deadline:
                raise WaitTimeout(f"{self._name!r} waited {timeout:g} s for a message and none came")
            receiver, body = self._hub.in_transit.popleft()
            if receiver in self._hub.endpoints:
                self._hub.endpoints[receiver]._receive_body(body)
        raise self.closed_error()

    def unread_members(self) -> list[str]:
        table = self._hub.rooms
        return sorted(
            {table.members[key].name for key, _ in list(self._hub.in_transit) if key in table.members} - {self._name}
        )

    def remove_member(self, process_id: int) -> None:
        """Do nothing: all clients belong to this process."""

    def _receive_body(self, body: bytes) -> None:
        message = decode_valid(body, self.rejections)
        if message is None:
            return
        self._inbox.append(message)
        if self._handle is not None and not self._is_handling:  # else `receive` may want it, also a handler's
            self._handle_inbox(self._handle)

    def _handle_inbox(self, handle: Callable[[Message], None]) -> None:
        """Call `handle` for all messages of a listening component."""
        self._is_handling = True
        try:
            while self._inbox and not self.closed:
                handle(self._inbox.popleft())
        except (ComponentFailed, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise ComponentFailed(self._name, type(error).__name__, explain(error), format_traceback(error)) from error
        finally:
            self._is_handling = False

    def listen(self, handle: Callable[[Message], None]) -> None:
        """Call `handle` for each message from now on, and return at once: other components run in this process too."""
        self._handle = handle
        self._handle_inbox(handle)

    def close(self) -> None:
        self.closed = True
        self.rejections.close()
        self._hub.endpoints.pop(self.id, None)
