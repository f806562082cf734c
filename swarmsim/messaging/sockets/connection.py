"""One connection of a server: what has come of it, and what is still to go out."""

import select
import socket
import time
from collections import deque
from collections.abc import Iterator

from swarmsim.messaging.sockets.tcp import acknowledge
from swarmsim.messaging.sockets.wire import Frames, Wire

BACKLOG_BYTES = 1 << 26
LONGEST_OF_A_STRANGER = 1 << 22
READ_BYTES = 1 << 16


class Connection:
    """Somebody who has connected, a stranger until registered.

    Attributes:
        number: of the connection, counted by its server.
        host: from where it came, as the machine's address.
        member_id: where it has registered.
        is_plain: whether it has announced nothing of this package.
        challenge: the number that it has to answer; empty where it has not been asked to, or has proved itself.
        since: when it connected, as `time.monotonic`.
        backlog: bytes that are still to go out.
    """

    def __init__(self, number: int, link: socket.socket, host: str, wire: Wire) -> None:
        link.setblocking(False)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = number
        self.link = link
        self.host = host
        self.member_id: str | None = None
        self.name = "a stranger"
        self.is_plain = True
        self.challenge = ""
        self.answer = ""
        self.proven = False
        self.ends = False
        self.since = time.monotonic()
        self.backlog = 0
        self._wire = wire
        self._frames = Frames(wire, min(LONGEST_OF_A_STRANGER, wire.longest))
        self._waiting: deque[memoryview] = deque()

    def fileno(self) -> int:
        return self.link.fileno()

    def registered(self, member_id: str, name: str, *, is_plain: bool) -> None:
        """Be a member from now on, whose messages can be as long as the wire allows."""
        self.member_id, self.name, self.is_plain = member_id, name, is_plain
        self._frames.longest = self._wire.longest

    def read(self) -> Iterator[bytes] | None:
        """Return the bodies that are whole with what has come; None where the other end has closed.

        Raises:
            FrameError: what came is no frame (while the bodies are taken).
        """
        try:
            data = self.link.recv(READ_BYTES)
        except BlockingIOError:
            return iter(())
        except OSError:
            return None
        if not data:
            return None
        if self.is_plain:
            acknowledge(self.link)
        return self._frames.bodies(data)

    def put(self, frame: bytes) -> None:
        """Send a frame, or as much of it as the other end takes now; the rest waits for `flush`."""
        self._waiting.append(memoryview(frame))
        self.backlog += len(frame)
        if len(self._waiting) == 1:
            self.flush()

    def flush(self) -> None:
        """Send of what waits as much as the other end takes now; to one that is gone, nothing."""
        while self._waiting:
            first = self._waiting[0]
            try:
                if self.is_plain and not _is_writable(self.link):
                    return  # it could not bear a header that comes in two
                sent = self.link.send(first)
            except BlockingIOError:
                return
            except OSError:
                self.ends = True
                self._waiting.clear()
                self.backlog = 0
                return
            self.backlog -= sent
            if sent == len(first):
                self._waiting.popleft()
            else:
                self._waiting[0] = first[sent:]
                return

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for it that it is to be dropped."""
        return self.backlog > BACKLOG_BYTES

    def close(self) -> None:
        self.link.close()


def _is_writable(link: socket.socket) -> bool:
    poll = select.poll()
    poll.register(link, select.POLLOUT)
    return bool(poll.poll(0))
