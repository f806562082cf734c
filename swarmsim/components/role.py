"""A role: what a component is made of, the rooms that it listens in, and where its answers go."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from swarmsim.messaging.client import Client, Trigger
from swarmsim.messaging.endpoint import Address
from swarmsim.messaging.message import MESSAGE_TYPE, Message, MessageType


@dataclass(frozen=True)
class On:
    """Messages of one type in one room, the method that handles them, and the room its answers go to.

    Attributes:
        direct: whether the method also handles messages of this type to its component alone.
    """

    room: str
    handler: Callable[[Any, Message], Message | None]
    answer_in: str | None = None
    type: MessageType = MESSAGE_TYPE.DATA.CUSTOM
    answer_type: MessageType = MESSAGE_TYPE.DATA.CUSTOM
    direct: bool = False


@dataclass(frozen=True)
class Role:
    """One component of the main job; `component(client, **settings)` makes it, in its own process."""

    name: str
    component: Callable[..., object]
    listens: tuple[On, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    announce: Mapping[str, Any] = field(default_factory=dict)

    def run(self, address: Address) -> None:
        """Join the swarm at `address` and serve until asked to stop."""
        client = Client(self.name, *address, announce=self.announce)
        component = self.component(client, **self.settings)
        for on in self.listens:
            trigger = Trigger(on.type, on.room, on.direct)
            client.add_eventHandler(partial(on.handler, component), on.answer_type, on.answer_in, trigger=trigger)
        client.listen()
