"""Membership: the components that are present, and their kinds, by the rooms that they have joined.

Components of this package join the rooms they listen in. Those of the reference system also join the rooms they answer
in, so one room alone does not show who listens there.
"""

from dataclasses import dataclass

from swarmsim.errors import WaitTimeout
from swarmsim.messaging.client import Client
from swarmsim.messaging.rooms import Member, Rooms

SET = "SET"  # the command that models of this package acknowledge


@dataclass(frozen=True)
class MemberKind:
    """The components of one kind."""

    room: str  # where all of them listen
    but_not_in: str  # a room whose members only answer in `room`

    def members(self, rooms: Rooms) -> list[Member]:
        """Return the members of this kind, in the order in which they registered, without mere observers."""
        members = (member for member in rooms.in_room(self.room) if member.has_components)
        return [member for member in members if self.but_not_in not in member.rooms]

    def components(self, rooms: Rooms) -> list[str]:
        """Return the components of this kind; several may share a name."""
        return [component for member in self.members(rooms) for component in member.components]

    def has(self, rooms: Rooms, name: object) -> bool:
        return any(name == member.name for member in self.members(rooms))

    def all_acknowledge(self, rooms: Rooms, command: str) -> bool:
        """Return whether all members of this kind have announced that they acknowledge `command`."""
        return all(acknowledges(member, command) for member in self.members(rooms))

    def wait(self, client: Client, number: int, timeout: float) -> None:
        """Wait until at least `number` components of this kind are present.

        Raises:
            WaitTimeout: some are still missing after `timeout` seconds.
        """
        try:
            client.await_components(self.room, number, timeout, but_not_in=self.but_not_in)
        except WaitTimeout as error:
            raise WaitTimeout(f"{error}; the setting timeout bounds this") from None


def acknowledges(member: Member, command: str) -> bool:
    """Return whether a member has announced that it acknowledges `command`; the reference system's announce nothing."""
    announced = member.announced.get("ACKNOWLEDGES")
    return isinstance(announced, list | tuple) and command in announced
