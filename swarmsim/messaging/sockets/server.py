"""The server of the sockets link: takes connections, and passes on what its hub makes of their messages.

One thread serves all of them and waits for none: who does not read is dropped once `BACKLOG_BYTES` wait for it, who
has not registered in time is dropped too, and who sends what is no frame is told so and dropped.
"""

import contextlib
import errno
import resource
import select
import socket
import threading
import time
from itertools import count

from swarmsim.errors import MessageError, StopRequested, WaitTimeout
from swarmsim.messaging.endpoint import Address, RejectionLog, format_address
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.messaging.process_context import PROCESS, ready_soon
from swarmsim.messaging.rooms import COMMAND_ROOM
from swarmsim.messaging.sockets.connection import Connection
from swarmsim.messaging.sockets.handshake import (
    ANSWER,
    ASK,
    CHALLENGE,
    EXTENDS,
    PROVE,
    REFUSED,
    check_exposure,
    is_link_message,
    link_message,
    new_nonce,
    proof,
    proves,
    shared_secret,
)
from swarmsim.messaging.sockets.hub import Delivery, Hub
from swarmsim.messaging.sockets.tcp import listen
from swarmsim.messaging.sockets.wire import FrameError, Wire

REGISTER_SECONDS, STOP_SECONDS = 10.0, 10.0
MOST_STRANGERS = 256
ACCEPTED_AT_ONCE = 16
LOOK_SECONDS = 0.5

_REGISTER, _DISCONNECT = MESSAGE_TYPE.COMMAND.REGISTER.id, MESSAGE_TYPE.COMMAND.DISCONNECT.id
_READ, _WRITE = select.POLLIN, select.POLLOUT


class SocketServer:
    """Holds a TCP address, and serves the swarm there once told to; until then those who connect wait.

    Args:
        address: its port may be 0, for one that is free.
        secret: that clients have to share; None for the environment's, if it has one.
        insecure: whether to let in whoever comes, also from other machines.
        listener: what `listen` returned for that address, if this was called before.

    Raises:
        AddressError: the address is taken or is none, or other machines reach it and no secret is set.
    """

    takes_a_process = True

    def __init__(
        self,
        address: Address,
        wire: Wire | None = None,
        *,
        secret: str | None = None,
        insecure: bool = False,
        listener: socket.socket | None = None,
    ) -> None:
        self.wire = wire or Wire()
        self._secret = None if insecure else shared_secret(secret)
        check_exposure(address[0], self._secret, insecure=insecure)
        self._listener = listener or listen(address)
        self.address: Address = (address[0], self._listener.getsockname()[1])
        self._wake, self._waker = socket.socketpair()
        self._hub = Hub(self.wire)
        self._connections: dict[int, Connection] = {}
        self._members: dict[str, Connection] = {}
        self._numbers = count()
        self._rejections = RejectionLog("the server")
        self._poll = select.poll()
        self._closed = False
        self._thread: threading.Thread | None = None
        PROCESS.release_after_fork(self, self._let_go)

    # --- its life

    def serve(self) -> None:
        """Serve until closed, or until this process is asked to stop."""
        with contextlib.suppress(StopRequested):
            self._loop(notices=True)

    def serve_beside(self) -> None:
        """Serve until closed, in a thread beside what this process does otherwise."""
        self._thread = threading.Thread(target=self._loop, kwargs={"notices": False}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving, and let go of the address; a second call does nothing.

        Raises:
            WaitTimeout: the thread that serves does not end.
        """
        if self._closed:
            return
        self._closed = True
        PROCESS.forget_resource(self)
        self._waker.send(b"x")
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            if self._thread.is_alive():
                raise WaitTimeout(
                    f"waited {STOP_SECONDS:g} s for the thread that serves {format_address(self.address)}"
                )
        self._rejections.close()
        self._let_go()

    def _let_go(self) -> None:
        for own in (self._listener, self._wake, self._waker):
            own.close()
        for connection in self._connections.values():
            connection.close()

    def _loop(self, *, notices: bool) -> None:
        _allow_many_descriptors()
        poll = self._poll
        for awaited in (self._listener, self._wake):
            poll.register(awaited, _READ)
        if notices:
            poll.register(PROCESS.fileno(), _READ)
        listener = self._listener.fileno()
        next_look = 0.0
        while not self._closed:
            for source, events in ready_soon(self._poll, LOOK_SECONDS):
                connection = self._connections.get(source)
                if connection is not None:
                    self._attend(connection, events)
                elif source == listener:
                    self._accept()
                elif notices and source == PROCESS.fileno():
                    PROCESS.handle_events()
            if time.monotonic() > next_look:
                self._drop_who_does_not_register()
                next_look = time.monotonic() + LOOK_SECONDS

    # --- who comes and goes

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                link, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._rejections.log("can take no more connections", error.strerror or "")
                    self._drop_the_oldest_stranger()
                return
            connection = Connection(next(self._numbers), link, peer[0], self.wire)
            self._connections[link.fileno()] = connection
            self._poll.register(link, _READ)
            if len(self._connections) - len(self._members) > MOST_STRANGERS:
                self._drop_the_oldest_stranger()

    def _strangers(self) -> list[Connection]:
        return [connection for connection in self._connections.values() if connection.member_id is None]

    def _drop_the_oldest_stranger(self) -> None:
        oldest = min(self._strangers(), key=lambda connection: connection.number, default=None)
        if oldest is not None:
            self._drop(oldest, "too many others connected after it without registering")

    def _drop_who_does_not_register(self) -> None:
        latest = time.monotonic() - REGISTER_SECONDS
        if len(self._connections) > len(self._members):
            for connection in self._strangers():
                if connection.since < latest:
                    self._drop(connection, f"it did not register within {REGISTER_SECONDS:g} s")

    def _drop(self, connection: Connection, why: str) -> None:
        self._rejections.log("dropped a connection", f"{connection.name!r}: {why}")
        self._end(connection)

    def _end(self, connection: Connection) -> None:
        """Close a connection; who had registered there is taken out, and all that are left are told."""
        if self._connections.pop(connection.fileno(), None) is None:
            return
        self._poll.unregister(connection)
        connection.close()
        if connection.member_id is not None:
            self._members.pop(connection.member_id, None)
            self._deliver(self._hub.farewell(connection.member_id))

    # --- what they say

    def _attend(self, connection: Connection, events: int) -> None:
        if events & _WRITE:
            connection.flush()
            if not connection.backlog:
                self._poll.modify(connection, _READ)
        if events & ~_WRITE:
            self._read(connection)
        if connection.ends:
            self._end(connection)

    def _read(self, connection: Connection) -> None:
        bodies = connection.read()
        if bodies is None:
            connection.ends = True
            return
        try:
            for body in bodies:
                self._take(connection, body)
                if connection.ends:
                    return
        except FrameError as error:
            self._refuse(connection, error)
            self._drop(connection, str(error))

    def _take(self, connection: Connection, body: bytes) -> None:
        message: Message = {}
        try:
            message = self.wire.message(body)
            if is_link_message(message):
                self._answer(connection, message)
            elif connection.member_id is not None:
                self._pass_on(connection, message, body)
            else:
                self._register(connection, message, body)
        except MessageError as error:
            self._refuse(connection, error, message.get("ID"))

    def _pass_on(self, connection: Connection, message: Message, body: bytes) -> None:
        assert connection.member_id is not None
        deliveries = self._hub.take(connection.member_id, message, body)
        if message["TYPE"] == _DISCONNECT:
            self._members.pop(connection.member_id)
            connection.member_id, connection.ends = None, True
        self._deliver(deliveries)

    def _register(self, connection: Connection, message: Message, body: bytes) -> None:
        if self._secret is not None and not connection.proven:
            if not connection.challenge:
                connection.challenge = new_nonce()
                self._say(connection, link_message(CHALLENGE, NONCE=connection.challenge))
            return
        if message.get("TYPE") == _REGISTER:
            is_plain = EXTENDS not in message
            member_id = self._hub.member_id(message, f"plain-{connection.number}")
            deliveries = self._hub.take(member_id, message, body)
            connection.registered(member_id, message["NAME"], is_plain=is_plain)
            self._members[member_id] = connection
            shown = self._secret and proof(self._secret, "server", connection.challenge, connection.answer)
            if not is_plain:
                self._deliver([self._hub.welcome(member_id, shown)])
            self._deliver(deliveries)
        elif message.get("TYPE") == _DISCONNECT:
            connection.ends = True
        else:
            self._hub.take(f"plain-{connection.number}", message, body)
            raise AssertionError("a hub takes nothing from whoever has not registered")

    def _answer(self, connection: Connection, message: Message) -> None:
        """Answer what is for the server alone."""
        kind = message["LINK"]
        if kind == PROVE and self._secret is not None and not connection.proven:
            connection.answer = str(message.get("NONCE"))
            challenge = connection.challenge
            if not challenge or not proves(
                message.get("PROOF"), self._secret, "client", challenge, message.get("NONCE")
            ):
                self._refuse(connection, MessageError("this server asks for a secret that this client does not share"))
                self._drop(connection, "it does not share the secret")
                connection.ends = True
                return
            connection.proven = True
        elif kind == ASK and connection.member_id is not None:
            self._take_out(connection, message.get("TAKE_OUT"))
            behind = sorted(
                {other.name for other in self._members.values() if other.backlog and other is not connection}
            )
            self._say(connection, link_message(ANSWER, NUMBER=message.get("NUMBER"), BEHIND=behind))

    def _take_out(self, asker: Connection, prefix: object) -> None:
        """Drop members whose process has died, as somebody on the same machine tells."""
        if isinstance(prefix, str) and prefix:
            for member_id, connection in list(self._members.items()):
                if member_id.startswith(prefix) and connection is not asker and connection.host == asker.host:
                    self._end(connection)

    def _refuse(self, connection: Connection, error: MessageError, message_id: object = None) -> None:
        """Tell the sender of a message what is wrong with it, in a way that every client can bear."""
        self._rejections.log("refused a message", f"{connection.name!r}: {error}")
        refusal = link_message(REFUSED, ERROR=str(error), TO_ROOM=COMMAND_ROOM, TO=connection.name, SENT_BY="server")
        if isinstance(message_id, str | int):
            refusal["ROOT_ID"] = message_id
        if connection.is_plain and connection.member_id is not None:
            refusal = {**refusal, "TYPE": MESSAGE_TYPE.LOG.CUSTOM.id}
        self._say(connection, refusal)

    # --- what they are told

    def _say(self, connection: Connection, message: Message) -> None:
        self._put(connection, self.wire.frame(self.wire.body(message)))

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            frames = [self.wire.frame(body) for body in delivery.bodies]
            for member_id in delivery.to:
                connection = self._members.get(member_id)
                if connection is not None:
                    for frame in frames:
                        self._put(connection, frame)

    def _put(self, connection: Connection, frame: bytes) -> None:
        if connection.ends:
            return
        if connection.is_behind:
            connection.ends = True
            self._drop(connection, f"{connection.backlog:,} bytes wait for it, which it has not read")
            return
        had_backlog = connection.backlog > 0
        connection.put(frame)
        if connection.backlog and not had_backlog:
            self._poll.modify(connection, _READ | _WRITE)


def serve_launched(listener: socket.socket, address: Address) -> None:
    """Be the server of an address, in a process of its own, until asked to stop."""
    server = SocketServer(address, listener=listener)
    PROCESS.report_ready()
    server.serve()
    server.close()


def _allow_many_descriptors() -> None:
    """Let this process have as many connections as it may have at all."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
