"""Inside a component's own process: run it, tell the launcher when it is ready, and how it failed."""

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
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from threadpoolctl import threadpool_limits

from swarmsim.errors import StopRequested
from swarmsim.messaging.links import Link, serve_on
from swarmsim.messaging.process_context import PROCESS

PR_SET_PDEATHSIG = 1
# Short enough for a report to be written at once: a launcher never waits for its second half.
LONGEST_MESSAGE, LONGEST_TRACEBACK = 1500, 6000

FOREIGN_MAIN = "from swarmsim.launcher.child_main import main; main()"


@dataclass(frozen=True)
class Script:
    """A Python file of the user's; it gets its component's name as `sys.argv[1]`.

    Attributes:
        python: the Python that runs it; None for this one, in a process forked from the launcher.
        terminal: the command that opens a terminal for it, in which it then runs.
    """

    name: str
    path: Path
    python: str | None = None
    terminal: str | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether another program than this Python runs it."""
        return self.python is not None or self.terminal is not None

    def run(self) -> None:
        """Run the file as a main program, its folder first on the path."""
        before = sys.argv, sys.path[:]
        sys.argv = [str(self.path), self.name]
        sys.path.insert(0, str(self.path.parent))
        try:
            runpy.run_path(str(self.path), run_name="__main__")
        finally:
            sys.argv, sys.path[:] = before

    def command(self, reports: Connection, lifeline: Connection, link: Link) -> list[str]:
        """Return the command line of a foreign script's process."""
        terminal = [] if self.terminal is None else shlex.split(self.terminal)
        python = self.python or sys.executable
        return [
            *terminal,
            python,
            "-c",
            FOREIGN_MAIN,
            self.name,
            str(self.path),
            str(reports.fileno()),
            str(lifeline.fileno()),
            link,
        ]


def component_process(
    target: Callable[[], None],
    reports: Connection,
    lifeline: Connection,
    link: Link,
    outlives_launcher: bool = True,
) -> None:
    """Run `target` as a component, in a process forked or spawned for it; end the process where it fails.

    Args:
        reports: what this process tells its launcher goes in here.
        lifeline: its other end is closed when the launcher wants this component to stop, or is gone.
        link: that a `Server` of the component serves on.
        outlives_launcher: for as long as it takes to tidy up; otherwise it is killed at once where the launcher is,
            even if it is stuck or stopped.
    """
    if not outlives_launcher:
        _die_with_the_launcher(lifeline)
    gc.freeze()  # collecting what the launcher made would copy its pages into every process
    _leave_signals_to_the_launcher()
    PROCESS.begin_child(on_ready=lambda: _report(reports, event="ready"))
    PROCESS.add_reader(lifeline.fileno(), _stop_requested)
    use_one_thread()
    serve_on(link)
    try:
        _run_to_its_end(target)
        if not PROCESS.closers():
            _report(reports, event="left")
    except StopRequested:
        pass
    except BaseException as error:
        _report(
            reports,
            event="failed",
            error_type=type(error).__name__,
            message=str(error)[:LONGEST_MESSAGE],
            traceback_text="".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:],
        )
        sys.stdout.flush()
        os._exit(1)
    PROCESS.remove_reader(lifeline.fileno())  # saying farewell is not to be interrupted by what asked for it
    for farewell in PROCESS.closers().values():
        farewell()


def foreign_script(script: Script, reports: Connection, lifeline: Connection, link: Link) -> None:
    """Run a script by its own Python, and end as it ended; both form one process group, to be ended together."""
    os.setpgid(0, 0)
    PROCESS.begin_child(lambda: None)
    _leave_signals_to_the_launcher()
    package_root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    try:
        process = subprocess.Popen(
            script.command(reports, lifeline, link),
            pass_fds=(reports.fileno(), lifeline.fileno()),
            env={**os.environ, "PYTHONPATH": path},
        )
    except OSError as error:
        _report(reports, event="failed", error_type=type(error).__name__, message=str(error), traceback_text="")
        os._exit(1)
    os._exit(process.wait() & 0xFF)


def _die_with_the_launcher(lifeline: Connection) -> None:
    """Have the kernel kill this process when its launcher ends, however that happens; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if lifeline.poll():  # it was gone before that
            os._exit(1)


def _leave_signals_to_the_launcher() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the whole process group
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which is how the launcher ends what does not stop


def _run_to_its_end(target: Callable[[], None]) -> None:
    try:
        target()
    except SystemExit as end:
        if end.code not in (None, 0):
            raise


def _stop_requested() -> None:
    raise StopRequested("the launcher asked this component to stop")


def _report(reports: Connection, **told: Any) -> None:
    with contextlib.suppress(OSError):  # where the launcher is gone nobody is left to be told
        reports.send_bytes(json.dumps(told).encode())


def use_one_thread() -> None:
    """Keep matrix libraries, loaded already or later, from fighting over cores: one process, one thread."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    threadpool_limits(1)


def main() -> None:
    """Be the process of a foreign script; the arguments are those of `Script.command`."""
    name, path, reports, lifeline, link = sys.argv[1:]
    script = Script(name, Path(path))
    component_process(script.run, Connection(int(reports)), Connection(int(lifeline), writable=False), cast(Link, link))
