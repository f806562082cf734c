"""`Child`: a component as its launcher sees it, in the launcher's own process or in a separate one."""

import contextlib
import errno
import json
import os
import resource
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Literal

from swarmsim.config import Config
from swarmsim.errors import ComponentFailed, WaitTimeout, explain, format_traceback
from swarmsim.launcher.child_main import Script, run_component, run_external_script
from swarmsim.launcher.process import Main, StartMethod, WatchedProcess, format_exit
from swarmsim.messaging.links import served_link
from swarmsim.messaging.process_context import PROCESS

State = Literal["new", "starting", "ready", "left", "failed", "stopped"]


class Child(ABC):
    """One component of a swarm, as its launcher sees it.

    Attributes:
        target: the script or function that it runs.
        delay: seconds to wait after its start.
        state: `left` means that a script closed its clients and ended.
        failure: its last failure.
        on_failure: called when it fails after its start; if None, the launcher's current wait raises the failure.
    """

    def __init__(self, name: str, target: Script | Callable[[], None], delay: float) -> None:
        self.name = name
        self.target = target
        self.delay = delay
        self.state: State = "new"
        self.failure: ComponentFailed | None = None
        self.on_failure: Callable[[Child], None] | None = None

    @property
    def process_id(self) -> int | None:
        """The id of its separate process, if it has one."""
        return None

    @property
    def main(self) -> Callable[[], None]:
        """The function to call when this Python runs it."""
        return self.target.run if isinstance(self.target, Script) else self.target

    @property
    def is_running(self) -> bool:
        return self.state in ("starting", "ready")

    def fail(self, error_type: str, message: str, traceback_text: str = "") -> ComponentFailed:
        """Mark this component as failed, and return the failure."""
        self.state = "failed"
        self.failure = ComponentFailed(self.name, error_type, message, traceback_text)
        return self.failure

    @abstractmethod
    def start(self) -> None:
        """Start it, and return when it waits for messages.

        Raises:
            ComponentFailed: it failed or was not ready in time, or another component of this launcher failed.
        """

    @abstractmethod
    def kill(self, error_type: str, message: str) -> None:
        """Kill it, and mark it as failed."""

    @abstractmethod
    def ask_to_stop(self, deadline: float) -> None:
        """Ask it to stop, and wait for its end until `deadline` (as `running_time`)."""

    @abstractmethod
    def terminate(self, deadline: float) -> None:
        """Send it SIGTERM if it still runs at `deadline`."""

    @abstractmethod
    def end(self, deadline: float) -> None:
        """Kill it if it still runs at `deadline`, and release its resources."""


class LocalChild(Child):
    """A component in the launcher's process; its handlers are called while the launcher waits for a message."""

    _closers: Mapping[Hashable, Callable[[], None]] = {}

    def start(self) -> None:
        before = PROCESS.closers()
        try:
            self.main()
        except (ComponentFailed, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise self.fail(type(error).__name__, explain(error), format_traceback(error)) from error
        finally:
            closers = PROCESS.closers()
            self._closers = {key: closers[key] for key in closers.keys() - before.keys()}
        if not self._closers:
            raise self.fail("ProcessEnded", "it ended before it waited for a message")
        self.state = "ready"

    def kill(self, error_type: str, message: str) -> None:
        raise self.fail(error_type, message)

    def ask_to_stop(self, deadline: float) -> None:
        self.end(deadline)

    def terminate(self, deadline: float) -> None:
        self.end(deadline)

    def end(self, deadline: float) -> None:
        for key, close in self._closers.items():
            if key in PROCESS.closers():
                close()
        self.state = "stopped"


class ChildProcess(Child):
    """A component in a separate process.

    Args:
        start_timeout: seconds in which it has to start.
    """

    def __init__(
        self,
        name: str,
        target: Script | Callable[[], None],
        delay: float = 0.0,
        start_method: StartMethod = "fork",
        start_timeout: float = Config.start_timeout,
    ) -> None:
        super().__init__(name, target, delay)
        self.start_timeout = start_timeout
        self.process: WatchedProcess | None = None
        self._start_method: StartMethod = start_method
        self._watched: tuple[int, ...] = ()

    def start(self) -> None:
        self.failure = None
        try:
            self.process = process = WatchedProcess(self._main(), self.name, self._start_method)
        except OSError as error:
            raise self.fail("OSError", f"its process cannot be made: {_refusal(error)}") from None
        self.state = "starting"
        self._watched = process.reports.fileno(), process.end
        for source, handler in zip(self._watched, (self._read_reports, self._handle_end), strict=True):
            PROCESS.add_reader(source, handler)
        awaited = f"component {self.name!r} to wait for messages"
        try:
            PROCESS.wait(self.start_timeout, awaited, until=lambda: self.state != "starting")
        except WaitTimeout as error:
            raise self.fail("WaitTimeout", f"{error}; the setting start_timeout bounds this") from None

    def _main(self) -> Main:
        if isinstance(self.target, Script) and self.target.is_external:
            return partial(run_external_script, self.target, served_link())
        return partial(run_component, self.main, served_link(), isinstance(self.target, Script))

    @property
    def _running(self) -> WatchedProcess:
        assert self.process is not None
        return self.process

    def _read_reports(self) -> None:
        reports = self._running.reports
        try:
            while reports.poll():
                self._handle_report(**json.loads(reports.recv_bytes()))
        except (EOFError, OSError):  # the process has ended, perhaps within a report
            PROCESS.remove_reader(reports.fileno())

    def _handle_report(self, event: str, **failure: str) -> None:
        if event == "failed":
            self._handle_failure(**failure)
        elif event == "ready":
            self.state = "ready"
        elif event == "left" and self.state == "ready":
            self.state = "left"

    def _handle_failure(self, error_type: str, message: str, traceback_text: str = "") -> None:
        """Raise a failure during the start, or if nobody handles later ones; else call `on_failure`."""
        was_starting = self.state == "starting"
        failure = self.fail(error_type, message, traceback_text)
        if was_starting or self.on_failure is None:
            raise failure
        self._unwatch()
        self.on_failure(self)

    def _unwatch(self) -> None:
        for source in self._watched:
            PROCESS.remove_reader(source)

    def _handle_end(self) -> None:
        """Report an unexpected end of the process, in every wait until the component is stopped."""
        process = self._running
        if self.failure is None:
            self._read_reports()
        if self.state == "left":
            PROCESS.remove_reader(process.end)
            process.exit_code()
        elif self.failure is None:
            when = "before it waited for a message" if self.state == "starting" else "without leaving the swarm"
            self._handle_failure("ProcessEnded", f"its process {format_exit(process.exit_code())} {when}")
        elif self.on_failure is None:
            raise self.failure

    @property
    def process_id(self) -> int | None:
        return None if self.process is None else self.process.pid

    def kill(self, error_type: str, message: str) -> None:
        self._running.kill()
        if self.failure is None:
            self._handle_failure(error_type, message)

    def ask_to_stop(self, deadline: float) -> None:
        if self.process is not None:
            self._unwatch()
            self.process.ask_to_stop()
            self._wait_until(deadline)

    def _wait_until(self, deadline: float) -> None:
        if self.state != "failed":
            self._running.wait(deadline)

    def terminate(self, deadline: float) -> None:
        if self.process is not None:
            self._wait_until(deadline)
            self.process.terminate()

    def end(self, deadline: float) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.wait(deadline)
            pid = process.pid
            process.close()
            if isinstance(self.target, Script) and self.target.is_external and pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
        self.state = "stopped"


def _refusal(error: OSError) -> str:
    """Return why a process could not be made."""
    if error.errno != errno.EAGAIN:
        return explain(error)
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    limited = "" if limit == resource.RLIM_INFINITY else f" a user may have {limit} (ulimit -u);"
    return f"{error.strerror}: the machine or its container allows no more processes;{limited} use fewer workers"
