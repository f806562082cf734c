"""Who is in which room, and who gets a message: pure functions on an immutable table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from swarmsim.errors import MessageError, unknown
from swarmsim.messaging.message import MESSAGE_TYPE

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
        departed: names of those who have gone, so that a late answer to them is no error.
        logging: whether DATA/FORWARD and DATA/GRADIENT messages are mirrored to `_logging`.
    """

    members: Mapping[str, Member] = field(default_factory=dict)
    rooms: tuple[str, ...] = RESERVED_ROOMS
    departed: frozenset[str] = frozenset()
    logging: bool = True

    def in_room(self, room: str) -> Iterator[Member]:
        return (member for member in self.members.values() if room in member.rooms)


def apply_command(table: Rooms, command: Mapping[str, Any], member_id: str) -> Rooms:
    """Return the table after `member_id` has sent `command`; other messages leave it as it is.

    Raises:
        MessageError: REGISTER twice, or any other command before REGISTER.
    """
    kind = command["TYPE"]
    if kind not in CHANGES_ROOMS:
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
        return replace(table, members=members, departed=table.departed | {member.name, *member.components})
    room = _room_name(command["ROOM"])
    if kind == _COMMAND.JOINROOM.id:
        member = replace(member, rooms=member.rooms | {room})
        rooms = table.rooms if room in table.rooms else (*table.rooms, room)
    else:
        member, rooms = replace(member, rooms=member.rooms - {room}), table.rooms
    return replace(table, members={**table.members, member_id: member}, rooms=rooms)


def _registered(table: Rooms, command: Mapping[str, Any], member_id: str) -> Rooms:
    if member_id in table.members:
        raise MessageError(f"{table.members[member_id].name!r} is already registered")
    name = command["NAME"]
    if not isinstance(name, str) or not name:
        raise MessageError(f"NAME is the component's name, not {name!r}")
    components = command.get("COMPONENTS", [name])
    if not isinstance(components, list | tuple) or not all(isinstance(item, str) for item in components):
        raise MessageError(f"COMPONENTS is a list of component names, not {components!r}")
    protocol_keys = {"TYPE", "ID", "ROOT_ID", "TO_ROOM", "SENT_BY", "NAME", "COMPONENTS"}
    announced = {key: value for key, value in command.items() if key not in protocol_keys}
    member = Member(member_id, name, tuple(components), announced=announced)
    return replace(table, members={**table.members, member_id: member})


def _room_name(room: object) -> str:
    if not isinstance(room, str) or not room:
        raise MessageError(f"ROOM is a room's name, not {room!r}")
    return room


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
            raise MessageError(unknown("room", room, table.rooms))
        hearers = sorted(table.in_room(room), key=lambda member: member.answers_for_somebody)
        found.update((member.id, None) for member in hearers if member.id != sender_id)
    name = message.get("TO")
    if name is not None:
        addressed = [m.id for m in table.members.values() if name == m.name or name in m.components]
        if not addressed and name not in table.departed:
            raise MessageError(unknown("component", name, _component_names(table)))
        found.update((member_id, None) for member_id in addressed)
    return tuple(found)


def _component_names(table: Rooms) -> set[str]:
    return {name for member in table.members.values() for name in (member.name, *member.components)}


def to_plain(table: Rooms) -> dict[str, Any]:
    """Return the table as JSON values; `from_plain` is its inverse."""
    return {
        "members": [
            [m.id, m.name, list(m.components), sorted(m.rooms), dict(m.announced)] for m in table.members.values()
        ],
        "rooms": list(table.rooms),
        "departed": sorted(table.departed),
        "logging": table.logging,
    }


def from_plain(plain: Mapping[str, Any]) -> Rooms:
    """Return the table that `to_plain` wrote."""
    members = (
        Member(member_id, name, tuple(components), frozenset(rooms), announced)
        for member_id, name, components, rooms, announced in plain["members"]
    )
    return Rooms(
        members={member.id: member for member in members},
        rooms=tuple(plain["rooms"]),
        departed=frozenset(plain["departed"]),
        logging=plain["logging"],
    )
