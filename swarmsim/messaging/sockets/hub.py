"""The server's rooms and routing: which messages go to which members. Without sockets and processes."""

from dataclasses import dataclass

from swarmsim.errors import MessageError
from swarmsim.messaging.message import MESSAGE_TYPE, NAME_LENGTH, Message, validate
from swarmsim.messaging.rooms import (
    CHANGES_ROOMS,
    COMMAND_ROOM,
    MIRRORED_TYPES,
    Member,
    Rooms,
    apply_command,
    encode_rooms,
    logging_copy,
    receivers,
)
from swarmsim.messaging.sockets.handshake import EXTENSION, MEMBER, SILENCE, WELCOME, link_message
from swarmsim.messaging.sockets.wire import Wire, is_plain_body

_COMMAND = MESSAGE_TYPE.COMMAND
_Ids = tuple[str, ...]


@dataclass(frozen=True)
class Delivery:
    """Bodies, in the order in which each of the receivers (member ids) gets them."""

    receivers: _Ids
    bodies: list[bytes]


class Hub:
    """The current members and rooms of one swarm, kept by its server."""

    def __init__(self, wire: Wire) -> None:
        self.rooms = Rooms()
        self._wire = wire
        self._routes: dict[tuple[str | None, str | None, str], tuple[_Ids, _Ids]] = {}
        self._routes_of = self.rooms

    def choose_member_id(self, register: Message, default: str) -> str:
        """Return the member id in a REGISTER message, `default` without one; raises MessageError if it is invalid."""
        if EXTENSION not in register:
            return default
        member_id = register.get(MEMBER)
        if not isinstance(member_id, str) or not 0 < len(member_id) <= NAME_LENGTH or member_id in self.rooms.members:
            raise MessageError(f"{MEMBER} must be an id that no other member has, not {str(member_id)[:40]!r}")
        return member_id

    def welcome(self, member_id: str, silence: float, hmac: str | None) -> Delivery:
        """Return the reply to REGISTER for a client of this package.

        It contains the rooms, the seconds of silence that end a connection, and the server's HMAC if it has one.
        """
        fields = {} if hmac is None else {"PROOF": hmac}
        message = link_message(WELCOME, ROOMS=encode_rooms(self.rooms), **{SILENCE: silence}, **fields)
        return Delivery((member_id,), [self._wire.encode(message)])

    def handle(self, sender: str, message: Message, body: bytes) -> list[Delivery]:
        """Apply a member's message to the rooms, and return its deliveries.

        Args:
            sender: the member's id.
            body: the body as received; it is forwarded unchanged where possible.

        Raises:
            MessageError: the message is invalid or cannot be delivered; the rooms are unchanged.
        """
        kind = validate(message).id
        is_unchanged = "SENT_BY" in message
        member = self.rooms.members.get(sender)
        joins_command_room = kind == _COMMAND.JOINROOM.id and message["ROOM"] == COMMAND_ROOM
        if joins_command_room and member is not None and not _is_plain(member):
            return []  # it is there already, and sends this for plain servers only
        if kind in CHANGES_ROOMS:
            rooms = apply_command(self.rooms, message, sender)
            message = {**message, MEMBER: sender}
            if kind == _COMMAND.DISCONNECT.id and member is not None:
                message = {**member.disconnect_fields(), **message}
            is_unchanged = False
        else:
            rooms = self.rooms
        if member is None and kind != _COMMAND.REGISTER.id:
            raise MessageError(f"{kind} before {_COMMAND.REGISTER.id}: register first")
        if "SENT_BY" not in message:
            message["SENT_BY"] = (member or rooms.members[sender]).name
        deliveries = self._deliveries(rooms, message, sender, body if is_unchanged else None)
        if kind in MIRRORED_TYPES and rooms.logging:
            deliveries += self._deliveries(rooms, logging_copy(message), sender, None)
        self.rooms = rooms
        return deliveries

    def disconnect(self, member_id: str) -> list[Delivery]:
        """Remove a member whose connection was lost, and return the DISCONNECT messages for the other members."""
        member = self.rooms.members.get(member_id)
        if member is None:
            return []
        message = {"TYPE": _COMMAND.DISCONNECT.id, "ID": f"{member_id}.disconnect", "TO_ROOM": COMMAND_ROOM}
        return self.handle(member_id, {**message, **member.disconnect_fields()}, b"")

    def _route(self, rooms: Rooms, message: Message, sender: str) -> tuple[_Ids, _Ids]:
        """Return the receivers that are clients of this package, and the plain ones; cached until the rooms change."""
        if rooms is not self._routes_of:
            self._routes, self._routes_of = {}, rooms
        address = message.get("TO_ROOM"), message.get("TO"), sender
        route = self._routes.get(address)
        if route is None:
            ids = receivers(rooms, message, sender)
            plain = tuple(key for key in ids if _is_plain(rooms.members[key]))
            route = self._routes[address] = tuple(key for key in ids if key not in set(plain)), plain
        return route

    def _deliveries(self, rooms: Rooms, message: Message, sender: str, body: bytes | None) -> list[Delivery]:
        """Return the deliveries of a message; `body` is its encoded form if there is one already."""
        extended, plain = self._route(rooms, message, sender)
        deliveries = []
        if extended:
            deliveries.append(Delivery(extended, [self._wire.encode(message) if body is None else body]))
        if plain:
            is_for_all = body and is_plain_body(body) and isinstance(message.get("COMPONENT_ID"), str | None)
            deliveries.append(Delivery(plain, [body] if body and is_for_all else self._wire.encode_plain(message)))
        return deliveries


def _is_plain(member: Member) -> bool:
    """Return whether a member has not announced this package's extensions."""
    return EXTENSION not in member.announced
