"""`WatchedProcess`: a started process, the launcher's ends of its pipes, and its end as the kernel reports it."""

import multiprocessing
import os
import select
import signal
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Literal

from swarmsim.errors import SettingsError
from swarmsim.messaging.process_context import PROCESS, running_time, sleep_of

KILL_SECONDS = 5.0
UNGUARDED_STATUS, UNKNOWN_STATUS = 78, 255

StartMethod = Literal["fork", "spawn"]
Main = Callable[[Connection, Connection], None]


def check_may_start_processes() -> None:
    """Raise SettingsError in a process that may have no children, such as a worker of `multiprocessing.Pool`."""
    current = multiprocessing.current_process()
    if getattr(current, "_inheriting", False):  # a spawned process that still imports its program
        raise SystemExit(UNGUARDED_STATUS)
    if current.daemon:
        raise SettingsError(
            f"{current.name} is a daemonic process, such as a worker of multiprocessing.Pool, and may start no "
            "processes: use link inprocess there, or run it in a concurrent.futures.ProcessPoolExecutor"
        )


class WatchedProcess:
    """A process that has been started, and its end.

    The end is that of the process itself. Its pipes do not show it, since processes that it forked hold them open too.

    Args:
        main: called in the process with its ends of two pipes: for reports, and for the request to stop.

    Attributes:
        reports: the launcher's end of the pipe for reports.
        end: a descriptor that is readable once the process has ended.

    Raises:
        OSError: it cannot be started; nothing of it is left.
        SettingsError: this process may start no processes.
    """

    def __init__(self, main: Main, name: str, start_method: StartMethod) -> None:
        check_may_start_processes()
        context: ForkContext | SpawnContext = (
            multiprocessing.get_context("fork") if start_method == "fork" else multiprocessing.get_context("spawn")
        )
        self._process: BaseProcess | None = None
        self._ours = ExitStack()
        PROCESS.release_after_fork(self, self._forget_after_fork)
        try:
            self._start(main, f"swarmsim-{name}", context)
        except BaseException:
            if self._process is not None:
                self._process.kill()
                self._process.join()
            self._release()
            raise

    def _start(self, main: Main, name: str, context: ForkContext | SpawnContext) -> None:
        with ExitStack() as theirs:  # the process has copies of these once it is started
            self.reports, reports = context.Pipe(duplex=False)
            self._ours.enter_context(self.reports)
            theirs.enter_context(reports)
            stop_pipe, self._stop_pipe = context.Pipe(duplex=False)
            self._ours.enter_context(self._stop_pipe)
            theirs.enter_context(stop_pipe)
            process = context.Process(target=main, args=(reports, stop_pipe), name=name)
            with warnings.catch_warnings():
                # the only threads are those of numpy's matrix library, which ends them itself before a fork
                warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                process.start()
        self._process = process
        self.end = _end_of(process)
        self._ours.callback(os.close, self.end)

    @property
    def _started(self) -> BaseProcess:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int | None:
        return self._started.pid

    def ask_to_stop(self) -> None:
        """Ask it to stop, by closing a pipe that nobody else holds open."""
        self._stop_pipe.close()

    def wait(self, deadline: float) -> bool:
        """Wait for its end until `deadline`, as `running_time`, and return whether it has ended."""
        poll = select.poll()
        poll.register(self.end, select.POLLIN)
        while not poll.poll(1000 * sleep_of(max(deadline - running_time(), 0.0))):
            if running_time() >= deadline:
                return False
        return True

    def terminate(self) -> None:
        if not self.wait(0.0):
            self._started.terminate()

    def kill(self) -> None:
        if not self.wait(0.0):
            self._started.kill()

    def exit_code(self) -> int:
        """Return its exit status once it has ended, or minus the signal that killed it."""
        process = self._started
        process.join()
        if process.exitcode is None:  # SIGCHLD is ignored, or another part of this program took it
            _give_up(process)
        return process.exitcode or 0

    def close(self) -> None:
        """Kill it if it still runs, and release its resources."""
        self.kill()
        if self.wait(running_time() + KILL_SECONDS):
            self.exit_code()
            self._started.close()
        self._release()

    def _forget_after_fork(self) -> None:
        """Leave it to its parent in a process that was forked from there: it is no child of that one."""
        self._ours.close()
        if self._process is not None:
            _give_up(self._process)
            self._process.close()

    def _release(self) -> None:
        PROCESS.forget_resource(self)
        self._ours.close()


def _give_up(process: BaseProcess) -> None:
    """Have multiprocessing no longer wait for a process whose status this one cannot get."""
    process._popen.returncode = UNKNOWN_STATUS  # type: ignore[attr-defined]  # noqa: SLF001


def _end_of(process: BaseProcess) -> int:
    """Return a descriptor that is readable once the process has ended."""
    assert process.pid is not None
    try:
        return os.pidfd_open(process.pid)
    except OSError:  # it has ended and nobody keeps its status, or the kernel is older than this call
        return os.dup(process.sentinel)


def format_exit(exit_code: int) -> str:
    """Return how a process ended, in words."""
    if exit_code == UNGUARDED_STATUS:
        return (
            "started a swarm while it imported its program: with start_method spawn, a program must start one "
            'under `if __name__ == "__main__":`; it ended'
        )
    if exit_code == UNKNOWN_STATUS:
        return "ended with a status that is not known"
    if exit_code >= 0:
        return f"ended with status {exit_code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-exit_code, f'signal {-exit_code}')}"
