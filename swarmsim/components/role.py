"""A role: what a component is made of, the rooms it listens in, and where its answers go."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

from swarmsim.components.admin import AdminHandlers
from swarmsim.components.fields import text
from swarmsim.components.parts import lift_large
from swarmsim.components.persistence import StateStore
from swarmsim.components.protocol.command import PING, SNAPSHOT, STATE, Pong, Snapshot
from swarmsim.components.results import ComponentSnapshot
from swarmsim.errors import MessageRefused
from swarmsim.messaging.client import Client
from swarmsim.messaging.endpoint import Address
from swarmsim.messaging.handlers import Trigger
from swarmsim.messaging.links import private_directory
from swarmsim.messaging.message import MESSAGE_TYPE, Message, MessageType
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.rooms import COMMAND_ROOM

State = Mapping[str, Any]
Handler = Callable[[Message], Message | None]


class Stateful(Protocol):
    """A component that can be replaced by another one."""

    def state(self) -> State:
        """Return all that it is, between two messages: JSON values, and arrays of numbers."""

    def restore(self, state: State) -> None:
        """Continue from a state."""


@runtime_checkable
class Observable(Protocol):
    """A component that has more to show than its messages."""

    def snapshot(self) -> dict[str, Any]:
        """Return fields of a `ComponentSnapshot`."""


@runtime_checkable
class Closable(Protocol):
    """A component that holds what would outlive its process, such as simulators."""

    def close(self) -> None:
        """Release it; a second call does nothing."""


@dataclass(frozen=True)
class On:
    """Messages of one type in one room, the method that handles them, and the room that gets its answers."""

    room: str
    handler: Callable[[Any, Message], Message | None]
    answer_in: str | None = None
    type: MessageType = MESSAGE_TYPE.DATA.CUSTOM
    answer_type: MessageType = MESSAGE_TYPE.DATA.CUSTOM
    direct: bool = False  # whether the method also handles messages of this type to its component alone
    afterwards: Callable[[Any], None] | None = None  # called once the answer is sent, for work nobody should wait for

    def register(self, client: Client, component: object) -> None:
        """Have `client` call the methods of `component` for these messages."""
        trigger = Trigger(self.type, self.room, self.direct)
        handler = _rejecting(client, partial(self.handler, component))
        client.add_eventHandler(handler, self.answer_type, self.answer_in, trigger=trigger)
        if self.afterwards is not None:
            work = partial(self.afterwards, component)
            client.add_eventHandler(lambda _: work(), trigger=trigger)  # called after the answers of the one before


@dataclass(frozen=True)
class Role:
    """One component of the main job."""

    name: str
    component: Callable[[Client, StateStore], Any]  # makes it in its own process; `Stateful` if it can be replaced
    listens: tuple[On, ...]  # first in the room by which others know that it is present
    announce: Mapping[str, Any] = field(default_factory=dict)  # keys of its REGISTER message
    state: State | None = None  # to continue from, unless an earlier process has saved a later one
    is_expendable: bool = False  # whether the swarm can continue without it while another expendable one is left
    # what a replacement would continue from, if making a component in order to ask it is too much
    replacement_state: Callable[[StateStore], State] | None = None

    def run(self, address: Address, secret: str | None = None) -> None:
        """Join the swarm at `address`, whose server may share a secret, and serve until asked to stop."""
        client = Client(self.name, *address, announce=self.announce, secret=secret)
        store = self._state_store(address)
        component = self.component(client, store)
        with _closing_on_the_way_out(component):
            self._serve(client, component, store)

    def _serve(self, client: Client, component: Any, store: StateStore) -> None:
        if store.given_state is not None:
            component.restore(store.given_state)
        for on in reversed(self.listens):  # a member of the room by which it is known is then in all of them
            client.join_room(on.room)
        for on in self.listens:
            on.register(client, component)
        command = MESSAGE_TYPE.COMMAND.CUSTOM
        handler = _rejecting(client, partial(_answer_command, client, component))
        client.add_eventHandler(handler, command, trigger=Trigger(command, COMMAND_ROOM, directmessage=True))
        AdminHandlers(client, component, self.announce.get("COMPONENTS", [self.name])).register()
        client.listen()

    def last_saved_state(self, address: Address) -> State:
        """Return the state from which a replacement would continue."""
        store = self._state_store(address)
        if store.given_state is not None:
            return store.given_state
        if self.replacement_state is not None:
            return self.replacement_state(store)
        return self.component(cast(Client, None), store).state()  # it sends nothing

    def _state_store(self, address: Address) -> StateStore:
        directory = private_directory(address)
        return StateStore(None if directory is None else directory / "state" / self.name, self.state)


@contextmanager
def _closing_on_the_way_out(component: object) -> Iterator[None]:
    """Have a component closed when it stops, fails, or its process gets SIGTERM."""
    if not isinstance(component, Closable):
        yield
        return
    close = _Closing(component)
    PROCESS.register_closer(close, close)
    if PROCESS.is_component:
        signal.signal(signal.SIGTERM, close.and_end)
    try:
        yield
    except BaseException:  # its process may end without calling its closers
        close()
        raise


class _Closing:
    """Closes a component once."""

    def __init__(self, component: Closable) -> None:
        self._component = component
        self._process_id = os.getpid()
        self._has_begun = False

    def __call__(self) -> None:
        self._has_begun = True
        PROCESS.unregister_closer(self)
        self._component.close()

    def and_end(self, number: int, _: object) -> None:
        """End this process by a signal; a process that is closing already ends when that is done."""
        if os.getpid() == self._process_id:  # not a helper that was forked from it
            if self._has_begun:
                return
            self()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _rejecting(client: Client, handler: Handler) -> Handler:
    """Return `handler` with messages that it cannot use ignored, with a line in the log."""

    def handle(message: Message) -> Message | None:
        try:
            return handler(message)
        except MessageRefused as error:
            client.log_rejected("ignored an invalid message", str(error))
            return None

    return handle


def _answer_command(client: Client, component: Stateful, message: Message) -> Message | None:
    """Answer a heartbeat, a request for a snapshot, or one for the state; None to any other command."""
    command = message.get("CMD")
    if not isinstance(command, str) or command not in (PING, SNAPSHOT, STATE):
        return None
    sender = text(message, "SENT_BY")
    if command == PING:
        return {**Pong().fields(), "TO": sender}
    state = lift_large(client, message, component.state()) if command == STATE else None
    details = component.snapshot() if isinstance(component, Observable) else {}
    snapshot = ComponentSnapshot(client.name, client.pop_received_counts(), **details)
    return {**Snapshot(snapshot, state).fields(), "TO": sender}
