"""How much is on its way from each sender to each receiver: counters that both see, one file for each client.

A sender tells its receiver, with each message, how many bytes it has sent there so far; the receiver
writes that down in the sender's file once it has taken the message. What lies between the two is
bounded, so whoever sends faster than a receiver takes waits for it.
"""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from swarmsim.messaging.queues.fragments import id_of_sender

WINDOW_BYTES = 1 << 18
FLOOD_BYTES = WINDOW_BYTES // 2  # who has more than that under way to somebody floods
COUNTED_ROOMS = 64
MOST_RECEIVERS = 1 << 16
MOST_OPEN = 256  # each takes a file descriptor

_BYTES = 8 * (COUNTED_ROOMS + MOST_RECEIVERS)  # a hole in the file but for what is used


class Counters:
    """One client's counters: its deliveries by room, and how far each of its receivers has taken its messages.

    Args:
        path: where they lie.
        own: whether to make the file; a receiver opens the one that its sender has made.

    Raises:
        OSError, ValueError: there is no such file.
    """

    def __init__(self, path: Path, *, own: bool) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if own else 0), 0o600)
        try:
            if own:
                os.ftruncate(descriptor, _BYTES)
            self._shared = mmap.mmap(descriptor, _BYTES)
        finally:
            os.close(descriptor)
        whole = memoryview(self._shared).cast("Q")
        self.deliveries, self.taken = whole[:COUNTED_ROOMS], whole[COUNTED_ROOMS:]
        whole.release()

    def close(self) -> None:
        self.deliveries.release()
        self.taken.release()
        self._shared.close()


class Acknowledgements:
    """What one receiver tells its senders: how far it has taken their messages.

    Args:
        folder: where the files of all clients lie, each by its member id.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._of_sender: dict[int, Counters] = {}

    def tell(self, sender: int, slot: int, position: int) -> None:
        """Let a sender know that all it has sent up to `position` is taken; nothing where it has left no file."""
        counters = self._of_sender.get(sender) or self._counters_of(sender)
        if counters is not None and counters.taken[slot] < position:
            counters.taken[slot] = position

    def _counters_of(self, sender: int) -> Counters | None:
        try:
            counters = Counters(self._folder / id_of_sender(sender), own=False)
        except (FileNotFoundError, ValueError):  # whoever says so is no client, or its file is not ready
            return None
        if len(self._of_sender) >= MOST_OPEN:
            self._of_sender.pop(next(iter(self._of_sender))).close()
        self._of_sender[sender] = counters
        return counters

    def close(self) -> None:
        for counters in self._of_sender.values():
            counters.close()
        self._of_sender.clear()


def delivered(path: Path) -> Sequence[int]:
    """Return how many messages the client whose counters lie at `path` has delivered, by room."""
    with path.open("rb") as file:
        return memoryview(file.read(8 * COUNTED_ROOMS)).cast("Q")
