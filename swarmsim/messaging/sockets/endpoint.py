"""The link between programs, also of several machines: each client has one TCP connection to its swarm's server.

A client of this package knows who is where: the server shows it the rooms as it registers, and each change
of them is said in `_command`. What goes beyond plain JSON messages is told to a server of this package alone. Which
kind of server it is shows at once: one of this package answers REGISTER, and any other returns what a client sends
to its own name.
"""

import contextlib
import errno
import os
import secrets
import select
import socket
import time
from collections import deque
from itertools import count

from swarmsim.errors import AddressError, LinkClosed, MessageError, WaitTimeout
from swarmsim.messaging.endpoint import Address, Endpoint, RejectionLog, format_address
from swarmsim.messaging.message import MESSAGE_TYPE, Message, validate
from swarmsim.messaging.process_context import PROCESS, ready_soon
from swarmsim.messaging.rooms import CHANGES_ROOMS, COMMAND_ROOM, Rooms, apply_command, decode_rooms, receivers
from swarmsim.messaging.sockets.handshake import (
    ANSWER,
    ASK,
    CHALLENGE,
    ECHO,
    EXTENDS,
    MEMBER,
    PROVE,
    REFUSED,
    VERSION,
    WELCOME,
    is_link_message,
    link_message,
    new_nonce,
    proof,
    proves,
    shared_secret,
)
from swarmsim.messaging.sockets.plain_server import complete_mirror, heard
from swarmsim.messaging.sockets.tcp import acknowledge, dial
from swarmsim.messaging.sockets.wire import FrameError, Frames, Wire

REGISTER_SECONDS, SEND_TIMEOUT, ASK_SECONDS = 30.0, 30.0, 30.0
REFUSALS_KEPT = 16
LINGER_SECONDS = 2.0  # for a server to take what was sent last
GRACE_SECONDS = 0.5  # for the launcher to tell, or find out, why the server is gone
READ_BYTES, MOST_READS = 1 << 18, 16
BACKLOG_BYTES = 1 << 26

_COMMAND = MESSAGE_TYPE.COMMAND
_numbers = count()


def _prefix(process_id: int) -> str:
    """Return how the ids of all clients of a process of this host begin."""
    return f"{socket.gethostname()[:200]}-{process_id}-"


class SocketsEndpoint(Endpoint):
    """A client's end of the swarm at a TCP address.

    Args:
        secret: that the server has to share; None for the environment's, if it has one, to a server that asks for it.

    Raises:
        AddressError: nobody serves there.
    """

    def __init__(self, address: Address, name: str, wire: Wire, secret: str | None) -> None:
        self._name = name
        self._address = address
        self._wire = wire
        self._demands_proof = secret is not None
        self._secret = shared_secret(secret)
        self._nonces = "", ""
        self._link = dial(address)
        self.id = f"{_prefix(os.getpid())}{next(_numbers)}.{secrets.token_hex(4)}"
        self.rejections = RejectionLog(name)
        self._frames = Frames(wire, wire.longest)
        self._table = Rooms()
        self._routes: dict[tuple[str | None, str | None], bool] = {}
        self._routes_of = self._table
        self._is_told = False  # who is where: by a server of this package, which also takes arrays
        self._arrivals: deque[Message] = deque()
        self._size = 0
        self._for_this_end: deque[Message] = deque()
        self._refusals: deque[Message] = deque(maxlen=REFUSALS_KEPT)
        self._ended = False
        self._questions = count()
        self._poll = select.poll()
        for source in (self._link, PROCESS.fileno()):
            self._poll.register(source, select.POLLIN)
        PROCESS.release_after_fork(self, self._let_go)

    # --- who is where

    def rooms(self) -> Rooms:
        if not self.closed:
            self._read()
        return self._table

    def gone(self) -> LinkClosed:
        what = "has left the swarm" if self.closed else "lost its link: the server has gone, or dropped it,"
        return LinkClosed(f"{self._name!r} {what} at {format_address(self._address)}")

    # --- coming

    def _register(self, register: Message) -> None:
        """Register, and find out what kind of server this is.

        Raises:
            AddressError: the server asks for a secret that this client does not have, or shares none that it should.
            MessageError: the server refuses it.
        """
        for tries in (1, 2):
            self._introduce(register)
            first = self._reply({WELCOME, CHALLENGE, REFUSED, ECHO}, REGISTER_SECONDS, "answer")
            if first["LINK"] != CHALLENGE:
                break
            if tries == 2 or self._secret is None:
                raise AddressError(
                    f"{format_address(self._address)} asks for a shared secret, and {self._name!r} has none"
                )
            self._nonces = str(first.get("NONCE")), new_nonce()
            shown = proof(self._secret, "client", *self._nonces)
            self._put(link_message(PROVE, NONCE=self._nonces[1], PROOF=shown))
        if first["LINK"] == REFUSED:
            raise MessageError(f"{format_address(self._address)} refuses {self._name!r}: {first.get('ERROR')}")
        self._check_the_server(first)
        if not self._is_told:
            self._table = apply_command(self._table, register, self.id)

    def _introduce(self, register: Message) -> None:
        self._put({**register, EXTENDS: VERSION, MEMBER: self.id})
        self._put({**register, "TYPE": _COMMAND.JOINROOM.id, "ID": f"{self.id}.command", "ROOM": COMMAND_ROOM})
        self._put(link_message(ECHO, TO=self._name, ECHO=self.id))

    def _confirm(self) -> None:
        """Wait until the server has taken all that was sent so far: whoever has joined is there."""
        if self._is_told:
            self._ask()
        else:
            self._put(link_message(ECHO, TO=self._name, ECHO=self.id))
            self._reply({ECHO}, ASK_SECONDS, "return an echo")

    def _check_the_server(self, first: Message) -> None:
        if self._secret is None or not (self._demands_proof or self._nonces[0]):
            return
        if not proves(first.get("PROOF"), self._secret, "server", *self._nonces):
            raise AddressError(f"{format_address(self._address)} does not share the secret of {self._name!r}")

    def _reply(self, kinds: set[str], seconds: float, what: str) -> Message:
        """Return the next message from the server itself that is one of `kinds`; other messages are kept."""
        deadline = time.monotonic() + seconds
        while True:
            while self._for_this_end:
                message = self._for_this_end.popleft()
                if message["LINK"] in kinds:
                    return message
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(
                    f"{self._name!r} waited {seconds:g} s for the server at {format_address(self._address)} to {what}"
                )
            self._wait(left)

    # --- sending

    def send(self, message: Message) -> None:
        if self.closed:
            raise self.gone()
        kind = message["TYPE"]
        if kind == _COMMAND.REGISTER.id:
            self._register(message)
            return
        self._check_receivers(message)
        self._put(message)
        if kind in CHANGES_ROOMS and kind != _COMMAND.DISCONNECT.id:
            self._confirm()
            self._check_refusal(message)
            self._table = apply_command(self._table, message, self.id)

    def _check_refusal(self, message: Message) -> None:
        """Raise MessageError where the server has refused this message."""
        for refusal in self._refusals:
            if refusal.get("ROOT_ID") == message["ID"]:
                raise MessageError(str(refusal.get("ERROR")))

    def _check_receivers(self, message: Message) -> None:
        """Have an unknown room or component be an error here, where the server tells who is where."""
        if not self._is_told:
            return
        if self._table is not self._routes_of:
            self._routes, self._routes_of = {}, self._table
        address = message.get("TO_ROOM"), message.get("TO")
        if address in self._routes:
            return
        try:
            receivers(self._table, message, self.id)
        except MessageError:
            self._ask()  # for what is on its way
            receivers(self._table, message, self.id)
        self._routes[address] = True

    def _put(self, message: Message) -> None:
        """Send a message as one piece, or as several where the server is to get several.

        Raises:
            WaitTimeout: the server did not take it.
        """
        bodies = [self._wire.body(message)] if self._is_told else self._wire.plain_bodies(message)
        for body in bodies:
            self._write(self._wire.frame(body))

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        deadline = 0.0
        while rest:
            try:
                rest = rest[self._link.send(rest) :]
            except BlockingIOError:
                deadline = deadline or time.monotonic() + SEND_TIMEOUT
                self._wait_to_write(deadline)
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                    raise
                self._read()
                raise self._lost() from None

    def _wait_to_write(self, deadline: float) -> None:
        """Wait until the server takes more; what comes meanwhile is taken in, since it may wait for that."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeout(
                f"{self._name!r} waited {SEND_TIMEOUT:g} s for the server at {format_address(self._address)} to read"
            )
        poll = select.poll()
        takes_in = select.POLLIN if self._size < BACKLOG_BYTES else 0
        poll.register(self._link, select.POLLOUT | takes_in)
        poll.register(PROCESS.fileno(), select.POLLIN)
        for source, events in poll.poll(left * 1000):
            if source != self._link.fileno():
                PROCESS.handle_events()
            elif events & ~select.POLLOUT:
                self._read()

    # --- receiving

    def receive(self, timeout: float) -> Message:
        deadline = time.monotonic() + timeout
        while not self.closed:
            if self._arrivals:
                return self._arrivals.popleft()
            self._size = 0
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"{self._name!r} waited {timeout:g} s for a message and none came")
            self._wait(left)
        raise self.gone()

    def _wait(self, seconds: float) -> None:
        """Take in what comes within `seconds`, and notice what this process must."""
        if self._ended:
            raise self._lost()
        for source, _ in ready_soon(self._poll, seconds):
            if source == self._link.fileno():
                self._read()
            else:
                PROCESS.handle_events()

    def _lost(self) -> LinkClosed:
        """Return the error of a lost link, unless it is known within a moment what is behind it."""
        with contextlib.suppress(WaitTimeout):
            PROCESS.wait(GRACE_SECONDS, "what became of the server")
        if self._refusals:
            why = self._refusals[-1].get("ERROR")
            return LinkClosed(
                f"{self._name!r} was dropped by {format_address(self._address)}, which told it last: {why}"
            )
        return self.gone()

    def _read(self) -> None:
        """Take in what has come."""
        for _ in range(MOST_READS):
            try:
                data = self._link.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._ended = True
                return
            if not self._is_told:
                acknowledge(self._link)
            self._size += len(data)
            try:
                for body in self._frames.bodies(data):
                    self._take(body)
            except FrameError as error:
                self.rejections.log("lost its link", str(error))
                self._ended = True
            if len(data) < READ_BYTES:
                return

    def _take(self, body: bytes) -> None:
        try:
            message = self._wire.message(body)
            if is_link_message(message):
                self._take_word_of_the_server(message)
                return
            if not self._is_told:
                complete_mirror(message)
            validate(message)
            if message["TYPE"] in CHANGES_ROOMS:
                self._table = self._changed(message)
        except MessageError as error:
            self.rejections.log("left out what it got", str(error))
            return
        self._arrivals.append(message)

    def _take_word_of_the_server(self, message: Message) -> None:
        if message["LINK"] == ECHO and message.get("ECHO") != self.id:
            return  # of another client of this name
        if message["LINK"] == WELCOME:  # at once: changes of these rooms may have come with it
            self._is_told, self._table = True, decode_rooms(message["ROOMS"])
        if message["LINK"] == REFUSED:
            self._refusals.append(message)
            if self._table.members:
                self.rejections.log("had a message refused", str(message.get("ERROR"))[:500])
        self._for_this_end.append(message)

    def _changed(self, command: Message) -> Rooms:
        if not self._is_told:
            return heard(self._table, command)
        return apply_command(self._table, command, str(command.get(MEMBER)))

    # --- what a server of this package can be asked

    def _ask(self, **fields: object) -> Message:
        """Return the server's answer, to which all is known that it knew."""
        number = next(self._questions)
        self._put(link_message(ASK, NUMBER=number, **fields))
        while True:
            answer = self._reply({ANSWER}, ASK_SECONDS, "answer a question")
            if answer.get("NUMBER") == number:
                return answer

    def unread_members(self) -> list[str]:
        return [str(name) for name in self._ask().get("BEHIND", ())] if self._is_told else []

    def remove_member(self, process_id: int) -> None:
        if self._is_told:
            self._ask(TAKE_OUT=_prefix(process_id))

    # --- leaving

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        PROCESS.forget_resource(self)
        self.rejections.close()
        self._linger()
        self._let_go()

    def _linger(self) -> None:
        """Let the server take what was sent last: closing at once would take back what it has not read."""
        deadline = time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_WR)
            self._link.settimeout(LINGER_SECONDS)
            while self._link.recv(READ_BYTES) and time.monotonic() < deadline:
                pass

    def _let_go(self) -> None:
        self.closed = True
        self._link.close()
