"""A role: what a component is made of, the rooms that it listens in, and where its answers go."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

from swarmsim.components.admin import AdminHandlers
from swarmsim.components.fields import text
from swarmsim.components.persistence import StateStore
from swarmsim.errors import MessageRefused
from swarmsim.messaging.client import Client, Trigger
from swarmsim.messaging.endpoint import Address
from swarmsim.messaging.links import private_directory
from swarmsim.messaging.message import MESSAGE_TYPE, Message, MessageType
from swarmsim.messaging.rooms import COMMAND_ROOM

State = Mapping[str, Any]
Handler = Callable[[Message], Message | None]


class Stateful(Protocol):
    """A component that another one can take the place of."""

    def state(self) -> State:
        """Return all that it is, between two messages: JSON values, and arrays of numbers."""

    def restore(self, state: State) -> None:
        """Go on where `state` was told."""


@runtime_checkable
class Shown(Protocol):
    """What has more to show to who watches the swarm."""

    def shown(self) -> Message:
        """Return it, as fields of a message: what it stands at now, or what came of it since this was asked last."""


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
    """One component of the main job; `component(client, store, **settings)` makes it, in its own process.

    Attributes:
        component: makes a `Stateful`, if it is to be looked after; may be any of what `AdminHandlers` asks for.
        listens: first in the room by which others know that it is there.
        state: where it goes on, unless a process before it has kept something later.
    """

    name: str
    component: Callable[..., Any]
    listens: tuple[On, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    announce: Mapping[str, Any] = field(default_factory=dict)
    state: State | None = None

    def run(self, address: Address, secret: str | None = None) -> None:
        """Join the swarm at `address`, whose server may share a secret, and serve until asked to stop."""
        client = Client(self.name, *address, announce=self.announce, secret=secret)
        store = self._state_store(address)
        goes_on_from = None if store.has_saved_state else self.state
        component = self.component(client, store, **self.settings)
        if goes_on_from is not None:
            component.restore(goes_on_from)
        for on in reversed(self.listens):  # so that whoever is in the room by which it is known is in all
            client.join_room(on.room)
        for on in self.listens:
            trigger = Trigger(on.type, on.room, on.direct)
            handler = _refusing(client, partial(on.handler, component))
            client.add_eventHandler(handler, on.answer_type, on.answer_in, trigger=trigger)
        to_all = Trigger(MESSAGE_TYPE.COMMAND.CUSTOM, COMMAND_ROOM, directmessage=True)
        attend = _refusing(client, partial(_attend, client, component))
        client.add_eventHandler(attend, MESSAGE_TYPE.COMMAND.CUSTOM, trigger=to_all)
        AdminHandlers(client, component, self.announce.get("COMPONENTS", [self.name])).attend()
        client.listen()

    def last_saved_state(self, address: Address) -> State:
        """Return the state in which another process would take the place of the one that has gone."""
        store = self._state_store(address)
        if self.state is not None and not store.has_saved_state:
            return self.state
        return self.component(None, store, **self.settings).state()

    def _state_store(self, address: Address) -> StateStore:
        directory = private_directory(address)
        return StateStore(None if directory is None else directory / "kept" / self.name)


def _refusing(client: Client, handler: Handler) -> Handler:
    """Return `handler`, but for messages that it cannot use: they are left out, with a line in the log."""

    def handle(message: Message) -> Message | None:
        try:
            return handler(message)
        except MessageRefused as refused:
            client.log_rejected("left out what it got", str(refused))
            return None

    return handle


def _attend(client: Client, component: Stateful, message: Message) -> Message | None:
    """Answer who looks after the components: whether this one still answers, what it is, and what it has seen."""

    def seen() -> Message:
        shown = component.shown() if isinstance(component, Shown) else {}
        return {"TAKEN": client.taken(), **shown}

    answers: dict[object, Callable[[], Message]] = {
        "PING": lambda: {"STATUS": "PONG"},
        "LOOK": seen,
        "SAVESTATE": lambda: {"STATE": component.state(), **seen()},
    }
    command = message.get("CMD")
    answer = answers.get(command) if isinstance(command, str) else None
    return None if answer is None else {**answer(), "TO": text(message, "SENT_BY")}
