"""Flow control: shared counters of the bytes that each receiver has acknowledged, one file for each sender.

Each message carries the number of bytes sent to its receiver so far. The receiver acknowledges the message by writing
this number into the sender's file. A sender has at most one window of unacknowledged bytes for each receiver, so a
sender that is faster than its receiver waits for it (backpressure).
"""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from swarmsim.messaging.queues.fragments import member_id_of

WINDOW_BYTES = 1 << 18
FLOOD_BYTES = WINDOW_BYTES // 2  # a sender with more unacknowledged bytes at one receiver floods
COUNTED_ROOMS = 64
MAX_RECEIVERS = 1 << 16
MAX_OPEN_FILES = 256

FIRST_BYTES = mmap.PAGESIZE  # of a file, which doubles when it holds the counters of no further receiver


class Counters:
    """One sender's counters, in a file that is shared with its receivers, and whose space on the disk is reserved.

    Args:
        path: of the file.
        create: whether to create the file (the sender), or to open it (a receiver).

    Attributes:
        deliveries: how many messages the sender has delivered, by room.
        acknowledged: the position up to which each receiver has acknowledged, by slot.

    Raises:
        OSError, ValueError: there is no such file, it is too short, or the disk is full.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self._path = path
        self._map(FIRST_BYTES if create else 0)

    def _map(self, reserved: int) -> None:
        """Map the whole file, after it has `reserved` bytes."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if reserved else 0), 0o600)
        try:
            if reserved:
                os.posix_fallocate(descriptor, 0, reserved)  # writing to a hole of a full disk kills by SIGBUS
            self._shared = mmap.mmap(descriptor, max(FIRST_BYTES, os.fstat(descriptor).st_size))
        finally:
            os.close(descriptor)
        whole = memoryview(self._shared).cast("Q")
        self.deliveries, self.acknowledged = whole[:COUNTED_ROOMS], whole[COUNTED_ROOMS:]
        whole.release()

    def reserve(self, slot: int) -> None:
        """Have counters up to `slot` for a new receiver; raises OSError if the disk is full."""
        size = len(self._shared)
        while slot >= size // 8 - COUNTED_ROOMS:
            size *= 2
        if size > len(self._shared):
            smaller, views = self._shared, (self.deliveries, self.acknowledged)
            self._map(size)
            for view in views:
                view.release()
            smaller.close()
        self.acknowledged[slot] = 0

    def close(self) -> None:
        self.deliveries.release()
        self.acknowledged.release()
        self._shared.close()


class Acknowledgements:
    """Writes one receiver's acknowledgements into its senders' counters: the files in `folder`, named by member id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._of_sender: dict[int, Counters] = {}

    def acknowledge(self, sender: int, slot: int, position: int) -> None:
        """Acknowledge all bytes of a sender up to `position`; do nothing if the sender has no file."""
        counters = self._of_sender.get(sender)
        if counters is None or slot >= len(counters.acknowledged):
            counters = self._open_counters(sender)
        if counters is not None and slot < len(counters.acknowledged) and counters.acknowledged[slot] < position:
            counters.acknowledged[slot] = position

    def _open_counters(self, sender: int) -> Counters | None:
        try:
            counters = Counters(self._folder / member_id_of(sender), create=False)
        except (FileNotFoundError, ValueError):  # a forged sender number, or a file that is not complete yet
            return None
        if sender in self._of_sender:  # mapped before the sender reserved more
            self._of_sender.pop(sender).close()
        elif len(self._of_sender) >= MAX_OPEN_FILES:
            self._of_sender.pop(next(iter(self._of_sender))).close()
        self._of_sender[sender] = counters
        return counters

    def close(self) -> None:
        for counters in self._of_sender.values():
            counters.close()
        self._of_sender.clear()


def read_deliveries(path: Path) -> Sequence[int]:
    """Return how many messages the client with the counters at `path` has delivered, by room."""
    with path.open("rb") as file:
        return memoryview(file.read(8 * COUNTED_ROOMS)).cast("Q")
