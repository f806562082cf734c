"""Who is where at a server that does not tell: what a client gathers from the commands that it hears there.

Such a server names senders, whose names may be shared, and says nothing of those who came before, nor of those who
have gone.
"""

from typing import Any

from swarmsim.errors import MessageError
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.messaging.rooms import CHANGES_ROOMS, Rooms, apply_command

_COMMAND = MESSAGE_TYPE.COMMAND


def heard(table: Rooms, message: Message) -> Rooms:
    """Return the table after a message that was heard; a command that makes no sense leaves it as it is."""
    if message.get("TYPE") not in CHANGES_ROOMS:
        return table
    name = message.get("NAME") if message["TYPE"] == _COMMAND.REGISTER.id else message.get("SENT_BY")
    if not isinstance(name, str):
        return table
    ids = [member.id for member in table.members.values() if member.name == name]
    newcomer = f"{name}.{len(ids)}"
    try:
        if message["TYPE"] == _COMMAND.REGISTER.id:
            return apply_command(table, message, newcomer)
        if not ids:
            ids, table = [newcomer], apply_command(table, _register(name), newcomer)
        return apply_command(table, message, _meant(table, message, ids))
    except MessageError:
        return table


def complete_mirror(message: Message) -> None:
    """Fill in what such a server leaves out of a message's mirror: who sent it, and to which room."""
    mirrored = message.get("MESSAGE")
    if message.get("TYPE") == MESSAGE_TYPE.LOG.MESSAGE.id and isinstance(mirrored, dict):
        message.setdefault("SENDER", mirrored.get("SENT_BY"))
        message.setdefault("ROOM", mirrored.get("TO_ROOM"))


def _register(name: str) -> dict[str, Any]:
    return {"TYPE": _COMMAND.REGISTER.id, "NAME": name}


def _meant(table: Rooms, message: Message, ids: list[str]) -> str:
    """Return which of those who share a name a command changes something for: the first, if for none."""
    room, joins = message.get("ROOM"), message["TYPE"] == _COMMAND.JOINROOM.id
    changed = [key for key in ids if (room in table.members[key].rooms) != joins]
    return changed[0] if changed else ids[0]
