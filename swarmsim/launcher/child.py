"""`Child`: one part of a swarm as its launcher sees it, in this process or in one of its own."""

import contextlib
import json
import multiprocessing
import os
import signal
import time
import traceback
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Literal

from swarmsim.errors import ComponentFailed, WaitTimeout
from swarmsim.launcher.child_main import Script, component_process, foreign_script
from swarmsim.messaging.links import served_link
from swarmsim.messaging.process_context import PROCESS

START_SECONDS, KILL_SECONDS = 60.0, 5.0

StartMethod = Literal["fork", "spawn"]
State = Literal["new", "starting", "ready", "left", "failed", "stopped"]


class Child(ABC):
    """One component of a swarm, as its launcher sees it.

    Attributes:
        target: what it runs.
        delay: seconds to wait after its start.
        state: `left` is the end of a script that had itself closed its clients.
        failure: how it failed, where it did.
        on_failure: told of a failure after its start; None has it raised by what this process waits in.
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
        """The process that it runs in; None where that is this one, or there is none."""
        return None

    @property
    def main(self) -> Callable[[], None]:
        """What it runs where this Python runs it."""
        return self.target.run if isinstance(self.target, Script) else self.target

    @property
    def runs(self) -> bool:
        return self.state in ("starting", "ready")

    def fail(self, error_type: str, message: str, traceback_text: str = "") -> ComponentFailed:
        """Return the failure that this component now has."""
        self.state = "failed"
        self.failure = ComponentFailed(self.name, error_type, message, traceback_text)
        return self.failure

    @abstractmethod
    def start(self) -> None:
        """Start it, and return when it waits for messages.

        Raises:
            ComponentFailed: it, or another component of this launcher, failed meanwhile.
            WaitTimeout: it did not come so far.
        """

    @abstractmethod
    def kill(self, error_type: str, message: str) -> None:
        """End it at once, wherever it is, as one that has failed."""

    @abstractmethod
    def ask_to_stop(self, deadline: float) -> None:
        """Ask it to stop, and wait for that until `deadline` (as `time.monotonic`)."""

    @abstractmethod
    def terminate(self, deadline: float) -> None:
        """Have it end after `deadline`, as far as it lets itself."""

    @abstractmethod
    def end(self, deadline: float) -> None:
        """Have nothing of it left after `deadline`."""


class LocalChild(Child):
    """A component inside this process: its handlers are called while this process waits for a message."""

    def start(self) -> None:
        before = PROCESS.closers()
        try:
            self.main()
        except (ComponentFailed, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise self.fail(type(error).__name__, str(error), traceback.format_exc()) from error
        finally:
            promised = PROCESS.closers()
            self._farewells = {key: promised[key] for key in promised.keys() - before.keys()}
        if not self._farewells:
            raise self.fail("ProcessEnded", "it ended before it waited for a message")
        self.state = "ready"

    def kill(self, error_type: str, message: str) -> None:
        raise self.fail(error_type, message)

    def ask_to_stop(self, deadline: float) -> None:
        self.end(deadline)

    def terminate(self, deadline: float) -> None:
        self.end(deadline)

    def end(self, deadline: float) -> None:
        for key, farewell in self._farewells.items():
            if key in PROCESS.closers():
                farewell()
        self.state = "stopped"


class ChildProcess(Child):
    """A component in a process of its own."""

    def __init__(self, name: str, target: Script | Callable[[], None], delay: float, start_method: StartMethod) -> None:
        super().__init__(name, target, delay)
        self._context: ForkContext | SpawnContext = (
            multiprocessing.get_context("fork") if start_method == "fork" else multiprocessing.get_context("spawn")
        )
        self._is_script = isinstance(target, Script)
        self._is_foreign = isinstance(target, Script) and target.is_foreign
        self._watched: tuple[int, ...] = ()

    def start(self) -> None:
        self.failure, self._watched = None, ()
        self._reports, reports = self._context.Pipe(duplex=False)
        lifeline, self._lifeline = self._context.Pipe(duplex=False)
        for own in (self._reports, self._lifeline):
            PROCESS.release_after_fork(own, own.close)
        self.process = self._make_process(reports, lifeline)
        with warnings.catch_warnings():
            # the only threads are those of numpy's matrix library, which ends them itself before a fork
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            try:
                self.process.start()
            except OSError as error:
                raise self.fail("OSError", f"its process cannot be made: {error.strerror}") from None
            finally:
                for its in (reports, lifeline):
                    its.close()
        self.state = "starting"
        self._watched = self._reports.fileno(), self.process.sentinel
        for source, notice in zip(self._watched, (self._read_reports, self._process_ended), strict=True):
            PROCESS.add_reader(source, notice)
        try:
            PROCESS.wait(
                START_SECONDS, f"component {self.name!r} to wait for messages", until=lambda: self.state != "starting"
            )
        except WaitTimeout as error:
            raise self.fail("WaitTimeout", str(error)) from None

    def _make_process(self, reports: Connection, lifeline: Connection) -> BaseProcess:
        run: Callable[..., None] = foreign_script if self._is_foreign else component_process
        what = self.target if self._is_foreign else self.main
        common = what, reports, lifeline, served_link()
        arguments = common if self._is_foreign else (*common, self._is_script)
        return self._context.Process(target=run, args=arguments, name=f"swarmsim-{self.name}")

    def _read_reports(self) -> None:
        """Take in what the process tells of itself."""
        try:
            while self._reports.poll():
                self._take(json.loads(self._reports.recv_bytes()))
        except EOFError:
            PROCESS.remove_reader(self._reports.fileno())

    def _take(self, told: dict[str, str]) -> None:
        event = told.pop("event")
        if event == "failed":
            self._failed(**told)
        elif event == "ready":
            self.state = "ready"
        elif event == "left" and self.state == "ready":
            self.state = "left"

    def _failed(self, error_type: str, message: str, traceback_text: str = "") -> None:
        """Tell of a failure: whoever waits for the start, or else whom it concerns."""
        was_starting = self.state == "starting"
        failure = self.fail(error_type, message, traceback_text)
        if was_starting or self.on_failure is None:
            raise failure
        self._unwatch()
        self.on_failure(self)

    def _unwatch(self) -> None:
        for source in self._watched:
            PROCESS.remove_reader(source)

    def _process_ended(self) -> None:
        """Raise how the process ended, at every notice until the component is stopped."""
        if self.failure is None:
            self._read_reports()
        if self.state == "left":
            PROCESS.remove_reader(self.process.sentinel)
            self.process.join(KILL_SECONDS)
            return
        if self.failure is None:
            self.process.join(KILL_SECONDS)
            when = "before it waited for a message" if self.state == "starting" else "without leaving the swarm"
            self._failed("ProcessEnded", f"its process {_how_it_ended(self.process.exitcode)} {when}")
        elif self.on_failure is None:
            raise self.failure

    @property
    def process_id(self) -> int | None:
        return None if self.state in ("new", "stopped") else self.process.pid

    def kill(self, error_type: str, message: str) -> None:
        self.process.kill()
        if self.failure is None:
            self._failed(error_type, message)

    def ask_to_stop(self, deadline: float) -> None:
        self._unwatch()
        PROCESS.forget_resource(self._lifeline)
        self._lifeline.close()
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
        if self._is_foreign and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        PROCESS.forget_resource(self._reports)
        self._reports.close()
        self.process.close()
        self.state = "stopped"


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with status {exit_code}"
