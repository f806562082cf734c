"""Room `_command`: what every component can be asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from swarmsim.components.fields import (
    Declared,
    Fields,
    integer,
    invalid_field,
    number_by_name,
    text,
)
from swarmsim.components.results import ComponentSnapshot
from swarmsim.messaging.message import Message

PING, SNAPSHOT, STATE = "PING", "LOOK", "SAVESTATE"  # what every component can be asked for, as CMD


@dataclass(slots=True)
class Pong(Declared):
    """A component is alive; unasked, in room `control`: its work takes long, and goes on."""

    KIND = "STATUS", "PONG"


@dataclass(slots=True)
class Snapshot:
    """What a component did since the last snapshot, and all that it is where its state was asked for."""

    snapshot: ComponentSnapshot
    state: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, message: Message) -> Self | None:
        if "TAKEN" not in message:
            return None
        received = message["TAKEN"]
        if not isinstance(received, list | tuple) or not all(map(_is_count, received)):
            raise invalid_field(message, "TAKEN", "a list of rooms, senders and numbers")
        snapshot = ComponentSnapshot(
            text(message, "SENT_BY"),
            [(room, sender, number) for room, sender, number in received],
            number_by_name(message, "SHARES") if "SHARES" in message else None,
            number_by_name(message, "LEARNING") if "LEARNING" in message else None,
            integer(message, "LEARNING_NUMBER", default=0),
        )
        return cls(snapshot, message.get("STATE"))

    def fields(self) -> Fields:
        shown: Fields = {} if self.state is None else {"STATE": self.state}
        shown["TAKEN"] = self.snapshot.received
        if self.snapshot.contribution is not None:
            shown["SHARES"] = self.snapshot.contribution
        if self.snapshot.learning is not None:
            shown |= {"LEARNING": self.snapshot.learning, "LEARNING_NUMBER": self.snapshot.n_learning}
        return shown


def _is_count(item: object) -> bool:
    return isinstance(item, list | tuple) and [type(part) for part in item] == [str, str, int]
