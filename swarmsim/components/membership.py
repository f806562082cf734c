"""Who is there: a component's kind is known by the rooms that it is in.

Components of this package join the rooms that they listen in. Those of the reference system join the rooms that they
answer in too, so a room alone does not tell who listens there.
"""

from dataclasses import dataclass

from swarmsim.messaging.client import Client
from swarmsim.messaging.rooms import Member, Rooms

SET = "SET"  # what a component of this package acknowledges


@dataclass(frozen=True)
class MemberKind:
    """The components of one kind.

    Attributes:
        room: where all of them listen.
        but_not_in: the room that tells others apart, who only answer in `room`.
    """

    room: str
    but_not_in: str

    def members(self, rooms: Rooms) -> list[Member]:
        """Return those of this kind, in the order in which they registered; mere observers are of none."""
        found = (member for member in rooms.in_room(self.room) if member.answers_for_somebody)
        return [member for member in found if self.but_not_in not in member.rooms]

    def components(self, rooms: Rooms) -> list[str]:
        """Return the components that they answer for; names may be shared."""
        return [component for member in self.members(rooms) for component in member.components]

    def has(self, rooms: Rooms, name: object) -> bool:
        """Tell whether somebody of that name is of this kind."""
        return any(name == member.name for member in self.members(rooms))

    def wait(self, client: Client, number: int, timeout: float) -> None:
        """Wait until at least `number` components of this kind are present.

        Raises:
            WaitTimeout: some are still missing after `timeout` seconds.
        """
        client.await_components(self.room, number, timeout, but_not_in=self.but_not_in)


def acknowledges(member: Member, command: str) -> bool:
    """Tell whether a member has announced that it confirms `command`; the reference system's announce nothing."""
    announced = member.announced.get("ACKNOWLEDGES")
    return isinstance(announced, list | tuple) and command in announced
