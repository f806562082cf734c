"""Runs the code of one page: `python -m tests.page_runner PAGE`, in a folder that is copied for it.

What stands in a page is run by these rules, in its order:

- The page has a folder of its own: README.md's copy of run.py, swarm.yaml, benchmarks and examples, or its example's.
- `python` blocks run in one process, one after the other, so that a later one has the names of those before.
- A `python` or `yaml` block that begins with a comment which is a file's name (`# greeter.py`) is that file: it is
  written, and run by what follows. Other `yaml` blocks are settings. All are checked by `make_config`.
- A `python` block without such a name that listens (`client.listen()`) is a component: a swarm starts it, beside a
  server, until it waits for messages.
- `sh` blocks run line by line; a line that ends with a backslash goes on in the next one.
- Parts of a line that set things up, or check the house (`LEFT_TO_CI`), are left out, since .ci/run does them for real.
- CONTRIBUTING.md changes the house itself: tests/test_contributing.py does what it says.
- What does not end by itself (`STAYS`) runs beside the lines below it, once it is a member of its swarm, until the
  block is over.
- What takes long is run shorter (`SHORTER`), benchmarks by `--help` alone, which has to name all their flags: their own
  tests run them.
- A run in `DIR`, or named by its time, is the page's newest one, or one that is made for it.
- Ports (`PORTS`) are free ones in their place, in the page and in the examples' scripts.
- A `text` block right below one that was run as it stands is what it printed; `…` is anything.
- Blocks of `QUOTED` languages, or of none, are no code. Any other language is an error.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import CodeType
from typing import Any

import yaml

from swarmsim.config import make_config
from swarmsim.errors import WaitTimeout
from swarmsim.launcher.swarm import Swarm
from swarmsim.messaging.client import Client
from tests.conftest import ROOT
from tests.pages import Block, blocks, name_of

COPIED = ("run.py", "swarm.yaml", "benchmarks", "examples")
QUOTED = ("", "text", "json")
PORTS = ("8080", "8090", "8901")
LEFT_TO_CI = re.compile(r"-m venv|\bpip install|-m pytest|\bapt-get |^git |\bruff |\bmypy$|\.ci/run")
STAYS = re.compile(r"swarmsim (serve|component (?!control))|python (answerer|actions)\.py")
RUN = re.compile(r"(run\.py|swarmsim)(?= --(?!help)| *$)")
SHORT = "--rounds 1 --population 3 --episodes 2 --eval-episodes 1"
SOME_RUN = re.compile(r"\bDIR\b|\bruns/[A-Z][\w-]*-(DATE-TIME|\d{8}-\d{6})")
PATIENCE, PAUSE = 30.0, 0.02

# What is searched for in a line, and what stands in its place, one after the other.
SHORTER = (
    (r"(--resume \S+.*--rounds) \d+", r"\1 2"),
    (r"(component control .*--rounds) \d+", r"\1 1 --episodes 2"),
    (r"--workers \d+", "--workers 2"),
    (r"(benchmarks/\w+\.py).*", r"\1 --help"),
    (r"tensorboard --logdir.*", "tensorboard --help"),
)
# The same in Python, of pages and of the examples' scripts.
SHORTER_PYTHON = (
    (r"TRAIN_EPISODES = 20", "TRAIN_EPISODES = 2"),
    (r"range\(5\)", "range(2)"),
    (r"seed in \(1, 2, 3\)", "seed in (1,)"),
    (r"(?<=population=)20\b", "4"),
)


def shorter(line: str) -> str:
    """Return a line that does the same, or shows at least that it could be done, in less time."""
    if RUN.search(line) and "--resume" not in line:
        line = f"{line} {SHORT}"
    return replaced(line, SHORTER)


def replaced(text: str, table: Sequence[tuple[str, str]]) -> str:
    for long, short in table:
        text = re.sub(long, short, text)
    return text


class Page:
    """A page, to be run in a folder that is copied for it into `place`."""

    def __init__(self, path: Path, place: Path) -> None:
        self.name = name_of(path)
        self.ports = {port: str(free_port()) for port in PORTS}
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, place / name)
        for script in place.glob("examples/*/*.py"):
            script.write_text(replaced(self.with_ports(script.read_text()), SHORTER_PYTHON))
        self.folder = place / path.relative_to(ROOT).parent if self.name.startswith("examples/") else place
        self.blocks = list(blocks(self.with_ports(path.read_text())))
        self.names: dict[str, Any] = {"__name__": "__main__"}

    def with_ports(self, text: str) -> str:
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: self.ports[found[1]], text)

    def run(self) -> None:
        """Run all of it; whatever fails names the page and the line."""
        os.chdir(self.folder)
        sys.path.insert(0, str(self.folder))
        printed: str | None = None
        for block in self.blocks:
            if block.language == "text" and block.follows and printed is not None:
                expected = ".*".join(map(re.escape, block.text.strip().split("…")))
                is_so = re.fullmatch(expected, printed.strip(), flags=re.DOTALL)
                assert is_so, f"{self.name}:{block.line}: what was printed is\n{printed}"
            printed = self.run_block(block)

    def run_block(self, block: Block) -> str | None:
        """Run a block; return what it printed, unless it is a file, no code, or was run shorter than it stands."""
        where = f"{self.name}:{block.line}"
        if block.language == "yaml":
            make_config(yaml.safe_load(block.text), where)
        if block.file is not None:
            Path(block.file).write_text(block.text)
        elif block.language == "python" and ".listen()" in block.text:
            self.run_component(block)
        elif block.language == "python":
            source = "\n" * (block.line - 1) + replaced(block.text, SHORTER_PYTHON)
            return printed_by(compile(source, self.name, "exec"), self.names)
        elif block.language == "sh":
            return self.run_lines(block)
        else:
            assert block.language in (*QUOTED, "yaml"), f"{where}: nobody knows how to run {block.language}"
        return None

    def run_component(self, block: Block) -> None:
        Path("its_server.py").write_text(
            f"from swarmsim import Server\nServer('127.0.0.1', {self.ports['8080']}).start()"
        )
        Path("component.py").write_text(block.text)
        with Swarm(None) as swarm:
            for name in ("its_server", "component"):
                swarm.add(name, f"{name}.py")
            swarm.start()

    def run_lines(self, block: Block) -> str | None:
        printed, as_they_stand = "", True
        with ExitStack() as stack:
            beside = Beside(stack)
            for number, line in lines_of(block):
                short = self.shortened(line)
                where = f"{self.name}:{number}: {short}"
                as_they_stand &= short == line
                if STAYS.search(short):
                    beside.start(short, where)
                elif short:
                    beside.await_members()
                    said = output_of(short, where)
                    if "benchmarks/" in line:
                        unknown = [flag for flag in re.findall(r" (--[a-z-]+)", line) if flag not in said]
                        assert not unknown, f"{where}: there is no {unknown}"
                    printed += said
            beside.await_members()
        return printed if as_they_stand else None

    def shortened(self, line: str) -> str:
        """Return what is run of a line, in the place of all of it."""
        wanted = " && ".join(part for part in line.split(" && ") if not LEFT_TO_CI.search(part))
        short = shorter(wanted).replace("../../.venv/bin/", "").replace(".venv/bin/", "")
        if not SOME_RUN.search(short):
            return short
        runs = sorted(Path("runs").glob("*"), key=lambda run: run.stat().st_mtime)
        if not runs:
            output_of(f"swarmsim {SHORT} --link inprocess", f"{self.name}: a run for {short}")
            return self.shortened(line)
        return SOME_RUN.sub(str(runs[-1]), short)


class Beside:
    """Programs that run beside others until `stack` is left, the first one being their server."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._awaited: dict[str, subprocess.Popen[str]] = {}
        self._server = ("", 0)
        self._n_members = 0

    def start(self, line: str, where: str) -> None:
        program = subprocess.Popen(
            ["bash", "-ec", f"exec {line}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._stack.callback(end, program, where)
        if "swarmsim serve" in line:
            assert program.stdout is not None
            host, port = re.findall(r"serves (\S+):(\d+)", program.stdout.readline())[0]
            self._server = host, int(port)
        else:
            self._awaited[where] = program
            self._n_members += 1

    def await_members(self) -> None:
        """Wait until all have registered with the server."""
        if not self._awaited:
            return
        deadline = time.monotonic() + PATIENCE
        with Client("reader", *self._server, announce={"COMPONENTS": []}) as client:
            while len(client.rooms().members) - 1 < self._n_members:
                for where, program in self._awaited.items():
                    assert program.poll() is None, f"{where}: ended with status {program.returncode}"
                assert time.monotonic() < deadline, f"of {list(self._awaited)} not all have come"
                with contextlib.suppress(WaitTimeout):
                    client.receive(PAUSE)
        self._awaited = {}


def end(program: subprocess.Popen[str], where: str) -> None:
    """Ask a program to end, if it still runs, and see that it ended well."""
    program.send_signal(signal.SIGTERM)  # shells have what runs in the background ignore SIGINT
    try:
        _, told = program.communicate(timeout=PATIENCE)
    finally:
        program.kill()
    assert program.returncode in (0, 130, -signal.SIGTERM), f"{where}: status {program.returncode}\n{told}"


def output_of(line: str, where: str) -> str:
    """Return what a line of a shell prints; it has to end well, and soon."""
    done = subprocess.run(
        ["bash", "-ec", line], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{where}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def printed_by(code: CodeType, names: dict[str, Any]) -> str:
    """Return what `code` prints, and the processes that it starts."""
    sys.stdout.flush()
    before = os.dup(1)
    with tempfile.TemporaryFile("w+") as file:
        os.dup2(file.fileno(), 1)
        try:
            exec(code, names)
        finally:
            sys.stdout.flush()
            os.dup2(before, 1)
            os.close(before)
        file.seek(0)
        return file.read()


def lines_of(block: Block) -> Iterator[tuple[int, str]]:
    """Return the commands of a block, each with the line of the page that it ends at."""
    begun = ""
    for number, line in enumerate(block.text.splitlines(), block.line):
        begun += line
        if begun.endswith("\\"):
            begun = begun.removesuffix("\\")
            continue
        if command := " ".join(re.sub(r"(^|\s)#.*", "", begun).split()):
            yield number, command
        begun = ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        Page(Path(sys.argv[1]), Path(place)).run()
        os.chdir("/")
