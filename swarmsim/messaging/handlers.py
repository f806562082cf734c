"""Handlers: users' functions, `Trigger`, which selects the messages for one, and what becomes of its reply."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from swarmsim.errors import MessageError
from swarmsim.messaging.message import Message, MessageType, root_id

_OF_ONE_MESSAGE = frozenset(("ID", "SENT_BY", "TO_ROOM", "TO"))  # keys that no reply takes over from its request

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
        self.rooms = None if rooms is None else as_tuple(rooms)
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
        """Call the handler with a copy of `message`, and return its reply once for each address; none for None.

        The dict that the handler returns stays as it is: it may be one that it returns again, or the message itself.
        """
        response = self.handler(message.copy(), **self.objects)
        if response is None:
            return []
        if not isinstance(response, dict):
            raise MessageError(f"a handler returns a dict or None, not {type(response).__name__}")
        reply: Message = response.copy()
        for key, value in (("MODEL_STATUS", message.get("MODEL_STATUS")), ("ROOT_ID", root_id(message))):
            if reply.setdefault(key, value) is None:
                del reply[key]
        if self.response_type is not None:
            reply["TYPE"] = self.response_type.id
        addresses = self.response_addresses
        if not _OF_ONE_MESSAGE.isdisjoint(response):
            is_copy = any(key in response and response[key] == message.get(key) for key in ("ID", "SENT_BY"))
            addresses = addresses or ([_address_of_copy(reply, message)] if is_copy else [])
            for key in _OF_ONE_MESSAGE if addresses else ("ID", "SENT_BY"):
                reply.pop(key, None)
        return [{**reply, **address} for address in addresses] or [reply]


def _address_of_copy(reply: Message, message: Message) -> Message:
    """Return the address of a reply that is a copy of `message`: its own one, the room of `message`, or its sender."""
    own: Message = {key: reply[key] for key in ("TO_ROOM", "TO") if key in reply and reply[key] != message.get(key)}
    return own or ({"TO_ROOM": message["TO_ROOM"]} if "TO_ROOM" in message else {"TO": message.get("SENT_BY", "")})


def as_tuple(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def function_name(handler: Handler) -> str:
    return f"{getattr(handler, '__qualname__', handler)}()"


def select_objects(handler: Handler, objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objects named by the parameters of `handler` after the first, which is the message."""
    parameters = list(inspect.signature(handler).parameters.values())[1:]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for parameter in named:
        if parameter.name not in objects and parameter.default is parameter.empty:
            raise MessageError(
                f"the handler {function_name(handler)} takes {parameter.name!r}, which its Client was not given: "
                f"Client(…, {parameter.name}=…)"
            )
    return {p.name: objects[p.name] for p in named if p.name in objects}
