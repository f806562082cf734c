"""Membership and routing: which member is in which room, and who receives a message; pure functions."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from swarmsim.errors import MessageError, unknown
from swarmsim.messaging.message import MESSAGE_TYPE, NAME_LENGTH

MAX_MEMBERS = MAX_ROOMS = 10_000
MAX_COMPONENTS = 100_000  # per member
MAX_DEPARTED = 100_000
MAX_ANNOUNCED_LENGTH = 1_000_000  # characters of JSON

COMMAND_ROOM = "_command"
LOGGING_ROOM = "_logging"
RESERVED_ROOMS = (COMMAND_ROOM, LOGGING_ROOM)

_COMMAND = MESSAGE_TYPE.COMMAND
_OF_MEMBERSHIP = _COMMAND.REGISTER, _COMMAND.DISCONNECT, _COMMAND.JOINROOM, _COMMAND.LEAVEROOM
_OF_LOGGING = _COMMAND.ENABLELOGGING, _COMMAND.DISABLELOGGING
CHANGES_ROOMS = frozenset(command.id for command in (*_OF_MEMBERSHIP, *_OF_LOGGING))
MIRRORED_TYPES = frozenset((MESSAGE_TYPE.DATA.FORWARD.id, MESSAGE_TYPE.DATA.GRADIENT.id))


@dataclass(frozen=True)
class Member:
    """A registered client.

    Attributes:
        id: unique in the swarm; the link assigns it.
        name: the client's name; several members may have the same name.
        components: names of the components that it represents; by default its own name, and empty for an observer.
        rooms: the rooms that it has joined.
        announced: the further keys of its REGISTER message.
    """

    id: str
    name: str
    components: tuple[str, ...]
    rooms: frozenset[str] = frozenset((COMMAND_ROOM,))
    announced: Mapping[str, Any] = field(default_factory=dict)

    def disconnect_fields(self) -> dict[str, Any]:
        """Return the fields of this member's DISCONNECT message."""
        return {"SENT_BY": self.name, "COMPONENTS": list(self.components)}

    @property
    def has_components(self) -> bool:
        """Whether it represents components; an observer does not."""
        return bool(self.components)


@dataclass(frozen=True)
class Rooms:
    """The membership of one swarm.

    Attributes:
        members: by member id, in order of registration.
        rooms: every room that was ever joined, in order of first join; empty rooms remain.
        departed: names of the latest members that left, so that a late reply to them is no error.
        logging: whether DATA/FORWARD and DATA/GRADIENT messages are copied to the room `_logging`.
    """

    members: Mapping[str, Member] = field(default_factory=dict)
    rooms: tuple[str, ...] = RESERVED_ROOMS
    departed: tuple[str, ...] = ()
    logging: bool = True

    def knows(self, name: str) -> bool:
        """Return whether a component of that name is or was a member."""
        return name in self.departed or any(name == m.name or name in m.components for m in self.members.values())

    def in_room(self, room: str) -> Iterator[Member]:
        return (member for member in self.members.values() if room in member.rooms)


def apply_command(table: Rooms, command: Mapping[str, Any], member_id: str) -> Rooms:
    """Return the table after `command` from `member_id`; messages of other types do not change it.

    Raises:
        MessageError: the member is already registered or not yet registered, a name or an announced value is
            invalid, or a limit on members, rooms or components is exceeded.
    """
    kind = command.get("TYPE")
    if not isinstance(kind, str) or kind not in CHANGES_ROOMS:
        return table
    if kind == _COMMAND.REGISTER.id:
        return _register(table, command, member_id)
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
        return replace(table, members=members, departed=departed[-MAX_DEPARTED:])
    room = _valid_name("ROOM must be a room's name", command.get("ROOM"))
    if kind == _COMMAND.JOINROOM.id:
        member = replace(member, rooms=member.rooms | {room})
        rooms = table.rooms if room in table.rooms else (*table.rooms, room)
        _check_limit("rooms in a swarm", len(rooms), MAX_ROOMS)
    else:
        member, rooms = replace(member, rooms=member.rooms - {room}), table.rooms
    return replace(table, members={**table.members, member_id: member}, rooms=rooms)


def _register(table: Rooms, command: Mapping[str, Any], member_id: str) -> Rooms:
    if member_id in table.members:
        raise MessageError(f"{table.members[member_id].name!r} is already registered")
    _check_limit("members in a swarm", len(table.members) + 1, MAX_MEMBERS)
    name = _valid_name("NAME must be the component's name", command.get("NAME"))
    components = command.get("COMPONENTS", [name])
    if not isinstance(components, list | tuple):
        raise MessageError(f"COMPONENTS must be a list of component names, not {type(components).__name__}")
    _check_limit("components of one member", len(components), MAX_COMPONENTS)
    names = tuple(_valid_name("each of COMPONENTS must be a component's name", item) for item in components)
    member = Member(member_id, name, names, announced=_announced_fields(command))
    return replace(table, members={**table.members, member_id: member})


def _announced_fields(command: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a REGISTER message beyond the protocol; they must be JSON values, as `encode_rooms` needs."""
    protocol_keys = {"TYPE", "ID", "ROOT_ID", "TO_ROOM", "SENT_BY", "NAME", "COMPONENTS", "MEMBER"}
    announced = {key: value for key, value in command.items() if key not in protocol_keys}
    try:
        length = len(json.dumps(announced))
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"the fields of {_COMMAND.REGISTER.id} must be JSON values: {error}") from None
    _check_limit("characters of JSON announced", length, MAX_ANNOUNCED_LENGTH)
    return announced


def _valid_name(meaning: str, name: object) -> str:
    if isinstance(name, str) and 0 < len(name) <= NAME_LENGTH:
        return name
    got = f"{len(name):,} characters" if isinstance(name, str) else type(name).__name__
    raise MessageError(f"{meaning}, a string of 1 to {NAME_LENGTH:,} characters, not {got}")


def _check_limit(kind: str, number: int, limit: int) -> None:
    if number > limit:
        raise MessageError(f"there can be at most {limit:,} {kind}, not {number:,}")


def receivers(table: Rooms, message: Mapping[str, Any], sender_id: str) -> tuple[str, ...]:
    """Return the ids of the members that receive `message`, without duplicates.

    A message to a room goes to each of its members except the sender. Observers come first, so that they receive it
    before its consequences. The component that registered first comes last: it is control, which goes on once it has an
    answer, and everybody else then has it, too, even if the sender dies. A direct message goes to each member of that
    name, and to the member that represents a component of that name.

    Raises:
        MessageError: no such room or component ever existed.
    """
    ids: dict[str, None] = {}
    room = message.get("TO_ROOM")
    if room is not None:
        if room not in table.rooms:
            raise MessageError(unknown("room", room[:NAME_LENGTH], table.rooms))
        first = next((member for member in table.members.values() if member.has_components), None)
        listeners = sorted(table.in_room(room), key=lambda member: (member.has_components, member is first))
        ids.update((member.id, None) for member in listeners if member.id != sender_id)
    name = message.get("TO")
    if name is not None:
        addressed = [m.id for m in table.members.values() if name == m.name or name in m.components]
        if not addressed and name not in table.departed:
            raise MessageError(unknown("component", name[:NAME_LENGTH], _component_names(table)))
        ids.update((member_id, None) for member_id in addressed)
    return tuple(ids)


def logging_copy(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the copy of a message for the room `_logging`, sent for MIRRORED_TYPES while logging is enabled."""
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
    """Return the table that `encode_rooms` encoded."""
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
