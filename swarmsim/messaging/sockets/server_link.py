"""A client's TCP connection to its server: what arrives by it, and why it was lost."""

import contextlib
import errno
import math
import socket
from collections.abc import Iterator

from swarmsim.messaging.endpoint import Address, RejectionLog
from swarmsim.messaging.process_context import running_time
from swarmsim.messaging.sockets.connection import acknowledge_now, connect_to_server
from swarmsim.messaging.sockets.heartbeat import SILENCE_VARIABLE
from swarmsim.messaging.sockets.wire import FrameDecoder, FrameError, Wire

LINGER_SECONDS = 2.0  # for the server to read the last messages
READ_BYTES, MAX_READS = 1 << 18, 16

_WITHOUT_A_REASON = (errno.EPIPE, errno.ECONNRESET, errno.EBADF)


class ServerLink:
    """A connection to the server at a TCP address; raises AddressError if no server accepts it.

    Attributes:
        socket: non-blocking.
        is_plain: whether the server is none of this package.
        is_lost: whether nothing can be sent or received any more, and `lost_reason` why.
        silence_limit: seconds of waiting without any bytes after which the link counts as lost.
        unread_bytes: how many have arrived since this was set to 0.
    """

    def __init__(self, address: Address, wire: Wire, rejections: RejectionLog) -> None:
        self.socket = connect_to_server(address)
        self.is_plain = True
        self.is_lost = False
        self.lost_reason = "the server has gone, or dropped it,"
        self.silence_limit = math.inf
        self.unread_bytes = 0
        self._silence = 0.0
        self._decoder = FrameDecoder(wire, wire.max_body_bytes)
        self._rejections = rejections

    def fileno(self) -> int:
        return self.socket.fileno()

    def read(self) -> Iterator[bytes]:
        """Return the bodies that have arrived, without waiting."""
        for _ in range(MAX_READS):
            try:
                data = self.socket.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self.lose(error)
                return
            if not data:
                self.is_lost = True
                return
            self._silence = 0.0
            self.unread_bytes += len(data)
            if self.is_plain:
                acknowledge_now(self.socket)
            try:
                yield from self._decoder.feed(data)
            except FrameError as error:
                self._rejections.log("lost its link", str(error))
                self.is_lost = True
            if len(data) < READ_BYTES:
                return

    def add_silence(self, seconds: float) -> None:
        """Count a wait without any bytes; a standstill of this process meanwhile is no part of it."""
        self._silence += seconds
        if self._silence > self.silence_limit:
            limit = f"{self.silence_limit:g} s ({SILENCE_VARIABLE} of the server)"
            self.lost_reason = f"for {limit} nothing arrived from the server"
            self.give_up()

    def give_up(self) -> None:
        """Send nothing any more: the server is gone, or half a frame was sent, which nothing can follow."""
        self.is_lost = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def lose(self, error: OSError) -> None:
        """Give the link up, for the reason that the kernel has."""
        if error.errno not in _WITHOUT_A_REASON:
            self.lost_reason = f"the server cannot be reached ({error.strerror})"
        self.is_lost = True

    def linger(self) -> None:
        """Give the server time to read the last messages, since closing at once would discard them."""
        deadline = running_time() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(LINGER_SECONDS)
            while self.socket.recv(READ_BYTES) and running_time() < deadline:
                pass
