"""`Child`: a component as its launcher sees it, in the launcher's own process or in a separate one."""

import contextlib
import json
import multiprocessing
import os
import signal
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Literal

from swarmsim.errors import ComponentFailed, WaitTimeout, format_traceback
from swarmsim.launcher.child_main import Script, run_component, run_external_script
from swarmsim.messaging.links import served_link
from swarmsim.messaging.process_context import PROCESS

START_SECONDS, KILL_SECONDS = 60.0, 5.0

StartMethod = Literal["fork", "spawn"]
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
        """Ask it to stop, and wait for its end until `deadline` (as `time.monotonic`)."""

    @abstractmethod
    def terminate(self, deadline: float) -> None:
        """Send it SIGTERM if it still runs at `deadline`."""

    @abstractmethod
    def end(self, deadline: float) -> None:
        """Kill it if it still runs at `deadline`, and release its resources."""


class LocalChild(Child):
    """A component in the launcher's process; its handlers are called while the launcher waits for a message."""

    def start(self) -> None:
        before = PROCESS.closers()
        try:
            self.main()
        except (ComponentFailed, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise self.fail(type(error).__name__, str(error), format_traceback(error)) from error
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
    """A component in a separate process."""

    def __init__(self, name: str, target: Script | Callable[[], None], delay: float, start_method: StartMethod) -> None:
        super().__init__(name, target, delay)
        self._context: ForkContext | SpawnContext = (
            multiprocessing.get_context("fork") if start_method == "fork" else multiprocessing.get_context("spawn")
        )
        self._is_script = isinstance(target, Script)
        self._is_external = isinstance(target, Script) and target.is_external
        self._watched: tuple[int, ...] = ()

    def start(self) -> None:
        self.failure, self._watched = None, ()
        self._reports, reports = self._context.Pipe(duplex=False)
        stop_pipe, self._stop_pipe = self._context.Pipe(duplex=False)
        for pipe in (self._reports, self._stop_pipe):
            PROCESS.release_after_fork(pipe, pipe.close)
        self.process = self._make_process(reports, stop_pipe)
        with warnings.catch_warnings():
            # the only threads are those of numpy's matrix library, which ends them itself before a fork
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            try:
                self.process.start()
            except OSError as error:
                raise self.fail("OSError", f"its process cannot be made: {error.strerror}") from None
            finally:
                for pipe in (reports, stop_pipe):
                    pipe.close()
        self.state = "starting"
        self._watched = self._reports.fileno(), self.process.sentinel
        for source, handler in zip(self._watched, (self._read_reports, self._handle_end), strict=True):
            PROCESS.add_reader(source, handler)
        try:
            PROCESS.wait(
                START_SECONDS, f"component {self.name!r} to wait for messages", until=lambda: self.state != "starting"
            )
        except WaitTimeout as error:
            raise self.fail("WaitTimeout", str(error)) from None

    def _make_process(self, reports: Connection, stop_pipe: Connection) -> BaseProcess:
        run: Callable[..., None] = run_external_script if self._is_external else run_component
        target = self.target if self._is_external else self.main
        common = target, reports, stop_pipe, served_link()
        arguments = common if self._is_external else (*common, self._is_script)
        return self._context.Process(target=run, args=arguments, name=f"swarmsim-{self.name}")

    def _read_reports(self) -> None:
        try:
            while self._reports.poll():
                self._handle_report(**json.loads(self._reports.recv_bytes()))
        except EOFError:
            PROCESS.remove_reader(self._reports.fileno())

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
        if self.failure is None:
            self._read_reports()
        if self.state == "left":
            PROCESS.remove_reader(self.process.sentinel)
            self.process.join(KILL_SECONDS)
            return
        if self.failure is None:
            self.process.join(KILL_SECONDS)
            when = "before it waited for a message" if self.state == "starting" else "without leaving the swarm"
            self._handle_failure("ProcessEnded", f"its process {_format_exit(self.process.exitcode)} {when}")
        elif self.on_failure is None:
            raise self.failure

    @property
    def process_id(self) -> int | None:
        return None if self.state in ("new", "stopped") else self.process.pid

    def kill(self, error_type: str, message: str) -> None:
        self.process.kill()
        if self.failure is None:
            self._handle_failure(error_type, message)

    def ask_to_stop(self, deadline: float) -> None:
        self._unwatch()
        PROCESS.forget_resource(self._stop_pipe)
        self._stop_pipe.close()
        self._wait_until(deadline)

    def _wait_until(self, deadline: float) -> None:
        if self._watched and self.state != "failed":
            self.process.join(max(deadline - time.monotonic(), 0.0))

    def terminate(self, deadline: float) -> None:
        self._wait_until(deadline)
        if self.process.is_alive():
            self.process.terminate()

    def end(self, deadline: float) -> None:
        pid = self.process.pid
        self.process.join(max(deadline - time.monotonic(), 0.0))
        if self.process.is_alive():
            self.process.kill()
            self.process.join(KILL_SECONDS)
        if self._is_external and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        PROCESS.forget_resource(self._reports)
        self._reports.close()
        self.process.close()
        self.state = "stopped"


def _format_exit(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with status {exit_code}"
