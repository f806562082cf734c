"""`Client`: how a component takes part in a swarm. `Trigger`: which messages a handler is called for."""

import contextlib
import inspect
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any, Self

from swarmsim.errors import LinkClosed, MessageError, WaitTimeout
from swarmsim.messaging.links import connect
from swarmsim.messaging.message import MESSAGE_TYPE, Message, MessageType, root_id, validate
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.rooms import COMMAND_ROOM, Member, Rooms
from swarmsim.messaging.sockets.wire import Wire

RECEIVE_TIMEOUT = 3600.0
MOST_REMEMBERED = 256  # types, rooms and senders of messages, of which strangers may think up more
DIRECTLY = ""  # where messages to one component alone are counted, in the place of a room

Handler = Callable[..., Message | None]


class Trigger:
    """Which messages a handler is called for.

    Args:
        types: one message type or several.
        rooms: one room or several; None for every room, () for none, so that direct messages alone count.
        directmessage: whether a message to this component alone counts too.
    """

    def __init__(
        self,
        types: MessageType | Iterable[MessageType],
        rooms: str | Iterable[str] | None = None,
        directmessage: bool = True,
    ) -> None:
        self.types = (types,) if isinstance(types, MessageType) else tuple(types)
        self.rooms = None if rooms is None else _names(rooms)
        self.directmessage = directmessage
        self._type_ids = frozenset(message_type.id for message_type in self.types)

    def is_triggered(self, message: Mapping[str, Any]) -> bool:
        """Tell whether `message` is one of these."""
        if message.get("TYPE") not in self._type_ids:
            return False
        room = message.get("TO_ROOM")
        if room is None:
            return self.directmessage
        return self.rooms is None or room in self.rooms


class EventHandler:
    """A function of the user's, the messages that it is called for, and where its answers go."""

    def __init__(
        self,
        handler: Handler,
        response_type: MessageType | None,
        response_rooms: tuple[str, ...],
        response_component: str | None,
        trigger: Trigger,
        objects: Mapping[str, Any],
    ) -> None:
        self.trigger = trigger
        self.response_rooms = response_rooms
        self.response_component = response_component
        self._handler = handler
        self._response_type = response_type
        self._objects = _objects_for(handler, objects)

    def answers(self, message: Message) -> list[Message]:
        """Return what the handler answers to `message`, addressed; nothing where it returns None."""
        response = self._handler(message, **self._objects)
        if response is None:
            return []
        if not isinstance(response, dict):
            raise MessageError(f"a handler returns a dict or None, not {type(response).__name__}")
        if self._response_type is not None:
            response["TYPE"] = self._response_type.id
        for key, value in (("MODEL_STATUS", message.get("MODEL_STATUS")), ("ROOT_ID", root_id(message))):
            if value is not None:
                response.setdefault(key, value)
        addresses: list[dict[str, str]] = [{"TO_ROOM": room} for room in self.response_rooms]
        if self.response_component is not None:
            addresses.append({"TO": self.response_component})
        return [{**response, **address} for address in addresses] or [response]


class Client:
    """One component's end of the swarm at an address; it registers on creation.

    A swarm in this process or on this host's queues is reached by those, any other one by TCP.

    Args:
        name: its name, which others may share.
        server, port: the address of a running swarm.
        format, header_length: the wire of the sockets link; links inside a host need neither.
        announce: keys that its REGISTER message carries besides its name, such as COMPONENTS, the
            names of the components that it answers for.
        secret: that it shares with the server on the sockets link, which then has to prove it too; by default that
            of the environment's SWARMSIM_SECRET, for a server that asks for one.
        objects: handed to the handlers whose parameters name them.

    Attributes:
        name: as given.
        address: server and port.

    Raises:
        AddressError: no swarm runs at that address, or it shares no secret with this client.
        MessageError: it refuses what this client announces.
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
        self._triggered: dict[tuple[str, str | None], list[EventHandler]] = {}
        self._postponed: deque[Message] = deque()
        self._taken: Counter[tuple[str, str]] = Counter()
        self._numbers = count()
        self._endpoint = connect(self.address, name, Wire(format, header_length), secret)
        try:
            self._command(MESSAGE_TYPE.COMMAND.REGISTER, NAME=name, **(announce or {}))
        except BaseException:
            self._endpoint.close()
            raise
        PROCESS.register_closer(self, self.close)

    # --- rooms

    def join_room(self, room: str) -> None:
        """Get what is said in `room` from now on."""
        if room not in self._me().rooms:
            self._command(MESSAGE_TYPE.COMMAND.JOINROOM, ROOM=room)

    def leave_room(self, room: str) -> None:
        """No longer get what is said in `room`."""
        if room in self._me().rooms:
            self._command(MESSAGE_TYPE.COMMAND.LEAVEROOM, ROOM=room)

    def rooms(self) -> Rooms:
        """Return who is where now, as one consistent picture."""
        return self._endpoint.rooms()

    def _me(self) -> Member:
        member = self.rooms().members.get(self._endpoint.id)
        if member is None:
            raise LinkClosed(f"{self.name!r} is not registered any more")
        return member

    def components_in(self, room: str, *, but_not_in: str | None = None) -> list[str]:
        """Return the components that are present in `room`, in the order in which they registered.

        Args:
            but_not_in: another room, whose members are left out.
        """
        members = (member for member in self.rooms().in_room(room) if but_not_in not in member.rooms)
        return [component for member in members for component in member.components]

    def await_components(self, room: str, number: int, timeout: float, *, but_not_in: str | None = None) -> None:
        """Wait until at least `number` components are present in `room`; other messages are kept for later.

        Args:
            but_not_in: as of `components_in`.

        Raises:
            WaitTimeout: some are still missing after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while len(present := self.components_in(room, but_not_in=but_not_in)) < number:
            if not self._postpone_next(deadline - time.monotonic()):
                raise WaitTimeout(
                    f"{self.name!r} waited {timeout:g} s for {number} component(s) in room {room!r}; "
                    f"present: {', '.join(present) or 'nobody'}"
                )

    def _postpone_next(self, seconds: float) -> bool:
        """Keep the next message for later; tell whether one came within `seconds`."""
        with contextlib.suppress(WaitTimeout):
            if seconds > 0:
                self._postponed.append(self._counted(self._endpoint.receive(seconds)))
                return True
        return False

    def unread_members(self) -> list[str]:
        """Return the names of the other members with whom messages lie unread: in a stalled swarm, who stalls it."""
        return self._endpoint.unread_members()

    def remove_member(self, process_id: int) -> None:
        """Take every client of a process that has gone without a word out of the rooms, and tell all that are left.

        Raises:
            LinkClosed: the swarm has stopped.
        """
        self._endpoint.remove_member(process_id)

    # --- messages

    def send(self, message: Message) -> None:
        """Send `message` to its TO_ROOM (one name, or several) and its TO; ID and SENT_BY are filled in.

        Raises:
            MessageError: it cannot be sent as it stands, or its room or component is unknown.
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
        message = {"ID": f"{self._endpoint.id}.{next(self._numbers)}", "SENT_BY": self.name, **message}
        validate(message)
        self._endpoint.send(message)

    def _command(self, command: MessageType, **fields: Any) -> None:
        self.send({"TYPE": command.id, "TO_ROOM": COMMAND_ROOM, **fields})

    def receive(self, timeout: float = RECEIVE_TIMEOUT) -> Message:
        """Return the next message.

        Raises:
            WaitTimeout: none came within `timeout` seconds; Stalled, where it is known that none can come.
            LinkClosed: the swarm stopped, or this client is closed.
            ComponentFailed: in a launcher, one of its components failed.
        """
        if self._postponed:
            return self._postponed.popleft()
        PROCESS.report_ready()
        return self._counted(self._endpoint.receive(timeout))

    def add_eventHandler(  # noqa: N802  (the protocol's own spelling, which users' scripts call)
        self,
        handler: Handler,
        responseType: MessageType | None = None,  # noqa: N803
        responseRooms: str | Iterable[str] | None = None,  # noqa: N803
        responseComponent: str | None = None,  # noqa: N803
        trigger: Trigger | None = None,
    ) -> None:
        """Call `handler` for the messages of `trigger`, and join its rooms.

        What the handler returns is sent with `responseType` to `responseRooms` and `responseComponent`,
        or where it says itself (TO_ROOM, TO). Handlers run in the order in which they were added.

        Raises:
            MessageError: there is no trigger, or the handler takes an object that this client was not given.
        """
        if trigger is None:
            raise MessageError(f"the handler {_name_of(handler)} needs a trigger")
        rooms = () if responseRooms is None else _names(responseRooms)
        event_handler = EventHandler(handler, responseType, rooms, responseComponent, trigger, self._objects)
        for room in trigger.rooms or ():
            self.join_room(room)
        self._handlers.append(event_handler)
        self._triggered.clear()

    def listen(self) -> None:
        """Have the handlers called for every message, one after the other, until this component is asked to stop."""
        PROCESS.report_ready()
        while self._postponed:
            self._handle(self._postponed.popleft())
        self._endpoint.listen(lambda message: self._handle(self._counted(message)))

    def _handle(self, message: Message) -> None:
        for event_handler in self._triggered_by(message):
            for answer in event_handler.answers(message):
                if self._has_a_receiver(answer, message):
                    self.send(answer)
        while self._postponed:
            self._handle(self._postponed.popleft())

    def _triggered_by(self, message: Message) -> list[EventHandler]:
        """Return the handlers of a message; found once for each type and room."""
        key = message["TYPE"], message.get("TO_ROOM")
        found = self._triggered.get(key)
        if found is None:
            if len(self._triggered) >= MOST_REMEMBERED:
                self._triggered.clear()
            found = [handler for handler in self._handlers if handler.trigger.is_triggered(message)]
            self._triggered[key] = found
        return found

    def _has_a_receiver(self, answer: Message, message: Message) -> bool:
        """Tell whether an answer can be sent; not to an asker who gave a wrong name, whose fault it is."""
        asker = message.get("SENT_BY")
        if asker is None or answer.get("TO") != asker or self.rooms().knows(asker):
            return True
        self.log_rejected("left an answer out", f"nobody is called {asker[:40]!r}")
        return False

    def _counted(self, message: Message) -> Message:
        """Return a message that has arrived, once it is counted."""
        way = message.get("TO_ROOM", DIRECTLY), message.get("SENT_BY", "")
        if len(self._taken) < MOST_REMEMBERED or way in self._taken:
            self._taken[way] += 1
        return message

    def taken(self) -> list[tuple[str, str, int]]:
        """Return how many messages were taken since this was asked last: rooms, senders and numbers."""
        taken, self._taken = self._taken, Counter()
        return [(room, sender, number) for (room, sender), number in taken.items()]

    def log_rejected(self, kind: str, what: str) -> None:
        """Put a line into the log about a message that cannot be used, of each kind at most one a second."""
        self._endpoint.rejections.log(kind, what)

    # --- leaving

    def close(self) -> None:
        """Tell the others, and leave the swarm; a second call does nothing."""
        if self._endpoint.closed:
            return
        with contextlib.suppress(LinkClosed):  # where the swarm has stopped nobody is left to be told
            self._command(MESSAGE_TYPE.COMMAND.DISCONNECT, COMPONENTS=list(self._me().components))
        self._endpoint.close()
        PROCESS.unregister_closer(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _names(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _name_of(handler: Handler) -> str:
    return f"{getattr(handler, '__qualname__', handler)}()"


def _objects_for(handler: Handler, objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `objects` that the parameters of `handler`, after the message, name."""
    parameters = list(inspect.signature(handler).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for parameter in named:
        if parameter.name not in objects and parameter.default is parameter.empty:
            raise MessageError(
                f"the handler {_name_of(handler)} takes {parameter.name!r}, which its Client was not given: "
                f"Client(…, {parameter.name}=…)"
            )
    return {p.name: objects[p.name] for p in named if p.name in objects}
