"""`Client` connects a component to a swarm. `Trigger` selects the messages that a handler is called for."""

import contextlib
import inspect
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Self

from swarmsim.errors import LinkClosed, MessageError, WaitTimeout
from swarmsim.messaging.links import connect
from swarmsim.messaging.message import MESSAGE_TYPE, Message, MessageType, root_id, validate
from swarmsim.messaging.process_context import PROCESS, running_time
from swarmsim.messaging.rooms import COMMAND_ROOM, Member, Rooms
from swarmsim.messaging.sockets.wire import Wire

RECEIVE_TIMEOUT = 3600.0
MAX_TRACKED = 256  # types, rooms and senders that are cached or counted: a hostile sender can invent any number
DIRECT_MESSAGES = ""  # the key under which messages without a room are counted

Handler = Callable[..., Message | None]


class Trigger:
    """Selects the messages that a handler is called for.

    Args:
        types: one message type or several.
        rooms: one room or several. None selects every room; () selects no room, only direct messages.
        directmessage: whether direct messages (without a room) are selected too.
    """

    def __init__(
        self,
        types: MessageType | Iterable[MessageType],
        rooms: str | Iterable[str] | None = None,
        directmessage: bool = True,
    ) -> None:
        self.types = (types,) if isinstance(types, MessageType) else tuple(types)
        self.rooms = None if rooms is None else _as_tuple(rooms)
        self.directmessage = directmessage
        self._type_ids = frozenset(message_type.id for message_type in self.types)

    def is_triggered(self, message: Mapping[str, Any]) -> bool:
        """Return whether the trigger selects `message`."""
        if message.get("TYPE") not in self._type_ids:
            return False
        room = message.get("TO_ROOM")
        if room is None:
            return self.directmessage
        return self.rooms is None or room in self.rooms


@dataclass(frozen=True)
class EventHandler:
    """A user's function, the trigger for it, the objects that it needs, and where its replies go."""

    handler: Handler
    trigger: Trigger
    objects: Mapping[str, Any]
    response_type: MessageType | None
    response_addresses: list[dict[str, str]]

    def replies(self, message: Message) -> list[Message]:
        """Call the handler, and return its reply once for each address; no reply if it returns None."""
        response = self.handler(message, **self.objects)
        if response is None:
            return []
        if not isinstance(response, dict):
            raise MessageError(f"a handler returns a dict or None, not {type(response).__name__}")
        if self.response_type is not None:
            response["TYPE"] = self.response_type.id
        for key, value in (("MODEL_STATUS", message.get("MODEL_STATUS")), ("ROOT_ID", root_id(message))):
            if value is not None:
                response.setdefault(key, value)
        return [{**response, **address} for address in self.response_addresses] or [response]


class Client:
    """Connects a component to the swarm at an address, and registers it there on creation.

    The client finds the link by the address: inside this process, by this host's queues, or else by TCP.

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
        with contextlib.suppress(WaitTimeout):
            if seconds > 0:
                self._deferred.append(self._count(self._endpoint.receive(seconds)))
                return True
        return False

    def unread_members(self) -> list[str]:
        """Return the names of the other members that have unread messages; in a stalled swarm, these stall it."""
        return self._endpoint.unread_members()

    def remove_member(self, process_id: int) -> None:
        """Remove all clients of a process that ended without disconnecting, and send DISCONNECT for each of them.

        Raises:
            LinkClosed: the swarm has stopped.
        """
        self._endpoint.remove_member(process_id)

    # --- messages

    def send(self, message: Message) -> None:
        """Send `message` to its TO_ROOM (one room or a list) and its TO (a component); ID and SENT_BY are filled in.

        Raises:
            MessageError: the message is invalid, or its room or component is unknown.
            LinkClosed: the swarm has stopped.
            WaitTimeout: a receiver's queue stayed full.
        """
        if not isinstance(message, dict):
            validate(message)
        rooms = message.get("TO_ROOM")
        if isinstance(rooms, list | tuple):
            for room in rooms:
                self.send({**message, "TO_ROOM": room})
            return
        message = {"ID": f"{self._endpoint.id}.{next(self._message_numbers)}", "SENT_BY": self.name, **message}
        validate(message)
        self._endpoint.send(message)

    def _command(self, command: MessageType, **fields: Any) -> None:
        self.send({"TYPE": command.id, "TO_ROOM": COMMAND_ROOM, **fields})

    def receive(self, timeout: float = RECEIVE_TIMEOUT) -> Message:
        """Return the next message.

        Raises:
            WaitTimeout: no message arrived within `timeout` seconds; Stalled if none can arrive any more.
            LinkClosed: the swarm stopped, or this client is closed.
            ComponentFailed: in a launcher, one of its components failed.
        """
        if self._deferred:
            return self._deferred.popleft()
        PROCESS.report_ready()
        return self._count(self._endpoint.receive(timeout))

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
        without these, to its own TO_ROOM or TO. Handlers run in the order in which they were added.

        Raises:
            MessageError: the trigger is missing, or the handler needs an object that this client does not have.
        """
        if trigger is None:
            raise MessageError(f"the handler {_function_name(handler)} needs a trigger")
        addresses = [{"TO_ROOM": room} for room in (() if responseRooms is None else _as_tuple(responseRooms))]
        if responseComponent is not None:
            addresses.append({"TO": responseComponent})
        objects = _select_objects(handler, self._objects)
        for room in trigger.rooms or ():
            self.join_room(room)
        self._handlers.append(EventHandler(handler, trigger, objects, responseType, addresses))
        self._handlers_by_address.clear()

    def listen(self) -> None:
        """Call the handlers for each message that arrives, until this component is asked to stop."""
        PROCESS.report_ready()
        while self._deferred:
            self._handle(self._deferred.popleft())
        self._endpoint.listen(lambda message: self._handle(self._count(message)))

    def _handle(self, message: Message) -> None:
        for event_handler in self._handlers_for(message):
            for reply in event_handler.replies(message):
                if self._has_receiver(reply, message):
                    self.send(reply)
        while self._deferred:
            self._handle(self._deferred.popleft())

    def _handlers_for(self, message: Message) -> list[EventHandler]:
        """Return the handlers of a message, cached by type and room."""
        key = message["TYPE"], message.get("TO_ROOM")
        handlers = self._handlers_by_address.get(key)
        if handlers is None:
            if len(self._handlers_by_address) >= MAX_TRACKED:
                self._handlers_by_address.clear()
            handlers = [handler for handler in self._handlers if handler.trigger.is_triggered(message)]
            self._handlers_by_address[key] = handlers
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
        """Send DISCONNECT and leave the swarm; a second call does nothing."""
        if self._endpoint.closed:
            return
        with contextlib.suppress(LinkClosed):  # the swarm has stopped
            self._command(MESSAGE_TYPE.COMMAND.DISCONNECT, COMPONENTS=list(self._me().components))
        self._endpoint.close()
        PROCESS.unregister_closer(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _as_tuple(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _function_name(handler: Handler) -> str:
    return f"{getattr(handler, '__qualname__', handler)}()"


def _select_objects(handler: Handler, objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objects named by the parameters of `handler` after the first, which is the message."""
    parameters = list(inspect.signature(handler).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for parameter in named:
        if parameter.name not in objects and parameter.default is parameter.empty:
            raise MessageError(
                f"the handler {_function_name(handler)} takes {parameter.name!r}, which its Client was not given: "
                f"Client(…, {parameter.name}=…)"
            )
    return {p.name: objects[p.name] for p in named if p.name in objects}
