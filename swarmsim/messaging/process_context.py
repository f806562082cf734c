"""What this process must notice whatever it waits for, and what it must let go of after a fork.

A launcher must notice that a component failed; a component must notice that its launcher asks it to
stop or is gone. Both are file descriptors that every wait of the process includes.
"""

import contextlib
import os
import select
import selectors
import time
from collections.abc import Callable, Hashable

from swarmsim.errors import WaitTimeout

# How long a message is looked for before going to sleep: waking up again costs more than most waits of a step last.
SPIN_SECONDS = 0.0005

# How long one sleep lasts at most: a signal that comes just before the system call that sleeps does not end it.
NAP_SECONDS = 1.0


class ProcessContext:
    """The one state of this process that a fork must reset."""

    def __init__(self) -> None:
        self._watched = selectors.DefaultSelector()
        self._resources: dict[Hashable, Callable[[], None]] = {}
        self._closers: dict[Hashable, Callable[[], None]] = {}
        self._on_ready: Callable[[], None] | None = None

    def fileno(self) -> int:
        """Return a descriptor that is readable while something watched asks to be noticed."""
        return self._watched.fileno()

    def add_reader(self, source: int, notice: Callable[[], None]) -> None:
        """Call `notice` in every wait of this process while `source` is readable; it may raise to end the wait."""
        self._watched.register(source, selectors.EVENT_READ, notice)

    def remove_reader(self, source: int) -> None:
        with contextlib.suppress(KeyError):
            self._watched.unregister(source)

    def handle_events(self) -> None:
        """Call what is due now."""
        for key, _ in self._watched.select(0):
            key.data()

    def wait(self, timeout: float, waited_for: str, until: Callable[[], bool] = lambda: False) -> None:
        """Wait until `until()`, looking again after each notice.

        Raises:
            WaitTimeout: `timeout` seconds passed.
        """
        deadline = time.monotonic() + timeout
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(f"waited {timeout:g} s for {waited_for}")
            for key, _ in self._watched.select(min(left, NAP_SECONDS)):
                key.data()

    def release_after_fork(self, resource: Hashable, let_go: Callable[[], None]) -> None:
        """Have processes forked from this one `let_go` of `resource`, since it is this process's alone."""
        self._resources[resource] = let_go

    def forget_resource(self, resource: Hashable) -> None:
        self._resources.pop(resource, None)

    def register_closer(self, resource: Hashable, farewell: Callable[[], None]) -> None:
        """Have `farewell` called when this component ends, unless `resource` was closed before."""
        self._closers[resource] = farewell

    def unregister_closer(self, resource: Hashable) -> None:
        """Take back a promise that has been kept."""
        self._closers.pop(resource, None)

    def closers(self) -> dict[Hashable, Callable[[], None]]:
        """Return what is promised for this component's end."""
        return dict(self._closers)

    def begin_child(self, on_ready: Callable[[], None]) -> None:
        """Drop what was the launcher's in a process just forked from it; `on_ready` is called once by `ready`."""
        self._watched.close()
        for let_go in self._resources.values():
            let_go()
        self._resources, self._closers = {}, {}
        self._watched = selectors.DefaultSelector()
        self._on_ready = on_ready

    def report_ready(self) -> None:
        """Tell the launcher, once, that this process waits for messages."""
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            on_ready()


PROCESS = ProcessContext()


def ready_soon(poll: select.poll, seconds: float) -> list[tuple[int, int]]:
    """Return what is ready in `poll`, within `seconds`; look for it a moment before going to sleep."""
    end = time.monotonic() + SPIN_SECONDS
    while not (ready := poll.poll(0)) and time.monotonic() < end:
        os.sched_yield()
    end = time.monotonic() + seconds
    while not ready and (left := end - time.monotonic()) > 0:
        ready = poll.poll(1000 * min(left, NAP_SECONDS))
    return ready
