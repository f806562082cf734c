"""The main functions of a component's process: run it, and report to the launcher when it is ready or has failed."""

import contextlib
import ctypes
import gc
import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from threadpoolctl import threadpool_limits

from swarmsim.errors import StopRequested, explain, format_traceback
from swarmsim.messaging.links import Link, serve_on
from swarmsim.messaging.process_context import PROCESS

PR_SET_PDEATHSIG = 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES, LARGEST_KEPT_BYTES = 1 << 26, 1 << 25  # the second is the most that glibc takes
# A report must fit into a pipe's buffer: it is then written at once, and a launcher never waits for the rest of it.
LONGEST_MESSAGE, LONGEST_TRACEBACK = 1500, 6000

EXTERNAL_MAIN = "from swarmsim.launcher.child_main import main; main()"


@dataclass(frozen=True)
class Script:
    """A user's Python file; `sys.argv[1]` is its component's name.

    Attributes:
        python: the Python interpreter for it; None for a process forked from the launcher.
        terminal: the command that opens a terminal to run it in.
    """

    name: str
    path: Path
    python: str | None = None
    terminal: str | None = None

    @property
    def is_external(self) -> bool:
        """Whether another program runs it, not a process forked from the launcher."""
        return self.python is not None or self.terminal is not None

    def run(self) -> None:
        """Run the file as a main program, with its folder first in `sys.path`."""
        previous = sys.argv, sys.path[:]
        sys.argv = [str(self.path), self.name]
        sys.path.insert(0, str(self.path.parent))
        try:
            runpy.run_path(str(self.path), run_name="__main__")
        finally:
            sys.argv, sys.path[:] = previous

    def command(self, reports: Connection, stop_pipe: Connection, link: Link) -> list[str]:
        """Return the command line of an external script's process."""
        terminal = [] if self.terminal is None else shlex.split(self.terminal)
        python = self.python or sys.executable
        pipes = str(reports.fileno()), str(stop_pipe.fileno())
        return [*terminal, python, "-c", EXTERNAL_MAIN, self.name, str(self.path), *pipes, link]


def run_component(
    target: Callable[[], None], link: Link, outlives_launcher: bool, reports: Connection, stop_pipe: Connection
) -> None:
    """Run `target` as a component in a process forked or spawned for it; exit with status 1 if it fails.

    Args:
        link: the link that a `Server` of the component serves on.
        outlives_launcher: whether it may clean up after the launcher has ended; if not, it is killed together with the
            launcher, even if it is stuck or stopped.
        reports: pipe to the launcher.
        stop_pipe: pipe whose other end the launcher closes when it wants this component to stop, or ends.
    """
    if not outlives_launcher:
        _die_with_the_launcher(stop_pipe)
    gc.freeze()  # collecting what the launcher made would copy its pages into every process
    _leave_signals_to_the_launcher()
    PROCESS.begin_child(on_ready=lambda: _send_report(reports, event="ready"))
    PROCESS.add_reader(stop_pipe.fileno(), _raise_stop_requested)
    use_one_thread()
    _keep_freed_memory()
    serve_on(link)
    try:
        _run_until_exit(target)
        if not PROCESS.closers():
            _send_report(reports, event="left")
    except StopRequested:
        pass
    except BaseException as error:
        _send_failure(reports, error)
        if sys.stdout is not None:
            sys.stdout.flush()
        os._exit(1)
    PROCESS.remove_reader(stop_pipe.fileno())  # closing must not be interrupted by the request to stop
    PROCESS.close_all()


def run_external_script(script: Script, link: Link, reports: Connection, stop_pipe: Connection) -> None:
    """Run a script as another program in one process group with this process, and exit with its status."""
    os.setpgid(0, 0)
    _leave_signals_to_the_launcher()
    package_root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    try:
        process = subprocess.Popen(
            script.command(reports, stop_pipe, link),
            pass_fds=(reports.fileno(), stop_pipe.fileno()),
            env={**os.environ, "PYTHONPATH": path},
        )
    except OSError as error:
        _send_failure(reports, error)
        os._exit(1)
    os._exit(process.wait() & 0xFF)


def _die_with_the_launcher(stop_pipe: Connection) -> None:
    """Let the kernel kill this process when its launcher ends for any reason; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if stop_pipe.poll():  # the launcher had already ended
            os._exit(1)


def _leave_signals_to_the_launcher() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl+C and a hang-up reach the whole process group
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the launcher terminates a component that does not stop
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a launcher may ignore it, but here children's statuses are read


def _run_until_exit(target: Callable[[], None]) -> None:
    try:
        target()
    except SystemExit as exit_request:
        if exit_request.code not in (None, 0):
            raise


def _raise_stop_requested() -> None:
    raise StopRequested("the launcher asked this component to stop")


def _send_failure(reports: Connection, error: BaseException) -> None:
    _send_report(
        reports,
        event="failed",
        error_type=type(error).__name__,
        message=explain(error)[:LONGEST_MESSAGE],
        traceback_text=format_traceback(error)[-LONGEST_TRACEBACK:],
    )


def _send_report(reports: Connection, **report: Any) -> None:
    with contextlib.suppress(OSError):  # the launcher has ended
        reports.send_bytes(json.dumps(report).encode())


def use_one_thread() -> None:
    """Limit matrix libraries, loaded already or later, to one thread: the processes share the cores."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    threadpool_limits(1)


def _keep_freed_memory() -> None:
    """Have glibc keep the memory that arrays free, for the next ones: getting it anew faults for each of its pages."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)


def main() -> None:
    """Run an external script in its process; the arguments are those of `Script.command`."""
    name, path, reports, stop_pipe, link = sys.argv[1:]
    for pipe in (reports, stop_pipe):
        os.set_inheritable(int(pipe), False)
    pipes = Connection(int(reports)), Connection(int(stop_pipe), writable=False)
    run_component(Script(name, Path(path)).run, cast(Link, link), True, *pipes)
