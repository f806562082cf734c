"""The state of this process: events that interrupt each of its waits, and resources to release after a fork.

A launcher must notice when a component fails; a component must notice when its launcher ends or asks it to stop.
Both are events on file descriptors that each wait of the process includes.
"""

import contextlib
import os
import select
import selectors
import time
from collections.abc import Callable, Hashable

from swarmsim.errors import WaitTimeout

# Busy-wait before sleeping: waking up costs more than most waits within a step last.
SPIN_SECONDS = 0.0005

# Longest single sleep: a signal that arrives just before the system call does not interrupt it.
SLEEP_SECONDS = 1.0


class ProcessContext:
    """The state of this process that a fork must reset."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._resources: dict[Hashable, Callable[[], None]] = {}
        self._closers: dict[Hashable, Callable[[], None]] = {}
        self._on_ready: Callable[[], None] | None = None
        self.is_component = False  # whether a launcher made this process for a component

    def fileno(self) -> int:
        """Return a descriptor that is readable while an event is pending."""
        return self._selector.fileno()

    def add_reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call `callback` in each wait of this process while `descriptor` is readable; it may raise to end the wait."""
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def remove_reader(self, descriptor: int) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)

    def handle_events(self) -> None:
        """Call the callbacks of all pending events."""
        for key, _ in self._selector.select(0):
            key.data()

    def wait(self, timeout: float, waited_for: str, until: Callable[[], bool] = lambda: False) -> None:
        """Wait until `until()` is true, checked after each event; raises WaitTimeout after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"waited {timeout:g} s for {waited_for}")
            for key, _ in self._selector.select(min(left, SLEEP_SECONDS)):
                key.data()

    def release_after_fork(self, resource: Hashable, release: Callable[[], None]) -> None:
        """Call `release` in each process forked from this one, since `resource` belongs to this process only."""
        self._resources[resource] = release

    def forget_resource(self, resource: Hashable) -> None:
        self._resources.pop(resource, None)

    def register_closer(self, resource: Hashable, close: Callable[[], None]) -> None:
        """Call `close` when this component ends, unless `resource` is unregistered before."""
        self._closers[resource] = close

    def unregister_closer(self, resource: Hashable) -> None:
        self._closers.pop(resource, None)

    def closers(self) -> dict[Hashable, Callable[[], None]]:
        """Return the functions to call when this component ends, by resource."""
        return dict(self._closers)

    def begin_child(self, on_ready: Callable[[], None]) -> None:
        """Release the launcher's resources in a process forked from it; `report_ready` calls `on_ready` once."""
        self._selector.close()
        for release in self._resources.values():
            release()
        self._resources, self._closers = {}, {}
        self._selector = selectors.DefaultSelector()
        self._on_ready = on_ready
        self.is_component = True

    def report_ready(self) -> None:
        """Tell the launcher that this process waits for messages; only the first call does."""
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            on_ready()


PROCESS = ProcessContext()


def poll_with_spin(poll: select.poll, seconds: float) -> list[tuple[int, int]]:
    """Return the events of `poll` within `seconds`; busy-wait for `SPIN_SECONDS` before sleeping."""
    end = time.monotonic() + SPIN_SECONDS
    while not (ready := poll.poll(0)) and time.monotonic() < end:
        os.sched_yield()
    end = time.monotonic() + seconds
    while not ready and (left := end - time.monotonic()) > 0:
        ready = poll.poll(1000 * min(left, SLEEP_SECONDS))
    return ready
