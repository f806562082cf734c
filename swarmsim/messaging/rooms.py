"""Who is in which room, and who gets a message: pure functions on an immutable table."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from swarmsim.errors import MessageError, unknown
from swarmsim.messaging.message import MESSAGE_TYPE, NAME_LENGTH

MOST_MEMBERS = MOST_ROOMS = 10_000
MOST_COMPONENTS = 100_000  # of one member
MOST_DEPARTED = 100_000
ANNOUNCED_LENGTH = 1_000_000  # of characters, as JSON

COMMAND_ROOM = "_command"
LOGGING_ROOM = "_logging"
RESERVED_ROOMS = (COMMAND_ROOM, LOGGING_ROOM)

_COMMAND = MESSAGE_TYPE.COMMAND
CHANGES_ROOMS = frozenset(
    command.id
    for command in (
        _COMMAND.REGISTER,
        _COMMAND.DISCONNECT,
        _COMMAND.JOINROOM,
        _COMMAND.LEAVEROOM,
        _COMMAND.ENABLELOGGING,
        _COMMAND.DISABLELOGGING,
    )
)
MIRRORED = frozenset((MESSAGE_TYPE.DATA.FORWARD.id, MESSAGE_TYPE.DATA.GRADIENT.id))


@dataclass(frozen=True)
class Member:
    """A registered client.

    Attributes:
        id: unique in its swarm, given by the link.
        name: what it called itself; names may be shared.
        components: the components that it answers for, itself alone unless it announced others, or none.
        rooms: the rooms that it has joined.
        announced: what else its REGISTER message carried.
    """

    id: str
    name: str
    components: tuple[str, ...]
    rooms: frozenset[str] = frozenset((COMMAND_ROOM,))
    announced: Mapping[str, Any] = field(default_factory=dict)

    def farewell(self) -> dict[str, Any]:
        """Return what its DISCONNECT message tells of it."""
        return {"SENT_BY": self.name, "COMPONENTS": list(self.components)}

    @property
    def answers_for_somebody(self) -> bool:
        """Whether it is more than an observer, for whom nobody waits."""
        return bool(self.components)


@dataclass(frozen=True)
class Rooms:
    """The membership of one swarm.

    Attributes:
        members: by member id, in the order of their registration.
        rooms: every room that was ever joined, in that order; an empty room stays known.
        departed: names of those who have gone last, so that a late answer to them is no error.
        logging: whether DATA/FORWARD and DATA/GRADIENT messages are mirrored to `_logging`.
    """

    members: Mapping[str, Member] = field(default_factory=dict)
    rooms: tuple[str, ...] = RESERVED_ROOMS
    departed: tuple[str, ...] = ()
    logging: bool = True

    def knows(self, name: str) -> bool:
        """Tell whether a component of that name is here, or was."""
        return name in self.departed or any(name == m.name or name in m.components for m in self.members.values())

    def in_room(self, room: str) -> Iterator[Member]:
        return (member for member in self.members.values() if room in member.rooms)


def apply_command(table: Rooms, command: Mapping[str, Any], member_id: str) -> Rooms:
    """Return the table after `member_id` has sent `command`; other messages leave it as it is.

    Raises:
        MessageError: REGISTER twice, any other command before REGISTER, a name or something announced that
            is none, or more members or rooms than a swarm can have.
    """
    kind = command.get("TYPE")
    if not isinstance(kind, str) or kind not in CHANGES_ROOMS:
        return table
    if kind == _COMMAND.REGISTER.id:
        return _registered(table, command, member_id)
    if kind in (_COMMAND.ENABLELOGGING.id, _COMMAND.DISABLELOGGING.id):
        return replace(table, logging=kind == _COMMAND.ENABLELOGGING.id)
    if member_id not in table.members:
        if kind == _COMMAND.DISCONNECT.id:
            return table
        raise MessageError(f"{kind} before {_COMMAND.REGISTER.id}: register first")
    member = table.members[member_id]
    if kind == _COMMAND.DISCONNECT.id:
        members = {key: value for key, value in table.members.items() if key != member_id}
        departed = tuple(dict.fromkeys((*table.departed, member.name, *member.components)))
        return replace(table, members=members, departed=departed[-MOST_DEPARTED:])
    room = _name("ROOM is a room's name", command.get("ROOM"))
    if kind == _COMMAND.JOINROOM.id:
        member = replace(member, rooms=member.rooms | {room})
        rooms = table.rooms if room in table.rooms else (*table.rooms, room)
        _check_number("rooms in a swarm", len(rooms), MOST_ROOMS)
    else:
        member, rooms = replace(member, rooms=member.rooms - {room}), table.rooms
    return replace(table, members={**table.members, member_id: member}, rooms=rooms)


def _registered(table: Rooms, command: Mapping[str, Any], member_id: str) -> Rooms:
    if member_id in table.members:
        raise MessageError(f"{table.members[member_id].name!r} is already registered")
    _check_number("members in a swarm", len(table.members) + 1, MOST_MEMBERS)
    name = _name("NAME is the component's name", command.get("NAME"))
    components = command.get("COMPONENTS", [name])
    if not isinstance(components, list | tuple):
        raise MessageError(f"COMPONENTS is a list of component names, not {type(components).__name__}")
    _check_number("components of one member", len(components), MOST_COMPONENTS)
    names = tuple(_name("each of COMPONENTS is a component's name", item) for item in components)
    member = Member(member_id, name, names, announced=_announced(command))
    return replace(table, members={**table.members, member_id: member})


def _announced(command: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a REGISTER message carries beyond the protocol, which the rooms' file has to hold."""
    protocol_keys = {"TYPE", "ID", "ROOT_ID", "TO_ROOM", "SENT_BY", "NAME", "COMPONENTS", "MEMBER"}
    announced = {key: value for key, value in command.items() if key not in protocol_keys}
    try:
        length = len(json.dumps(announced))
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"what {_COMMAND.REGISTER.id} announces has to be JSON values: {error}") from None
    _check_number("characters of JSON announced", length, ANNOUNCED_LENGTH)
    return announced


def _name(meaning: str, name: object) -> str:
    if isinstance(name, str) and 0 < len(name) <= NAME_LENGTH:
        return name
    what = f"{len(name):,} of them" if isinstance(name, str) else type(name).__name__
    raise MessageError(f"{meaning}, a text of 1 to {NAME_LENGTH:,} characters, not {what}")


def _check_number(kind: str, number: int, most: int) -> None:
    if number > most:
        raise MessageError(f"there can be {most:,} {kind} at most, not {number:,}")


def receivers(table: Rooms, message: Mapping[str, Any], sender_id: str) -> tuple[str, ...]:
    """Return the member ids that get `message`, each once.

    A room's message goes to every member of it but the sender, to mere observers first, so that they
    hear it before anything that it causes; a direct message goes to every member of that name, and
    to the member that answers for a component of that name.

    Raises:
        MessageError: the room or the component was never there.
    """
    found: dict[str, None] = {}
    room = message.get("TO_ROOM")
    if room is not None:
        if room not in table.rooms:
            raise MessageError(unknown("room", room[:NAME_LENGTH], table.rooms))
        hearers = sorted(table.in_room(room), key=lambda member: member.answers_for_somebody)
        found.update((member.id, None) for member in hearers if member.id != sender_id)
    name = message.get("TO")
    if name is not None:
        addressed = [m.id for m in table.members.values() if name == m.name or name in m.components]
        if not addressed and name not in table.departed:
            raise MessageError(unknown("component", name[:NAME_LENGTH], _component_names(table)))
        found.update((member_id, None) for member_id in addressed)
    return tuple(found)


def logged(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mirror of a message in the room `_logging`, for types that are MIRRORED while logging is enabled."""
    return {
        "TYPE": MESSAGE_TYPE.LOG.MESSAGE.id,
        "ID": f"{message.get('ID')}.log",
        "TO_ROOM": LOGGING_ROOM,
        "MESSAGE": message,
        "SENDER": message.get("SENT_BY"),
        "ROOM": message.get("TO_ROOM"),
    }


def _component_names(table: Rooms) -> set[str]:
    return {name for member in table.members.values() for name in (member.name, *member.components)}


def encode_rooms(table: Rooms) -> dict[str, Any]:
    """Return the table as JSON values; `decode_rooms` is its inverse."""
    return {
        "members": [
            [m.id, m.name, list(m.components), sorted(m.rooms), dict(m.announced)] for m in table.members.values()
        ],
        "rooms": list(table.rooms),
        "departed": list(table.departed),
        "logging": table.logging,
    }


def decode_rooms(plain: Mapping[str, Any]) -> Rooms:
    """Return the table that `encode_rooms` wrote."""
    members = (
        Member(member_id, name, tuple(components), frozenset(rooms), announced)
        for member_id, name, components, rooms, announced in plain["members"]
    )
    return Rooms(
        members={member.id: member for member in members},
        rooms=tuple(plain["rooms"]),
        departed=tuple(plain["departed"]),
        logging=plain["logging"],
    )
