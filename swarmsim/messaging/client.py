"""`Client` connects a component to a swarm."""

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, Self

from swarmsim.errors import LinkClosed, MessageError, SwarmError, WaitTimeout
from swarmsim.messaging.handlers import EventHandler, Handler, Trigger, as_tuple, function_name, select_objects
from swarmsim.messaging.links import connect
from swarmsim.messaging.message import MESSAGE_TYPE, Message, MessageType, validate
from swarmsim.messaging.process_context import PROCESS, running_time
from swarmsim.messaging.rooms import COMMAND_ROOM, Member, Rooms
from swarmsim.messaging.sockets.wire import Wire

RECEIVE_TIMEOUT = 3600.0
ROOMS_SECONDS = 0.01  # between two looks at the rooms while another thread receives
MAX_TRACKED = 256  # types, rooms and senders that are cached or counted: a hostile sender can invent any number
DIRECT_MESSAGES = ""  # the key under which messages without a room are counted


class Client:
    """Connects a component to the swarm at an address, and registers it there on creation.

    The client finds the link by the address: inside this process, by this host's queues, or else by TCP.

    Any thread may send, change or read the rooms, add handlers, and close. One thread at a time receives: `listen`,
    `receive`. Handlers run in the thread that listens; one that closes its client ends `listen`, and its reply is not
    sent.

    Args:
        name: the component's name; several components may have the same name.
        server, port: the address of a running swarm.
        format, header_length: the encoding and the header length of frames; only the sockets link uses them.
        announce: further keys of the REGISTER message, such as COMPONENTS, the names of the components that
            this client represents.
        secret: the secret shared with the server; only the sockets link uses it. The server must prove that it knows
            the secret too. By default the environment variable SWARMSIM_SECRET is used if the server asks for a secret.
        objects: objects that are passed to each handler with a parameter of that name.

    Attributes:
        name: the component's name.
        address: server and port.

    Raises:
        AddressError: no swarm runs at that address, or its secret differs.
        MessageError: the server refuses what this client announces.
    """

    def __init__(
        self,
        name: str,
        server: str,
        port: int,
        format: str = "utf-8",
        header_length: int = 10,
        *,
        announce: Mapping[str, Any] | None = None,
        secret: str | None = None,
        **objects: Any,
    ) -> None:
        self.name = name
        self.address = (server, port)
        self.format = format
        self.header_length = header_length
        self._objects = objects
        self._handlers: list[EventHandler] = []
        self._handlers_by_address: dict[tuple[str, str | None], list[EventHandler]] = {}
        self._deferred: deque[Message] = deque()
        self._received: Counter[tuple[str, str]] = Counter()
        self._message_numbers = count()
        self._receiving = threading.RLock()  # held by the thread that receives
        self._endpoint = connect(self.address, name, Wire(format, header_length), secret)
        try:
            self._command(MESSAGE_TYPE.COMMAND.REGISTER, NAME=name, **(announce or {}))
        except BaseException:
            self._endpoint.close()
            raise
        PROCESS.register_closer(self, self.close)

    # --- rooms

    def join_room(self, room: str) -> None:
        """Receive the messages to `room` from now on."""
        if room not in self._me().rooms:
            self._command(MESSAGE_TYPE.COMMAND.JOINROOM, ROOM=room)

    def leave_room(self, room: str) -> None:
        """Stop receiving the messages to `room`."""
        if room in self._me().rooms:
            self._command(MESSAGE_TYPE.COMMAND.LEAVEROOM, ROOM=room)

    def rooms(self) -> Rooms:
        """Return a consistent snapshot of the swarm's members and rooms."""
        return self._endpoint.rooms()

    def _me(self) -> Member:
        member = self.rooms().members.get(self._endpoint.id)
        if member is None:
            raise LinkClosed(f"{self.name!r} is no longer registered")
        return member

    def components_in(self, room: str, *, but_not_in: str | None = None) -> list[str]:
        """Return the names of the components in `room`, in order of registration.

        Args:
            but_not_in: another room, whose members are excluded.
        """
        members = (member for member in self.rooms().in_room(room) if but_not_in not in member.rooms)
        return [component for member in members for component in member.components]

    def await_components(self, room: str, number: int, timeout: float, *, but_not_in: str | None = None) -> None:
        """Wait until at least `number` components are in `room`; messages that arrive meanwhile are received later.

        Args:
            but_not_in: another room, whose members are excluded.

        Raises:
            WaitTimeout: components are still missing after `timeout` seconds.
        """
        deadline = running_time() + timeout
        while len(present := self.components_in(room, but_not_in=but_not_in)) < number:
            if not self._defer_next(deadline - running_time()):
                raise WaitTimeout(
                    f"{self.name!r} waited {timeout:g} s for {number} component(s) in room {room!r}; "
                    f"present: {', '.join(present) or 'none'}"
                )

    def _defer_next(self, seconds: float) -> bool:
        """Defer the next message; return False if none arrives within `seconds`."""
        if seconds <= 0:
            return False
        if not self._receiving.acquire(False):  # another thread receives what arrives meanwhile
            time.sleep(min(seconds, ROOMS_SECONDS))
            return True
        try:
            self._deferred.append(self._count(self._endpoint.receive(seconds)))
            return True
        except WaitTimeout:
            return False
        finally:
            self._end_receiving()

    def unread_members(self) -> list[str]:
        """Return the names of the other members that have unread messages; in a stalled swarm, these stall it."""
        with self._endpoint.sending:
            return self._endpoint.unread_members()

    def remove_member(self, process_id: int) -> None:
        """Remove all clients of a process that ended without disconnecting, and send DISCONNECT for each of them.

        Raises:
            LinkClosed: the swarm has stopped.
        """
        with self._endpoint.sending:
            self._endpoint.remove_member(process_id)

    # --- messages

    def send(self, message: Message) -> None:
        """Send `message` to its TO_ROOM (one room or a list) and its TO (a component); ID and SENT_BY are filled in.

        Raises:
            MessageError: the message is invalid, or its room or component is unknown.
            LinkClosed: the swarm has stopped.
            WaitTimeout: a receiver's queue stayed full.
            StorageError: on this host's queues, the temporary directory is full or cannot be used.
        """
        if not isinstance(message, dict):
            validate(message)
        rooms = message.get("TO_ROOM")
        if isinstance(rooms, list | tuple):
            for room in rooms:
                self.send({**message, "TO_ROOM": room})
            return
        endpoint = self._endpoint
        message = {"ID": f"{endpoint.id}.{next(self._message_numbers)}", "SENT_BY": self.name, **message}
        validate(message)
        with endpoint.sending:
            endpoint.send(message)

    def _command(self, command: MessageType, **fields: Any) -> None:
        self.send({"TYPE": command.id, "TO_ROOM": COMMAND_ROOM, **fields})

    def receive(self, timeout: float = RECEIVE_TIMEOUT) -> Message:
        """Return the next message.

        Raises:
            WaitTimeout: no message arrived within `timeout` seconds; Stalled if none can arrive any more.
            LinkClosed: the swarm stopped, or this client is closed.
            ComponentFailed: in a launcher, one of its components failed.
            MessageError: another thread receives at this moment.
        """
        if not self._receiving.acquire(False):
            raise self._receiving_error()
        try:
            if self._deferred and not self._endpoint.closed:
                return self._deferred.popleft()
            PROCESS.report_ready()
            return self._count(self._endpoint.receive(timeout))
        finally:
            self._end_receiving()

    def _receiving_error(self) -> MessageError:
        return MessageError(f"{self.name!r} receives in another thread already: one thread at a time can receive")

    def _end_receiving(self) -> None:
        self._receiving.release()
        if self._endpoint.closed:
            self._release_endpoint()

    def add_eventHandler(  # noqa: N802  (the protocol's own spelling, which users' scripts call)
        self,
        handler: Handler,
        responseType: MessageType | None = None,  # noqa: N803
        responseRooms: str | Iterable[str] | None = None,  # noqa: N803
        responseComponent: str | None = None,  # noqa: N803
        trigger: Trigger | None = None,
    ) -> None:
        """Call `handler` for each message that `trigger` selects, and join the trigger's rooms.

        The dict that the handler returns is sent as `responseType` to `responseRooms` and `responseComponent`;
        without these, to its own TO_ROOM or TO. Handlers run in the order in which they were added, each with a copy of
        the message, whose keys it may change. A handler may return the message that it got: the reply has the ID and
        the sender of a reply, and goes to the room of that message, or to its sender if it was a direct one.

        Raises:
            MessageError: the trigger is missing, or the handler needs an object that this client does not have.
        """
        if trigger is None:
            raise MessageError(f"the handler {function_name(handler)} needs a trigger")
        addresses = [{"TO_ROOM": room} for room in (() if responseRooms is None else as_tuple(responseRooms))]
        if responseComponent is not None:
            addresses.append({"TO": responseComponent})
        objects = select_objects(handler, self._objects)
        for room in trigger.rooms or ():
            self.join_room(room)
        self._handlers.append(EventHandler(handler, trigger, objects, responseType, addresses))
        self._handlers_by_address = {}  # a new one, since another thread may be filling it

    def listen(self) -> None:
        """Call the handlers for each message that arrives, until this component is asked to stop, or closed.

        Raises:
            LinkClosed: the swarm stopped.
            MessageError: another thread receives at this moment, or a reply is invalid.
        """
        if not self._receiving.acquire(False):
            raise self._receiving_error()
        try:
            PROCESS.report_ready()
            self._handle_deferred()
            self._endpoint.listen(self._receive_message)
        finally:
            self._end_receiving()

    def _receive_message(self, message: Message) -> None:
        self._handle(self._count(message))
        if self._deferred:
            self._handle_deferred()

    def _handle_deferred(self) -> None:
        """Handle the messages that arrived while a handler waited, and those that arrive while one of theirs waits."""
        while self._deferred and not self._endpoint.closed:
            self._handle(self._deferred.popleft())

    def _handle(self, message: Message) -> None:
        for event_handler in self._handlers_for(message):
            for reply in event_handler.replies(message):
                if not self._endpoint.closed and self._has_receiver(reply, message):
                    self.send(reply)
            if self._endpoint.closed:
                return

    def _handlers_for(self, message: Message) -> list[EventHandler]:
        """Return the handlers of a message, cached by type and room."""
        key, cached = (message["TYPE"], message.get("TO_ROOM")), self._handlers_by_address
        handlers = cached.get(key)
        if handlers is None:
            if len(cached) >= MAX_TRACKED:
                cached.clear()
            handlers = [handler for handler in self._handlers if handler.trigger.is_triggered(message)]
            cached[key] = handlers
        return handlers

    def _has_receiver(self, reply: Message, request: Message) -> bool:
        """Return False for a reply to a requester whose SENT_BY is no component's name; that is no error here."""
        requester = request.get("SENT_BY")
        if requester is None or reply.get("TO") != requester or self.rooms().knows(requester):
            return True
        self.log_rejected("dropped a reply", f"no component is named {requester[:40]!r}")
        return False

    def _count(self, message: Message) -> Message:
        """Count a received message by room and sender, and return it."""
        key = message.get("TO_ROOM", DIRECT_MESSAGES), message.get("SENT_BY", "")
        if len(self._received) < MAX_TRACKED or key in self._received:
            self._received[key] += 1
        return message

    def pop_received_counts(self) -> list[tuple[str, str, int]]:
        """Return (room, sender, number of messages received since the last call) for each room and sender."""
        received, self._received = self._received, Counter()
        return [(room, sender, number) for (room, sender), number in received.items()]

    def log_rejected(self, action: str, details: str) -> None:
        """Log a warning about a message that cannot be used, at most one a second for each `action`."""
        self._endpoint.rejections.log(action, details)

    # --- leaving

    def close(self) -> None:
        """Send DISCONNECT and leave the swarm, which ends `listen` in any thread; a second call does nothing."""
        with self._endpoint.sending:
            if self._endpoint.closed:
                return
            try:
                with contextlib.suppress(SwarmError):  # it leaves, whether others hear of it or not
                    self._command(MESSAGE_TYPE.COMMAND.DISCONNECT, COMPONENTS=list(self._me().components))
            finally:
                self._endpoint.leave()
                self._release_endpoint()
                PROCESS.unregister_closer(self)

    def _release_endpoint(self) -> None:
        """Release the link of a closed client, unless another thread still receives by it, which does so afterwards."""
        if self._receiving.acquire(False):
            try:
                with self._endpoint.sending:
                    self._endpoint.close()
            finally:
                self._receiving.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
