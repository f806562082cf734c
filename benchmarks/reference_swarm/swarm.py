"""Starting, watching and stopping the processes of the reference swarm; everything else in this folder runs in them."""

import json
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FOLDER = Path(__file__).parent
START_SECONDS = 60.0
STALL_SECONDS = 60.0
GOODBYE_SECONDS = 5.0
GLANCE_SECONDS = 0.1
LAST_LINES = 20
# One thread each: twenty processes that each spread a product over all cores would only wait for one another.
SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ReferenceFailed(Exception):
    """The reference swarm could not be set up or measured; the notes hold what its components printed."""


class Components:
    """Processes that end with the `with` block, and by themselves where this process is killed.

    Each holds the reading end of a pipe as its standard input, and leaves when the pipe closes.
    """

    def __init__(self, python: Path, nodelay: bool) -> None:
        self._python = python
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self._environment = {**inherited, **SINGLE_THREADED, "REFERENCE_NODELAY": str(int(nodelay))}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._outputs = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="reference-")))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._stack:
            self._stop()
            if isinstance(error, ReferenceFailed):
                error.add_note(self._last_words())

    def start(self, name: str, script: str, *arguments: object) -> None:
        """Run a script of this folder as component `name`."""
        command = [str(self._python), str(FOLDER / script), *map(str, arguments)]
        with self._output(name).open("wb") as output:
            self._processes[name] = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl+C is for the benchmark alone, which then ends all in order
            )

    def told(self, name: str, fact: str, seconds: float, what: str) -> Any:
        """Return a fact as soon as component `name` has said it.

        Raises:
            ReferenceFailed: it took longer than `seconds`, or a component ended meanwhile; `what` was waited for.
        """
        deadline = time.monotonic() + seconds
        while True:
            ended = [component for component, process in self._processes.items() if process.poll() is not None]
            facts = self._facts(name)  # read after the look at who ended: a last word counts
            if fact in facts:
                return facts[fact]
            if ended:
                status = self._processes[ended[0]].returncode
                raise ReferenceFailed(f"the reference's {ended[0]} ended (status {status}) while {what} was awaited")
            if time.monotonic() > deadline:
                raise ReferenceFailed(f"the reference did not come to {what} within {seconds:.0f} s")
            time.sleep(GLANCE_SECONDS)

    def _output(self, name: str) -> Path:
        return self._outputs / f"{name}.txt"

    def _facts(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for line in self._output(name).read_text(errors="replace").splitlines(keepends=True):
            if line.startswith("{") and line.endswith("}\n"):
                facts |= json.loads(line)
        return facts

    def _stop(self) -> None:
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        deadline = time.monotonic() + GOODBYE_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _last_words(self) -> str:
        lines = {name: self._output(name).read_text(errors="replace").splitlines() for name in self._processes}
        return "\n".join("\n  ".join([f"{name}:", *said[-LAST_LINES:]]) for name, said in lines.items() if said)


def measured(python: Path, n_models: int, seconds: float, nodelay: bool) -> float:
    """Return the reference's training steps per second over `seconds`.

    Raises:
        ReferenceFailed: a component ended early, or said nothing for too long.
    """
    with Components(python, nodelay) as components:
        components.start("server", "server.py")
        port = components.told("server", "port", START_SECONDS, "the server's port")
        components.start("environment", "environment.py", port, n_models)
        components.told("environment", "ready", START_SECONDS, "the environment's registration")
        components.start("aggregation", "aggregation.py", port, n_models)
        for number in range(n_models):
            components.start(f"model {number}", "model.py", port, number)
        components.start("control", "control.py", port, seconds)
        everybody = f"the presence of {n_models} models, the aggregation and control"
        components.told("environment", "present", START_SECONDS, everybody)
        components.told("control", "done", seconds + STALL_SECONDS, f"the end of a run of {seconds:g} s")
        return float(components.told("environment", "steps_per_second", GOODBYE_SECONDS, "the run's result"))
