"""Message types, their fields, and the validation of messages."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarmsim.errors import MessageError, unknown

Message = dict[str, Any]

NAME_LENGTH = 1000  # characters


@dataclass(frozen=True)
class MessageType:
    """A message type: its id `KIND/NAME`, its required fields and its optional fields."""

    id: str
    required_fields: tuple[str, ...] = ()
    optional_fields: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.id.partition("/")[2]

    def missing_fields(self, message: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(field for field in self.required_fields if field not in message)

    def check_fields(self, message: Mapping[str, Any]) -> bool:
        """Return whether `message` has all required fields of this type."""
        return not self.missing_fields(message)


class DATA:
    """The data that components exchange: FORWARD, GRADIENT, REWARD, TEXT, CUSTOM."""

    FORWARD = MessageType("DATA/FORWARD", ("DATA",), ("ROOM",))
    GRADIENT = MessageType("DATA/GRADIENT", ("DATA",), ("ROOM",))
    REWARD = MessageType("DATA/REWARD", ("DATA",), ("ROOM",))
    TEXT = MessageType("DATA/TEXT", ("DATA",), ("ROOM",))
    CUSTOM = MessageType("DATA/CUSTOM")


class COMMAND:
    """Changes of membership, and requests to save or load weights and settings."""

    REGISTER = MessageType("COMMAND/REGISTER", ("NAME",))
    DISCONNECT = MessageType("COMMAND/DISCONNECT")
    JOINROOM = MessageType("COMMAND/JOINROOM", ("ROOM",))
    LEAVEROOM = MessageType("COMMAND/LEAVEROOM", ("ROOM",))
    ENABLELOGGING = MessageType("COMMAND/ENABLELOGGING", (), ("COMPONENT",))
    DISABLELOGGING = MessageType("COMMAND/DISABLELOGGING", (), ("COMPONENT",))
    SAVEMODELWEIGHTS = MessageType("COMMAND/SAVEMODELWEIGHTS", (), ("WEIGHTS", "COMPONENT"))
    LOADMODELWEIGHTS = MessageType("COMMAND/LOADMODELWEIGHTS", (), ("WEIGHTS", "COMPONENT"))
    SAVESETTINGS = MessageType("COMMAND/SAVESETTINGS", ("SETTINGS",), ("COMPONENT",))
    LOADSETTINGS = MessageType("COMMAND/LOADSETTINGS", ("SETTINGS",), ("COMPONENT",))
    CUSTOM = MessageType("COMMAND/CUSTOM")


class LOG:
    """What components report about themselves."""

    MODELWEIGHTS = MessageType("LOG/MODELWEIGHTS", ("WEIGHTS", "COMPONENT"), ("DM",))
    SETTINGS = MessageType("LOG/SETTINGS", ("SETTINGS", "COMPONENT"), ("DM",))
    MESSAGE = MessageType("LOG/MESSAGES", ("MESSAGE", "SENDER", "ROOM"))
    KPI = MessageType("LOG/KPI", ("KPI", "COMPONENT", "TIME", "VALUE"))
    RUN = MessageType("LOG/RUN", ("RUN",), ("TYPE", "STARTTIME", "ENDTIME"))
    CUSTOM = MessageType("LOG/CUSTOM")


class MESSAGE_TYPE:  # noqa: N801  (the protocol's own spelling, which users' scripts import)
    """All message types by kind and name: `MESSAGE_TYPE.DATA.CUSTOM.id == 'DATA/CUSTOM'`.

    docs/protocol.md lists them all, with the required fields of each.
    """

    DATA = DATA
    COMMAND = COMMAND
    LOG = LOG

    @staticmethod
    def by_id(type_id: object) -> MessageType | None:
        """Return the message type with this id, or None."""
        return _TYPES.get(type_id) if isinstance(type_id, str) else None


@dataclass(frozen=True)
class ModelStatus:
    """Whether the models learn from the content of a message."""

    id: int
    name: str


class MODEL_STATUS:  # noqa: N801  (the protocol's own spelling, which users' scripts import)
    """The two modes of a model: it learns in `TRAIN` (id 1), and does not learn in `VALIDATE` (id 2).

    A request names the mode in the key MODEL_STATUS, and the reply repeats it.
    """

    TRAIN = ModelStatus(1, "TRAIN")
    VALIDATE = ModelStatus(2, "VALIDATE")

    @staticmethod
    def by_id(status_id: object) -> ModelStatus | None:
        """Return the model status with this id, or None."""
        return next((s for s in (MODEL_STATUS.TRAIN, MODEL_STATUS.VALIDATE) if s.id == status_id), None)


def _message_types() -> Iterator[MessageType]:
    for kind in (DATA, COMMAND, LOG):
        yield from (value for value in vars(kind).values() if isinstance(value, MessageType))


_TYPES = {message_type.id: message_type for message_type in _message_types()}

_INTEGER = (int, np.integer)
_COMMON_KEYS: tuple[tuple[str, Any, str], ...] = (
    ("TO_ROOM", str, "a name"),
    ("TO", str, "a name"),
    ("SENT_BY", str, "a name"),
    ("ID", (str, *_INTEGER), "a string or an integer"),
    ("ROOT_ID", (str, *_INTEGER), "a string or an integer"),
    ("MODEL_STATUS", _INTEGER, "an integer"),
)


def root_id(message: Mapping[str, Any]) -> Any:
    """Return the id of the message that began the conversation: ROOT_ID, or the message's own ID if it began it."""
    return message.get("ROOT_ID", message.get("ID"))


def validate(message: object) -> MessageType:
    """Return the type of a valid message.

    Raises:
        MessageError: the message is not a dict, its TYPE is missing or unknown, a required field is missing,
            TO_ROOM and TO are both missing, or a key that all messages share has a value of the wrong type.
    """
    if not isinstance(message, dict):
        raise MessageError(f"a message must be a dict, not {type(message).__name__}")
    type_id = message.get("TYPE")
    message_type = _TYPES.get(type_id) if isinstance(type_id, str) else None  # inline: every message passes here
    if message_type is None:
        raise _type_error(message)
    for field in message_type.required_fields:
        if field not in message:
            raise MessageError(f"a {message_type.id} message needs the field {field}")
    if "TO_ROOM" not in message and "TO" not in message:
        raise MessageError(f"a {message_type.id} message needs TO_ROOM (a room) or TO (a component)")
    for key, kinds, meaning in _COMMON_KEYS:
        if key in message and not isinstance(message[key], kinds):
            raise MessageError(f"{key} must be {meaning}, not {type(message[key]).__name__}")
    return message_type


def _type_error(message: Message) -> MessageError:
    if "TYPE" not in message:
        return MessageError("a message needs a TYPE, for example MESSAGE_TYPE.DATA.CUSTOM.id")
    type_id = message["TYPE"]
    if not isinstance(type_id, str):
        return MessageError(f"TYPE must be a string, not {type(type_id).__name__}")
    return MessageError(unknown("message TYPE", type_id[:NAME_LENGTH], _TYPES))
