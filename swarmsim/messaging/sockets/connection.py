"""TCP sockets, and the server's side of one connection with its receive buffer and its send queue."""

import contextlib
import errno
import select
import socket
from collections import deque
from collections.abc import Iterator

from swarmsim.errors import AddressError
from swarmsim.messaging.endpoint import Address, format_address
from swarmsim.messaging.process_context import running_time
from swarmsim.messaging.sockets.heartbeat import limit_unacknowledged, probe_peer, silence_seconds
from swarmsim.messaging.sockets.wire import FrameDecoder, Wire

CONNECT_SECONDS = 10.0
LISTEN_BACKLOG = 4096
BACKLOG_BYTES = 1 << 26
MAX_UNREGISTERED_BODY_BYTES = 1 << 22
READ_BYTES = 1 << 16

_VANISHED = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


def listen(address: Address) -> socket.socket:
    """Return a non-blocking socket that listens at a TCP address; raises AddressError if that is in use or invalid."""
    server, port = address
    if not isinstance(server, str) or isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 1 << 16:
        raise AddressError(f"an address is a host name and a port number below 65536, not {server!r} and {port!r}")
    try:
        family = socket.getaddrinfo(server or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listener = socket.create_server((server, port), family=family, backlog=LISTEN_BACKLOG)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise AddressError(f"{format_address(address)} is already served by another program") from None
        raise AddressError(f"{format_address(address)} cannot be served: {_reason(error)}") from None
    listener.setblocking(False)
    return listener


def connect_to_server(address: Address) -> socket.socket:
    """Return a non-blocking connection without Nagle's delay; raises AddressError if no server accepts it."""
    try:
        link = socket.create_connection(address, timeout=CONNECT_SECONDS)
    except (OSError, UnicodeError, OverflowError, TypeError) as error:
        raise AddressError(
            f"no swarm runs at {format_address(address)} ({_reason(error)}): "
            "start its Server first, or check the address"
        ) from None
    _disable_delays(link)
    seconds = silence_seconds()
    probe_peer(link, seconds)
    limit_unacknowledged(link, seconds)
    return link


def acknowledge_now(link: socket.socket) -> None:
    """Send the pending TCP acknowledgement: a peer that sends header and body separately waits for it in between."""
    if hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _disable_delays(link: socket.socket) -> None:
    link.setblocking(False)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class Connection:
    """A client's connection as the server sees it, from `accept` until it is closed.

    Attributes:
        number, host: the server's number for it, and the peer's IP address.
        connected_at: as `running_time`.
        member_id: the id of the member that has registered on it; None before.
        is_plain: whether the peer has not announced this package's extensions.
        server_nonce, client_nonce: of the server's challenge and the client's response; empty before.
        is_authenticated: whether the client has proved that it knows the shared secret.
        is_closing: whether the server closes it as soon as the current event is handled.
        backlog: bytes in the send queue.
        beats: whether the peer sends a BEAT, and so is never silent for long.
        silence: for how many seconds nothing has arrived, as far as the server has looked.
        break_reason: why the kernel has broken the connection; empty if it has not.
    """

    def __init__(self, number: int, link: socket.socket, host: str, wire: Wire, silence_limit: float) -> None:
        _disable_delays(link)
        probe_peer(link, silence_limit)
        self.number = number
        self.link = link
        self.host = host
        self.connected_at = running_time()
        self.member_id: str | None = None
        self.name = "a stranger"  # sent on the wire
        self.is_plain = True
        self.server_nonce = self.client_nonce = ""
        self.is_authenticated = self.is_closing = False
        self.backlog = 0
        self.beats = False
        self.silence = 0.0
        self.break_reason = ""
        self._silence_limit = silence_limit
        self._wire = wire
        self._decoder = FrameDecoder(wire, min(MAX_UNREGISTERED_BODY_BYTES, wire.max_body_bytes))
        self._send_queue: deque[memoryview] = deque()

    def fileno(self) -> int:
        return self.link.fileno()

    def set_member(self, member_id: str, name: str, *, is_plain: bool) -> None:
        """Record the member that has registered, and accept bodies as long as the wire allows from now on."""
        self.member_id, self.name, self.is_plain = member_id, name, is_plain
        self._decoder.max_body_bytes = self._wire.max_body_bytes
        if is_plain:
            limit_unacknowledged(self.link, self._silence_limit)

    def read(self) -> Iterator[bytes] | None:
        """Return the bodies that are complete now, None if the peer has closed; iterating may raise FrameError."""
        try:
            data = self.link.recv(READ_BYTES)
        except BlockingIOError:
            return iter(())
        except OSError as error:
            if error.errno in _VANISHED:
                self.break_reason = str(error.strerror)
            return None
        if not data:
            return None
        self.silence = 0.0
        if self.is_plain:
            acknowledge_now(self.link)
        return self._decoder.feed(data)

    def send(self, frame: bytes) -> None:
        """Send a frame, or as much of it as the socket accepts now; the rest is queued for `flush`."""
        self._send_queue.append(memoryview(frame))
        self.backlog += len(frame)
        if len(self._send_queue) == 1:
            self.flush()

    def flush(self) -> None:
        """Send as much of the queue as the socket accepts now; discard the queue if the peer is gone."""
        while self._send_queue:
            first = self._send_queue[0]
            try:
                if self.is_plain and not is_writable(self.link):
                    return  # a client of the reference cannot read a header that arrives in two parts
                sent = self.link.send(first)
            except BlockingIOError:
                return
            except OSError:
                self.is_closing = True
                self._send_queue.clear()
                self.backlog = 0
                return
            self.backlog -= sent
            if sent == len(first):
                self._send_queue.popleft()
            else:
                self._send_queue[0] = first[sent:]
                return

    @property
    def is_over_limit(self) -> bool:
        """Whether the send queue is so long that the server drops the connection."""
        return self.backlog > BACKLOG_BYTES

    def close(self) -> None:
        self.link.close()


def is_writable(link: socket.socket) -> bool:
    """Return whether a small frame can be sent whole, without waiting."""
    poll = select.poll()
    poll.register(link, select.POLLOUT)
    return bool(poll.poll(0))
