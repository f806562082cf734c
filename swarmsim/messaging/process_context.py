"""The state of this process: events that interrupt each of its waits, and resources to release after a fork.

A launcher must notice when a component fails; a component must notice when its launcher ends or asks it to stop.
Both are events on file descriptors that each wait of the process includes.
"""

import contextlib
import math
import os
import select
import selectors
import time
from collections.abc import Callable, Hashable
from functools import cached_property

from swarmsim.errors import SwarmError, WaitTimeout

# Busy-wait before sleeping: waking up costs more than most waits within a step last. But no longer than this share of a
# wait with a bound, and not for a while once to yield the core took long twice in short time: then others need it, and
# a process that sleeps gets it sooner than one that yields it.
SPIN_SECONDS, SPIN_SHARE = 0.002, 0.01
LONG_YIELD_SECONDS, SOON_SECONDS, NO_SPIN_SECONDS = 0.001, 0.05, 0.2

# Longest single sleep: a signal that arrives just before the system call does not interrupt it. A wait with a bound
# sleeps shorter, because it has to read the clock often.
SLEEP_SECONDS, BOUNDED_SLEEP_SECONDS = 1.0, 0.05


class RunningTime:
    """A clock of the seconds in which this process ran: it stands still while the process is stopped or gets no core.

    Of the time between two readings, at most `LONGEST_STEP` seconds count. Bounds of waits are measured by it, since
    they are bounds on the silence of others: Ctrl+Z stops them too, together with all that they would have answered.
    """

    LONGEST_STEP = 0.1

    def __init__(self) -> None:
        self._read_at = time.monotonic()
        self._seconds = 0.0

    def __call__(self) -> float:
        now = time.monotonic()
        passed = now - self._read_at
        self._read_at = now
        self._seconds += min(passed, self.LONGEST_STEP)
        return self._seconds


running_time = RunningTime()


def sleep_of(seconds: float) -> float:
    """Return how long a wait of at most `seconds` may sleep until it reads the clock again."""
    return SLEEP_SECONDS if seconds == math.inf else min(seconds, BOUNDED_SLEEP_SECONDS)


class ProcessContext:
    """The state of this process that a fork must reset."""

    def __init__(self) -> None:
        self._resources: dict[Hashable, Callable[[], None]] = {}
        self._closers: dict[Hashable, Callable[[], None]] = {}
        self._on_ready: Callable[[], None] | None = None
        self.is_component = False  # whether a launcher made this process for a component

    @cached_property
    def _selector(self) -> selectors.EpollSelector:  # made late: it must not take the place of a missing stderr
        return selectors.EpollSelector()

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
        deadline = running_time() + timeout
        while not until():
            left = deadline - running_time()
            if left <= 0:
                raise WaitTimeout(f"waited {timeout:g} s for {waited_for}")
            for key, _ in self._selector.select(sleep_of(left)):
                key.data()

    def release_after_fork(self, resource: Hashable, release: Callable[[], None]) -> None:
        """Call `release` in each process forked from this one, also by a user, since `resource` belongs to this one.

        A pipe or a lock that a forked process held open would outlive this one, and tell the others that it lives.
        """
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

    def close_all(self) -> None:
        """Leave as a component; what cannot be said any more is left unsaid."""
        for close in self.closers().values():
            with contextlib.suppress(OSError, SwarmError):
                close()

    def forked(self) -> None:
        """Begin anew in a process that was forked from the one that this state describes."""
        if selector := self.__dict__.pop("_selector", None):
            selector.close()
        for release in self._resources.values():
            with contextlib.suppress(OSError):
                release()
        self._resources, self._closers, self._on_ready = {}, {}, None

    def begin_child(self, on_ready: Callable[[], None]) -> None:
        """Begin as a component: `report_ready` calls `on_ready` once."""
        self._on_ready = on_ready
        self.is_component = True

    def report_ready(self) -> None:
        """Tell the launcher that this process waits for messages; only the first call does."""
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            on_ready()


PROCESS = ProcessContext()
os.register_at_fork(after_in_child=PROCESS.forked)


class Spin:
    """Busy-waits for events, unless others need the core."""

    def __init__(self) -> None:
        self._long_yield_at = self._begins_again_at = -math.inf

    def __call__(self, poll: select.poll, seconds: float) -> list[tuple[int, int]]:
        """Return the events of `poll` that come within `seconds`."""
        now = time.monotonic()
        end = now + seconds
        while self._begins_again_at <= now < end:
            os.sched_yield()
            before, now = now, time.monotonic()
            if now - before > LONG_YIELD_SECONDS:
                if now - self._long_yield_at < SOON_SECONDS:
                    self._begins_again_at = now + NO_SPIN_SECONDS
                self._long_yield_at = now
            if ready := poll.poll(0):
                return ready
        return []


_spin = Spin()


def poll_with_spin(poll: select.poll, seconds: float) -> list[tuple[int, int]]:
    """Return the events of `poll` within `seconds`; busy-wait for a while before sleeping."""
    ready = poll.poll(0) or _spin(poll, min(SPIN_SECONDS, SPIN_SHARE * seconds))
    if ready:
        return ready
    end = running_time() + seconds
    while not ready and (left := end - running_time()) > 0:
        ready = poll.poll(1000 * sleep_of(left))
    return ready
