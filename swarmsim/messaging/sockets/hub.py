"""What a server makes of its members' messages: who is where by them, and who gets what. No socket, no process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swarmsim.errors import MessageError
from swarmsim.messaging.message import MESSAGE_TYPE, NAME_LENGTH, Message, validate
from swarmsim.messaging.rooms import (
    CHANGES_ROOMS,
    COMMAND_ROOM,
    MIRRORED,
    Member,
    Rooms,
    apply_command,
    encode_rooms,
    logged,
    receivers,
)
from swarmsim.messaging.sockets.handshake import EXTENDS, MEMBER, WELCOME, link_message
from swarmsim.messaging.sockets.wire import Wire

_COMMAND = MESSAGE_TYPE.COMMAND


@dataclass(frozen=True)
class Delivery:
    """Bodies, in their order, and the members that get them."""

    to: tuple[str, ...]
    bodies: list[bytes]


class Hub:
    """The rooms of one swarm, kept by its server.

    Attributes:
        rooms: who is where now.
    """

    def __init__(self, wire: Wire) -> None:
        self.rooms = Rooms()
        self._wire = wire
        self._routes: dict[tuple[str | None, str | None, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._routes_of = self.rooms

    def member_id(self, message: Message, given: str) -> str:
        """Return the id under which somebody registers: their own, if they know of such, else the one `given`.

        Raises:
            MessageError: the id is none, or another member's.
        """
        if EXTENDS not in message:
            return given
        own = message.get(MEMBER)
        if not isinstance(own, str) or not 0 < len(own) <= NAME_LENGTH or own in self.rooms.members:
            raise MessageError(f"{MEMBER} is an id that no other member has, not {str(own)[:40]!r}")
        return own

    def welcome(self, member_id: str, proof: str | None) -> Delivery:
        """Return what a member of this package is told once it has registered."""
        rooms = encode_rooms(self.rooms)
        proven = {} if proof is None else {"PROOF": proof}
        return Delivery((member_id,), [self._wire.body(link_message(WELCOME, ROOMS=rooms, **proven))])

    def take(self, sender: str, message: Message, body: bytes) -> list[Delivery]:
        """Apply a member's message, and return what is to be delivered.

        Args:
            body: that of the message, as it came.

        Raises:
            MessageError: it is no valid message, or cannot be delivered; nothing has changed.
        """
        kind = validate(message).id
        is_as_it_came = "SENT_BY" in message
        if kind == _COMMAND.JOINROOM.id and message["ROOM"] == COMMAND_ROOM and self._is_known(sender):
            return []  # where it is already, and needs to say so to other servers only
        if kind in CHANGES_ROOMS:
            rooms = apply_command(self.rooms, message, sender)
            message = {**message, MEMBER: sender}
            if kind == _COMMAND.DISCONNECT.id and sender in self.rooms.members:
                message = {**self.rooms.members[sender].farewell(), **message}
            is_as_it_came = False
        else:
            rooms = self.rooms
        if sender not in self.rooms.members and kind != _COMMAND.REGISTER.id:
            raise MessageError(f"{kind} before {_COMMAND.REGISTER.id}: register first")
        if "SENT_BY" not in message:
            message["SENT_BY"] = self._name(rooms, sender)
        extended, plain = self._route(rooms, message, sender)
        deliveries = self._deliveries(extended, plain, message, body if is_as_it_came else None)
        if kind in MIRRORED and rooms.logging:
            log = logged(message)
            deliveries += self._deliveries(*self._route(rooms, log, sender), log, None)
        self.rooms = rooms
        return deliveries

    def farewell(self, member_id: str) -> list[Delivery]:
        """Take out a member that has gone without a word, and return what the others are told."""
        member = self.rooms.members.get(member_id)
        if member is None:
            return []
        message = {"TYPE": _COMMAND.DISCONNECT.id, "ID": f"{member_id}.farewell", "TO_ROOM": COMMAND_ROOM}
        return self.take(member_id, {**message, **member.farewell()}, b"")

    def _is_known(self, member_id: str) -> bool:
        return member_id in self.rooms.members and not is_plain(self.rooms.members[member_id])

    def _name(self, rooms: Rooms, member_id: str) -> str:
        member = rooms.members.get(member_id) or self.rooms.members[member_id]
        return member.name

    def _route(self, rooms: Rooms, message: Mapping[str, Any], sender: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return who gets a message: programs of this package, and others; found once while nobody comes or goes."""
        if rooms is not self._routes_of:
            self._routes, self._routes_of = {}, rooms
        address = message.get("TO_ROOM"), message.get("TO"), sender
        found = self._routes.get(address)
        if found is None:
            to = receivers(rooms, message, sender)
            plain = tuple(key for key in to if is_plain(rooms.members[key]))
            found = self._routes[address] = tuple(key for key in to if key not in set(plain)), plain
        return found

    def _deliveries(
        self, extended: tuple[str, ...], plain: tuple[str, ...], message: Message, body: bytes | None
    ) -> list[Delivery]:
        deliveries = []
        if extended:
            deliveries.append(Delivery(extended, [self._wire.body(message) if body is None else body]))
        if plain:
            is_for_all = (
                body is not None and self._wire.is_plain(body) and isinstance(message.get("COMPONENT_ID"), str | None)
            )
            deliveries.append(Delivery(plain, [body] if is_for_all and body else self._wire.plain_bodies(message)))
        return deliveries


def is_plain(member: Member) -> bool:
    """Tell whether a member has announced nothing of what this package's programs say to each other."""
    return EXTENDS not in member.announced
