"""Membership at a plain server, such as the reference's: a client infers it from the commands that it receives there.

A plain server identifies senders by name only, although names may be shared. It does not report members that registered
earlier, nor members that disconnect.
"""

from swarmsim.errors import MessageError
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.messaging.rooms import CHANGES_ROOMS, Rooms, apply_command

_COMMAND = MESSAGE_TYPE.COMMAND


def rooms_after(rooms: Rooms, message: Message) -> Rooms:
    """Return the rooms after a received message; unchanged if it is not a command or an invalid one."""
    if message.get("TYPE") not in CHANGES_ROOMS:
        return rooms
    is_register = message["TYPE"] == _COMMAND.REGISTER.id
    name = message.get("NAME" if is_register else "SENT_BY")
    if not isinstance(name, str):
        return rooms
    ids = [member.id for member in rooms.members.values() if member.name == name]
    new_id = f"{name}.{len(ids)}"
    try:
        if is_register:
            return apply_command(rooms, message, new_id)
        if not ids:  # it registered before this client did
            ids, rooms = [new_id], apply_command(rooms, {"TYPE": _COMMAND.REGISTER.id, "NAME": name}, new_id)
        return apply_command(rooms, message, _sender_id(rooms, message, ids))
    except MessageError:
        return rooms


def complete_logging_copy(message: Message) -> None:
    """Add to a copy in the room `_logging` the sender and the room of its original, which a plain server omits."""
    original = message.get("MESSAGE")
    if message.get("TYPE") == MESSAGE_TYPE.LOG.MESSAGE.id and isinstance(original, dict):
        message.setdefault("SENDER", original.get("SENT_BY"))
        message.setdefault("ROOM", original.get("TO_ROOM"))


def _sender_id(rooms: Rooms, message: Message, ids: list[str]) -> str:
    """Return the first member of a shared name for which the command changes something, else the first one."""
    room, joins = message.get("ROOM"), message["TYPE"] == _COMMAND.JOINROOM.id
    return next((key for key in ids if (room in rooms.members[key].rooms) != joins), ids[0])
