"""A client's end of the sockets link: one TCP connection to the server of its swarm, on any machine.

A server of this package (an *extended* server) sends the rooms when the client registers, and every later change of
them in `_command`; it also accepts arrays and answers requests. Any other server is *plain* (see `plain_server`). The
first reply shows the kind: only an extended server replies to REGISTER, while a plain one returns the echo that the
client has sent to its own name.
"""

import contextlib
import errno
import os
import secrets
import select
import socket
from collections import deque
from itertools import count

from swarmsim.errors import AddressError, LinkClosed, MessageError, WaitTimeout
from swarmsim.messaging.endpoint import Address, Endpoint, RejectionLog, format_address
from swarmsim.messaging.message import MESSAGE_TYPE, Message, validate
from swarmsim.messaging.process_context import PROCESS, poll_with_spin, running_time, sleep_of
from swarmsim.messaging.rooms import CHANGES_ROOMS, COMMAND_ROOM, Rooms, apply_command, decode_rooms, receivers
from swarmsim.messaging.sockets import handshake
from swarmsim.messaging.sockets.connection import acknowledge_now, connect_to_server
from swarmsim.messaging.sockets.handshake import is_link_message, link_message
from swarmsim.messaging.sockets.plain_server import complete_logging_copy, rooms_after
from swarmsim.messaging.sockets.wire import FrameDecoder, FrameError, Wire

REGISTER_SECONDS, SEND_TIMEOUT, REPLY_SECONDS = 30.0, 30.0, 30.0
MAX_REFUSALS = 16  # remembered
LINGER_SECONDS = 2.0  # for the server to read the last messages
GRACE_SECONDS = 0.5  # for the launcher to report why the server is gone
READ_BYTES, MAX_READS = 1 << 18, 16
BACKLOG_BYTES = 1 << 26

_COMMAND = MESSAGE_TYPE.COMMAND
_client_numbers = count()


def _id_prefix(process_id: int) -> str:
    """Return the common prefix of the member ids of all clients in a process of this host."""
    return f"{socket.gethostname()[:200]}-{process_id}-"


class SocketsEndpoint(Endpoint):
    """A client's connection to the swarm at a TCP address.

    Args:
        secret: the shared secret that the server must prove to know; None means the environment's, if it is set, and
            then the server is authenticated only if it asks for the secret itself.

    Raises:
        AddressError: no server accepts connections there.
    """

    def __init__(self, address: Address, name: str, wire: Wire, secret: str | None) -> None:
        self._name = name
        self._address = address
        self._wire = wire
        self._requires_secret = secret is not None
        self._secret = handshake.shared_secret(secret)
        self._server_nonce = self._client_nonce = ""
        self._link = connect_to_server(address)
        self.id = f"{_id_prefix(os.getpid())}{next(_client_numbers)}.{secrets.token_hex(4)}"
        self.rejections = RejectionLog(name)
        self._decoder = FrameDecoder(wire, wire.max_body_bytes)
        self._rooms = Rooms()
        self._known_receivers: set[tuple[str | None, str | None]] = set()
        self._known_receivers_of = self._rooms
        self._is_extended = False
        self._arrivals: deque[Message] = deque()
        self._arrived_bytes = 0
        self._link_messages: deque[Message] = deque()
        self._refusals: deque[Message] = deque(maxlen=MAX_REFUSALS)
        self._is_lost = False
        self._request_numbers = count()
        self._poll = select.poll()
        for source in (self._link, PROCESS.fileno()):
            self._poll.register(source, select.POLLIN)
        PROCESS.release_after_fork(self, self._release)

    def rooms(self) -> Rooms:
        if not self.closed:
            self._read()
        return self._rooms

    # --- registration

    def _register(self, register: Message) -> None:
        """Register, with the secret if asked, and find out the server's kind; raises AddressError or MessageError."""
        self._send_registration(register)
        reply = self._await_first_reply()
        if reply["LINK"] == handshake.CHALLENGE and self._secret is not None:
            self._server_nonce, self._client_nonce = str(reply.get("NONCE")), handshake.new_nonce()
            hmac = handshake.compute_hmac(self._secret, "client", self._server_nonce, self._client_nonce)
            self._transmit(link_message(handshake.PROVE, NONCE=self._client_nonce, PROOF=hmac))
            self._send_registration(register)
            reply = self._await_first_reply()
        if reply["LINK"] == handshake.CHALLENGE:
            raise AddressError(f"{format_address(self._address)} asks for a shared secret, and {self._name!r} has none")
        if reply["LINK"] == handshake.REFUSED:
            raise MessageError(f"{format_address(self._address)} refuses {self._name!r}: {reply.get('ERROR')}")
        self._authenticate_server(reply)
        if not self._is_extended:
            self._rooms = apply_command(self._rooms, register, self.id)

    def _send_registration(self, register: Message) -> None:
        self._transmit({**register, handshake.EXTENSION: handshake.VERSION, handshake.MEMBER: self.id})
        self._transmit({**register, "TYPE": _COMMAND.JOINROOM.id, "ID": f"{self.id}.command", "ROOM": COMMAND_ROOM})
        self._send_echo()

    def _send_echo(self) -> None:
        self._transmit(link_message(handshake.ECHO, TO=self._name, ECHO=self.id))

    def _await_first_reply(self) -> Message:
        kinds = {handshake.WELCOME, handshake.CHALLENGE, handshake.REFUSED, handshake.ECHO}
        return self._await_link_message(kinds, REGISTER_SECONDS, "answer")

    def _authenticate_server(self, reply: Message) -> None:
        if self._secret is None or not (self._requires_secret or self._server_nonce):
            return
        nonces = self._server_nonce, self._client_nonce
        if not handshake.verify_hmac(reply.get("PROOF"), self._secret, "server", *nonces):
            raise AddressError(f"{format_address(self._address)} does not share the secret of {self._name!r}")

    # --- sending

    def send(self, message: Message) -> None:
        if self.closed:
            raise self._closed_error()
        kind = message["TYPE"]
        if kind == _COMMAND.REGISTER.id:
            self._register(message)
            return
        self._check_receivers(message)
        self._transmit(message)
        if kind in CHANGES_ROOMS and kind != _COMMAND.DISCONNECT.id:
            self._synchronize()
            for refusal in self._refusals:
                if refusal.get("ROOT_ID") == message["ID"]:
                    raise MessageError(str(refusal.get("ERROR")))
            self._rooms = apply_command(self._rooms, message, self.id)

    def _check_receivers(self, message: Message) -> None:
        """Raise MessageError for an unknown room or component, if the server reports the membership."""
        if not self._is_extended:
            return
        if self._rooms is not self._known_receivers_of:
            self._known_receivers, self._known_receivers_of = set(), self._rooms
        address = message.get("TO_ROOM"), message.get("TO")
        if address in self._known_receivers:
            return
        try:
            receivers(self._rooms, message, self.id)
        except MessageError:
            self._request()  # changes of the rooms may be on their way
            receivers(self._rooms, message, self.id)
        self._known_receivers.add(address)

    def _transmit(self, message: Message) -> None:
        """Send one frame to an extended server, one per component to a plain one; raises WaitTimeout if not read."""
        bodies = [self._wire.encode(message)] if self._is_extended else self._wire.encode_plain(message)
        for body in bodies:
            self._write(self._wire.frame(body))

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        deadline = 0.0
        while rest:
            try:
                rest = rest[self._link.send(rest) :]
            except BlockingIOError:
                deadline = deadline or running_time() + SEND_TIMEOUT
                self._wait_until_writable(deadline)
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                    raise
                self._read()
                raise self._lost_error() from None

    def _wait_until_writable(self, deadline: float) -> None:
        """Wait until the server reads more; read meanwhile, since it may be waiting for that."""
        left = deadline - running_time()
        if left <= 0:
            raise WaitTimeout(
                f"{self._name!r} waited {SEND_TIMEOUT:g} s for the server at {format_address(self._address)} to read"
            )
        poll = select.poll()
        read_event = select.POLLIN if self._arrived_bytes < BACKLOG_BYTES else 0
        poll.register(self._link, select.POLLOUT | read_event)
        poll.register(PROCESS.fileno(), select.POLLIN)
        for source, events in poll.poll(1000 * sleep_of(left)):
            if source != self._link.fileno():
                PROCESS.handle_events()
            elif events & ~select.POLLOUT:
                self._read()

    # --- receiving

    def receive(self, timeout: float) -> Message:
        deadline = running_time() + timeout
        while not self.closed:
            if self._arrivals:
                return self._arrivals.popleft()
            self._arrived_bytes = 0
            left = deadline - running_time()
            if left <= 0:
                raise WaitTimeout(f"{self._name!r} waited {timeout:g} s for a message and none came")
            self._wait(left)
        raise self._closed_error()

    def _wait(self, seconds: float) -> None:
        """Wait at most `seconds` for the server or for events of this process, and handle them."""
        if self._is_lost:
            raise self._lost_error()
        for source, _ in poll_with_spin(self._poll, seconds):
            if source == self._link.fileno():
                self._read()
            else:
                PROCESS.handle_events()

    def _read(self) -> None:
        """Handle all that has arrived, without waiting."""
        for _ in range(MAX_READS):
            try:
                data = self._link.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._is_lost = True
                return
            if not self._is_extended:
                acknowledge_now(self._link)
            self._arrived_bytes += len(data)
            try:
                for body in self._decoder.feed(data):
                    self._handle_body(body)
            except FrameError as error:
                self.rejections.log("lost its link", str(error))
                self._is_lost = True
            if len(data) < READ_BYTES:
                return

    def _handle_body(self, body: bytes) -> None:
        try:
            message = self._wire.decode(body)
            if is_link_message(message):
                self._handle_link_message(message)
                return
            if not self._is_extended:
                complete_logging_copy(message)
            validate(message)
            if message["TYPE"] in CHANGES_ROOMS:
                self._rooms = (
                    apply_command(self._rooms, message, str(message.get(handshake.MEMBER)))
                    if self._is_extended
                    else rooms_after(self._rooms, message)
                )
        except MessageError as error:
            self.rejections.log("ignored an invalid message", str(error))
            return
        self._arrivals.append(message)

    def _handle_link_message(self, message: Message) -> None:
        if message["LINK"] == handshake.ECHO and message.get("ECHO") != self.id:
            return  # of another client of this name
        if message["LINK"] == handshake.WELCOME:  # at once, since changes of these rooms may follow in the same read
            self._is_extended, self._rooms = True, decode_rooms(message["ROOMS"])
        if message["LINK"] == handshake.REFUSED:
            self._refusals.append(message)
            if self._rooms.members:
                self.rejections.log("had a message refused", str(message.get("ERROR"))[:500])
        self._link_messages.append(message)

    # --- requests to the server

    def _await_link_message(self, kinds: set[str], seconds: float, awaited: str) -> Message:
        """Return the server's next link message of one of `kinds`; other messages stay queued for `receive`."""
        deadline = running_time() + seconds
        while True:
            while self._link_messages:
                message = self._link_messages.popleft()
                if message["LINK"] in kinds:
                    return message
            left = deadline - running_time()
            if left <= 0:
                server = format_address(self._address)
                raise WaitTimeout(f"{self._name!r} waited {seconds:g} s for the server at {server} to {awaited}")
            self._wait(left)

    def _request(self, **fields: object) -> Message:
        """Return an extended server's answer; all changes of the rooms that it sent before are applied by then."""
        number = next(self._request_numbers)
        self._transmit(link_message(handshake.ASK, NUMBER=number, **fields))
        while True:
            answer = self._await_link_message({handshake.ANSWER}, REPLY_SECONDS, "answer a request")
            if answer.get("NUMBER") == number:
                return answer

    def _synchronize(self) -> None:
        """Wait until the server has handled all that was sent before."""
        if self._is_extended:
            self._request()
        else:
            self._send_echo()
            self._await_link_message({handshake.ECHO}, REPLY_SECONDS, "return an echo")

    def unread_members(self) -> list[str]:
        return [str(name) for name in self._request().get("BEHIND", ())] if self._is_extended else []

    def remove_member(self, process_id: int) -> None:
        if self._is_extended:
            self._request(TAKE_OUT=_id_prefix(process_id))

    # --- closing

    def _closed_error(self) -> LinkClosed:
        event = "has left the swarm" if self.closed else "lost its link: the server has gone, or dropped it,"
        return LinkClosed(f"{self._name!r} {event} at {format_address(self._address)}")

    def _lost_error(self) -> LinkClosed:
        """Return the error for a lost link; a handler of this process may raise the cause first."""
        with contextlib.suppress(WaitTimeout):
            PROCESS.wait(GRACE_SECONDS, "the reason why the server has gone")
        if self._refusals:
            reason = self._refusals[-1].get("ERROR")
            return LinkClosed(
                f"{self._name!r} was dropped by {format_address(self._address)}; its last error: {reason}"
            )
        return self._closed_error()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        PROCESS.forget_resource(self)
        self.rejections.close()
        self._linger()
        self._release()

    def _linger(self) -> None:
        """Give the server time to read the last messages, since closing at once would discard them."""
        deadline = running_time() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)
            self._link.settimeout(LINGER_SECONDS)
            while self._link.recv(READ_BYTES) and running_time() < deadline:
                pass

    def _release(self) -> None:
        self.closed = True
        self._link.close()
