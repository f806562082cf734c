"""The server of the sockets link: accepts connections, and delivers messages as its hub routes them.

One thread serves all connections and never blocks on one of them. It drops a connection that does not register in time,
that has more than `BACKLOG_BYTES` in its send queue, that sends bytes that are not a frame (after an error message), or
from which nothing arrives any more (see `heartbeat`).
"""

import contextlib
import errno
import resource
import select
import socket
import threading
from itertools import count

from swarmsim.errors import MessageError, StopRequested, WaitTimeout
from swarmsim.messaging.endpoint import Address, RejectionLog, format_address, logger
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.messaging.process_context import PROCESS, poll_with_spin, running_time
from swarmsim.messaging.rooms import COMMAND_ROOM
from swarmsim.messaging.sockets import handshake
from swarmsim.messaging.sockets.connection import Connection, listen
from swarmsim.messaging.sockets.handshake import is_link_message, link_message
from swarmsim.messaging.sockets.heartbeat import SILENCE_VARIABLE, is_stopped_here, silence_seconds
from swarmsim.messaging.sockets.hub import Delivery, Hub
from swarmsim.messaging.sockets.wire import FrameError, Wire

REGISTER_SECONDS, STOP_SECONDS = 10.0, 10.0
MAX_UNREGISTERED = 256
MAX_ACCEPTS_PER_EVENT = 16
CHECK_SECONDS = 0.5

_REGISTER, _DISCONNECT = MESSAGE_TYPE.COMMAND.REGISTER.id, MESSAGE_TYPE.COMMAND.DISCONNECT.id
_READ, _WRITE = select.POLLIN, select.POLLOUT


class SocketServer:
    """Listens at a TCP address from its creation, and serves the swarm there once `serve` is called.

    Args:
        address: port 0 means any free port.
        secret: the shared secret that clients must know; None means the environment's, if it is set.
        insecure: whether to accept every client without a secret, also from other machines.
        listener: the socket that `listen` returned for the address, if it was called before.

    Raises:
        AddressError: the address is in use or invalid, or other machines can reach it and no secret is set.
    """

    needs_process = True

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
        self._secret = None if insecure else handshake.shared_secret(secret)
        self._silence_limit = silence_seconds()
        handshake.check_exposure(address[0], self._secret, insecure=insecure)
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
        PROCESS.release_after_fork(self, self._release)

    # --- life cycle

    def serve(self) -> None:
        """Serve until closed, or until this process is asked to stop."""
        with contextlib.suppress(StopRequested):
            self._loop(handles_process_events=True)

    def serve_in_background(self) -> None:
        """Serve in a thread of this process until closed."""
        self._thread = threading.Thread(target=self._loop, kwargs={"handles_process_events": False}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Release the address; a second call does nothing. Raises WaitTimeout if the serving thread does not end."""
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
        self._release()

    def _release(self) -> None:
        for link in (self._listener, self._wake, self._waker):
            link.close()
        for connection in self._connections.values():
            connection.close()

    def _loop(self, *, handles_process_events: bool) -> None:
        _raise_descriptor_limit()
        for source in (self._listener, self._wake):
            self._poll.register(source, _READ)
        if handles_process_events:
            self._poll.register(PROCESS.fileno(), _READ)
        listener = self._listener.fileno()
        next_check, checked_at = 0.0, running_time()
        while not self._closed:
            for descriptor, events in poll_with_spin(self._poll, CHECK_SECONDS):
                connection = self._connections.get(descriptor)
                if connection is not None:
                    self._handle_events(connection, events)
                elif descriptor == listener:
                    self._accept()
                elif handles_process_events and descriptor == PROCESS.fileno():
                    PROCESS.handle_events()
            now = running_time()
            if now > next_check:
                self._drop_late_registrations()
                self._drop_silent_members(now - checked_at)
                next_check, checked_at = now + CHECK_SECONDS, now

    # --- connections

    def _accept(self) -> None:
        for _ in range(MAX_ACCEPTS_PER_EVENT):
            try:
                link, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._rejections.log("cannot accept more connections", error.strerror or "")
                    self._drop_oldest_unregistered()
                return
            connection = Connection(next(self._numbers), link, peer[0], self.wire, self._silence_limit)
            self._connections[link.fileno()] = connection
            self._poll.register(link, _READ)
            if len(self._connections) - len(self._members) > MAX_UNREGISTERED:
                self._drop_oldest_unregistered()

    def _unregistered(self) -> list[Connection]:
        return [connection for connection in self._connections.values() if connection.member_id is None]

    def _drop_oldest_unregistered(self) -> None:
        oldest = min(self._unregistered(), key=lambda connection: connection.number, default=None)
        if oldest is not None:
            self._drop(oldest, "too many others connected after it without registering")

    def _drop_late_registrations(self) -> None:
        deadline = running_time() - REGISTER_SECONDS
        if len(self._connections) > len(self._members):
            for connection in self._unregistered():
                if connection.connected_at < deadline:
                    self._drop(connection, f"it did not register within {REGISTER_SECONDS:g} s")

    def _drop_silent_members(self, seconds: float) -> None:
        """Add `seconds`, in which this server ran, to the silence of each member, and drop those that are gone."""
        silent = []
        for connection in self._members.values():
            connection.silence += seconds
            if connection.beats and connection.silence > self._silence_limit:
                silent.append(connection)
        gone = [each for each in silent if each.member_id is None or not is_stopped_here(each.member_id)]
        if gone:
            names = ", ".join(repr(connection.name) for connection in gone)
            reason = f"nothing arrived for {self._silence_limit:g} s: the host or the network is gone"
            logger.warning("the server dropped %s: %s (%s)", names, reason, SILENCE_VARIABLE)
        for connection in gone:
            self._close_connection(connection)

    def _drop(self, connection: Connection, reason: str) -> None:
        self._rejections.log("dropped a connection", f"{connection.name!r}: {reason}")
        self._close_connection(connection)

    def _close_connection(self, connection: Connection) -> None:
        """Close a connection; if a member had registered on it, remove it and inform all others."""
        if self._connections.pop(connection.fileno(), None) is None:
            return
        self._poll.unregister(connection)
        connection.close()
        if connection.member_id is not None:
            self._members.pop(connection.member_id, None)
            self._deliver(self._hub.disconnect(connection.member_id))

    # --- receiving

    def _handle_events(self, connection: Connection, events: int) -> None:
        if events & _WRITE:
            connection.flush()
            if not connection.backlog:
                self._poll.modify(connection, _READ)
        if events & ~_WRITE:
            self._read(connection)
        if connection.is_closing:
            self._close_connection(connection)

    def _read(self, connection: Connection) -> None:
        bodies = connection.read()
        if bodies is None:
            connection.is_closing = True
            if connection.break_reason:
                logger.warning("the server dropped %r: %s", connection.name, connection.break_reason)
            return
        try:
            for body in bodies:
                self._handle_body(connection, body)
                if connection.is_closing:
                    return
        except FrameError as error:
            self._refuse(connection, error)
            self._drop(connection, str(error))

    def _handle_body(self, connection: Connection, body: bytes) -> None:
        message: Message = {}
        try:
            message = self.wire.decode(body)
            if is_link_message(message):
                self._handle_link_message(connection, message)
            elif connection.member_id is not None:
                self._forward(connection, message, body)
            else:
                self._register(connection, message, body)
        except MessageError as error:
            self._refuse(connection, error, message.get("ID"))

    def _forward(self, connection: Connection, message: Message, body: bytes) -> None:
        assert connection.member_id is not None
        deliveries = self._hub.handle(connection.member_id, message, body)
        if message["TYPE"] == _DISCONNECT:
            self._members.pop(connection.member_id)
            connection.member_id, connection.is_closing = None, True
        self._deliver(deliveries)

    def _register(self, connection: Connection, message: Message, body: bytes) -> None:
        """Handle a message on a connection without a member: challenge the client, or register it."""
        if self._secret is not None and not connection.is_authenticated:
            if not connection.server_nonce:
                connection.server_nonce = handshake.new_nonce()
                self._send(connection, link_message(handshake.CHALLENGE, NONCE=connection.server_nonce))
            return
        if message.get("TYPE") == _REGISTER:
            is_plain = handshake.EXTENSION not in message
            member_id = self._hub.choose_member_id(message, f"plain-{connection.number}")
            deliveries = self._hub.handle(member_id, message, body)
            connection.set_member(member_id, message["NAME"], is_plain=is_plain)
            self._members[member_id] = connection
            if not is_plain:
                nonces = connection.server_nonce, connection.client_nonce
                hmac = self._secret and handshake.compute_hmac(self._secret, "server", *nonces)
                self._deliver([self._hub.welcome(member_id, self._silence_limit, hmac)])
            self._deliver(deliveries)
        elif message.get("TYPE") == _DISCONNECT:
            connection.is_closing = True
        else:
            self._hub.handle(f"plain-{connection.number}", message, body)
            raise AssertionError("the hub handles no message before REGISTER")

    def _handle_link_message(self, connection: Connection, message: Message) -> None:
        kind = message["LINK"]
        if kind == handshake.PROVE and self._secret is not None and not connection.is_authenticated:
            self._authenticate(connection, self._secret, message)
        elif kind == handshake.BEAT and connection.member_id is not None:
            connection.beats = True
            self._send(connection, link_message(handshake.BEAT))
        elif kind == handshake.ASK and connection.member_id is not None:
            self._remove_members(connection, message.get("TAKE_OUT"))
            unread = sorted({each.name for each in self._members.values() if each.backlog and each is not connection})
            self._send(connection, link_message(handshake.ANSWER, NUMBER=message.get("NUMBER"), BEHIND=unread))

    def _authenticate(self, connection: Connection, secret: str, response: Message) -> None:
        """Check a client's response to the challenge, and drop the client if it is wrong."""
        server_nonce, client_nonce = connection.server_nonce, response.get("NONCE")
        if server_nonce and handshake.verify_hmac(response.get("PROOF"), secret, "client", server_nonce, client_nonce):
            connection.client_nonce, connection.is_authenticated = str(client_nonce), True
            return
        self._refuse(connection, MessageError("this server asks for a secret that this client does not share"))
        self._drop(connection, "it does not share the secret")
        connection.is_closing = True

    def _remove_members(self, requester: Connection, id_prefix: object) -> None:
        """Remove the members of a process that has died, as a client on the same machine reports."""
        if isinstance(id_prefix, str) and id_prefix:
            for member_id, connection in list(self._members.items()):
                is_same_host = connection is not requester and connection.host == requester.host
                if is_same_host and member_id.startswith(id_prefix):
                    self._close_connection(connection)

    # --- sending

    def _refuse(self, connection: Connection, error: MessageError, message_id: object = None) -> None:
        """Send the error to the sender of an invalid message, in a form that every kind of client can handle."""
        self._rejections.log("refused a message", f"{connection.name!r}: {error}")
        address = {"TO_ROOM": COMMAND_ROOM, "TO": connection.name}
        refusal = link_message(handshake.REFUSED, ERROR=str(error), **address, SENT_BY="server")
        if isinstance(message_id, str | int):
            refusal["ROOT_ID"] = message_id
        if connection.is_plain and connection.member_id is not None:
            refusal = {**refusal, "TYPE": MESSAGE_TYPE.LOG.CUSTOM.id}
        self._send(connection, refusal)

    def _send(self, connection: Connection, message: Message) -> None:
        self._send_frame(connection, self.wire.frame(self.wire.encode(message)))

    def _deliver(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            frames = [self.wire.frame(body) for body in delivery.bodies]
            for member_id in delivery.receivers:
                connection = self._members.get(member_id)
                if connection is not None:
                    for frame in frames:
                        self._send_frame(connection, frame)

    def _send_frame(self, connection: Connection, frame: bytes) -> None:
        if connection.is_closing:
            return
        if connection.is_over_limit:
            connection.is_closing = True
            self._drop(connection, f"{connection.backlog:,} bytes wait for it that it has not read")
            return
        had_backlog = connection.backlog > 0
        connection.send(frame)
        if connection.backlog and not had_backlog:
            self._poll.modify(connection, _READ | _WRITE)


def serve_launched(listener: socket.socket, address: Address) -> None:
    """Serve an address in this process until asked to stop; its launcher has created `listener`."""
    server = SocketServer(address, listener=listener)
    PROCESS.report_ready()
    server.serve()
    server.close()


def _raise_descriptor_limit() -> None:
    """Allow this process as many open connections as the operating system permits."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
