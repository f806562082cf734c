"""A client's end of the sockets link: one TCP connection to the server of its swarm, on any machine.

A server of this package (an *extended* server) sends the rooms when the client registers, and every later change of
them in `_command`; it also accepts arrays and answers requests. Any other server is *plain* (see `plain_server`). The
first reply shows the kind: only an extended server replies to REGISTER, while a plain one returns the echo that the
client has sent to its own name.
"""

import contextlib
import os
import secrets
import select
import threading
from collections import deque
from itertools import count

from swarmsim.errors import AddressError, LinkClosed, MessageError, SwarmError, WaitTimeout
from swarmsim.messaging.endpoint import Address, Endpoint, RejectionLog, Wakeup, format_address
from swarmsim.messaging.message import MESSAGE_TYPE, Message, validate
from swarmsim.messaging.process_context import PROCESS, poll_with_spin, running_time, sleep_of
from swarmsim.messaging.rooms import CHANGES_ROOMS, COMMAND_ROOM, Rooms, apply_command, decode_rooms, receivers
from swarmsim.messaging.sockets import handshake
from swarmsim.messaging.sockets.connection import is_writable
from swarmsim.messaging.sockets.handshake import is_link_message, link_message
from swarmsim.messaging.sockets.heartbeat import BEATS, Heartbeat, process_id_prefix
from swarmsim.messaging.sockets.plain_server import complete_logging_copy, rooms_after
from swarmsim.messaging.sockets.server_link import ServerLink
from swarmsim.messaging.sockets.wire import Wire

REGISTER_SECONDS, SEND_TIMEOUT, REPLY_SECONDS = 30.0, 30.0, 30.0
REPLY_PAUSE = 0.01  # between two looks for a reply that another thread may have read
MAX_REFUSALS = 16  # remembered
GRACE_SECONDS = 0.5  # for the launcher to report why the server is gone
BACKLOG_BYTES = 1 << 26

_COMMAND = MESSAGE_TYPE.COMMAND
_client_numbers = count()


class SocketsEndpoint(Endpoint):
    """A client's connection to the swarm at a TCP address.

    Args:
        secret: the shared secret that the server must prove to know; None means the environment's, if it is set, and
            then the server is authenticated only if it asks for the secret itself.

    Raises:
        AddressError: no server accepts connections there.
    """

    def __init__(self, address: Address, name: str, wire: Wire, secret: str | None) -> None:
        super().__init__()
        self._name = name
        self._address = address
        self._wire = wire
        self._requires_secret = secret is not None
        self._secret = handshake.shared_secret(secret)
        self._server_nonce = self._client_nonce = ""
        self.rejections = RejectionLog(name)
        self._link = ServerLink(address, wire, self.rejections)
        self.id = f"{process_id_prefix(os.getpid())}{next(_client_numbers)}.{secrets.token_hex(4)}"
        self._rooms = Rooms()
        self._known_receivers: set[tuple[str | None, str | None]] = set()
        self._known_receivers_of = self._rooms
        self._is_extended = False
        self._arrivals: deque[Message] = deque()
        self._link_messages: deque[Message] = deque()
        self._refusals: deque[Message] = deque(maxlen=MAX_REFUSALS)
        self._is_released = False
        self._heartbeat: Heartbeat | None = None
        self._reading = threading.RLock()  # held to read, and to change what has arrived and the rooms
        self._wakeup = Wakeup()
        self._request_numbers = count()
        self._poll = select.poll()
        for source in (self._link, PROCESS.fileno(), self._wakeup.fileno()):
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
        limit = reply.get(handshake.SILENCE)
        if isinstance(limit, int | float) and limit > 0:
            self._link.silence_limit = limit
            self._beat()  # from the first one on, the server expects others
            self._heartbeat = Heartbeat(self._beat, limit / BEATS)

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
            with self._reading:
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
                rest = rest[self._link.socket.send(rest) :]
            except BlockingIOError:
                deadline = deadline or running_time() + SEND_TIMEOUT
                try:
                    self._wait_until_writable(deadline)
                except WaitTimeout:
                    if len(rest) < len(frame):
                        self._link.give_up()
                    raise
            except OSError as error:
                self._read()
                self._link.lose(error)
                raise self._lost_error() from None

    def _wait_until_writable(self, deadline: float) -> None:
        """Wait until the server reads more; read meanwhile, since it may be waiting for that."""
        left = deadline - running_time()
        if left <= 0:
            raise WaitTimeout(
                f"{self._name!r} waited {SEND_TIMEOUT:g} s for the server at {format_address(self._address)} to read"
            )
        poll = select.poll()
        read_event = select.POLLIN if self._link.unread_bytes < BACKLOG_BYTES else 0
        poll.register(self._link, select.POLLOUT | read_event)
        poll.register(PROCESS.fileno(), select.POLLIN)
        for source, events in poll.poll(1000 * sleep_of(left)):
            if source != self._link.fileno():
                PROCESS.handle_events()
            elif events & ~select.POLLOUT:
                self._read()

    def _beat(self) -> None:
        """Let the server hear this client, unless another thread sends now: then it is heard anyway."""
        if self.sending.acquire(blocking=False):
            try:
                if not self.closed and not self._link.is_lost and is_writable(self._link.socket):
                    with contextlib.suppress(SwarmError):
                        self._transmit(link_message(handshake.BEAT))
            finally:
                self.sending.release()

    # --- receiving

    def receive(self, timeout: float) -> Message:
        deadline = running_time() + timeout
        while not self.closed:
            if self._arrivals:
                return self._arrivals.popleft()
            self._link.unread_bytes = 0
            left = deadline - running_time()
            if left <= 0:
                raise WaitTimeout(f"{self._name!r} waited {timeout:g} s for a message and none came")
            self._wait(left)
        raise self._closed_error()

    def _wait(self, seconds: float) -> None:
        """Wait at most `seconds` for the server or for events of this process, and handle them."""
        if self._link.is_lost:
            raise self._lost_error()
        seconds = min(seconds, self._link.silence_limit / BEATS)
        self._wakeup.is_awaited = True
        is_needless = self._arrivals or self.closed
        ready = None if is_needless else poll_with_spin(self._poll, seconds)
        self._wakeup.is_awaited = False
        if ready is not None:
            self._handle_events(ready, seconds)

    def _handle_events(self, ready: list[tuple[int, int]], seconds: float) -> None:
        """Handle the events of a wait of `seconds`, or the silence."""
        if not ready:
            self._link.add_silence(seconds)
        for source, _ in ready:
            if source == self._wakeup.fileno():
                self._wakeup.clear()
            elif source == PROCESS.fileno():
                PROCESS.handle_events()
            elif not self.closed:
                self._read()

    def _read(self) -> None:
        """Handle all that has arrived, without waiting."""
        with self._reading:
            for body in self._link.read():
                self._handle_body(body)
            if self._arrivals:
                self._wakeup.set()

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
        if message["LINK"] == handshake.BEAT:
            return
        if message["LINK"] == handshake.ECHO and message.get("ECHO") != self.id:
            return  # of another client of this name
        if message["LINK"] == handshake.WELCOME:  # at once, since changes of these rooms may follow in the same read
            self._is_extended, self._rooms = True, decode_rooms(message["ROOMS"])
            self._link.is_plain = False
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
            self._wait_for_reply(min(left, REPLY_PAUSE))

    def _wait_for_reply(self, seconds: float) -> None:
        """Wait at most `seconds` for the server, which another thread may read."""
        if self._link.is_lost or self.closed:
            raise self._lost_error()
        poll = select.poll()
        for source in (self._link, PROCESS.fileno()):
            poll.register(source, select.POLLIN)
        for source, _ in poll_with_spin(poll, seconds):
            if source == PROCESS.fileno():
                PROCESS.handle_events()
            else:
                self._read()

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
            self._request(TAKE_OUT=process_id_prefix(process_id))

    # --- closing

    def _closed_error(self) -> LinkClosed:
        event = "has left the swarm" if self.closed else f"lost its link: {self._link.lost_reason}"
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

    def leave(self) -> None:
        super().leave()
        self._wakeup.set()

    def close(self) -> None:
        if self._is_released:
            return
        self.closed = True
        PROCESS.forget_resource(self)
        self.rejections.close()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if not self._link.is_lost:
            self._link.linger()
        self._release()

    def _release(self) -> None:
        self.closed = self._is_released = True
        self._wakeup.close()
        self._link.socket.close()
