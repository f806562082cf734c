"""Runs the code of one page: `python -m tests.page_runner PAGE`, in a folder that is copied for it.

The blocks of a page run in order, by these rules:

- Each page has its own folder: a copy of run.py, swarm.yaml, benchmarks and examples, or of the page's example.
- `python` blocks run in one process, one after the other, so a later block sees the names of earlier ones.
- A `python` or `yaml` block that begins with a comment with a file's name (`# greeter.py`) is written to that file,
  and later blocks run it. Other `yaml` blocks are settings. `make_config` checks all `yaml` blocks.
- A `python` block without such a name that listens (`client.listen()`) is a component: a swarm starts it next to a
  server, until it waits for messages.
- `sh` blocks run line by line; a line that ends with a backslash continues in the next one.
- Parts of a line that set things up or run the tests (`LEFT_TO_CI`) are left out, since .ci/run runs them.
- CONTRIBUTING.md changes the package: tests/test_contributing.py runs its commands.
- A program that does not end (`STAYS`) runs in parallel to the lines below it, from when it is a member of its swarm
  until the block ends.
- Long runs are shortened (`SHORTER`). Benchmarks run with `--help` alone, which has to name all their flags: their own
  tests run them.
- A run in `DIR`, or named by its time, is the newest run of the page, or a run that is made for it.
- Free ports replace the `PORTS`, in the page and in the examples' scripts.
- A `text` block right below a block that ran unchanged is the output of that block; `…` matches anything.
- Blocks of `QUOTED` languages, or of no language, are no code. Any other language is an error.
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

# Patterns in a line and their replacements, applied in order.
SHORTER = (
    (r"(--resume \S+.*--rounds) \d+", r"\1 2"),
    (r"(component control .*--rounds) \d+", r"\1 1 --episodes 2"),
    (r"--workers \d+", "--workers 2"),
    (r"(benchmarks/\w+\.py).*", r"\1 --help"),
    (r"tensorboard --logdir.*", "tensorboard --help"),
)
# The same for Python, in pages and in the examples' scripts.
SHORTER_PYTHON = (
    (r"TRAIN_EPISODES = 20", "TRAIN_EPISODES = 2"),
    (r"range\(5\)", "range(2)"),
    (r"seed in \(1, 2, 3\)", "seed in (1,)"),
    (r"(?<=population=)20\b", "4"),
    (r"(?<=learner=\"sac\", rounds=)5", "1, population=4"),
)


def shorter(line: str) -> str:
    """Return a line that does the same in less time, or at least shows that it can be done."""
    if RUN.search(line) and "--resume" not in line:
        line = f"{line} {SHORT}"
    return replaced(line, SHORTER)


def replaced(text: str, table: Sequence[tuple[str, str]]) -> str:
    for long, short in table:
        text = re.sub(long, short, text)
    return text


class Page:
    """A page that runs in a folder which is copied for it into `place`."""

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
        """Run all of it; a failure names the page and the line."""
        os.chdir(self.folder)
        sys.path.insert(0, str(self.folder))
        printed: str | None = None
        for block in self.blocks:
            if block.language == "text" and block.follows and printed is not None:
                expected = ".*".join(map(re.escape, block.text.strip().split("…")))
                is_equal = re.fullmatch(expected, printed.strip(), flags=re.DOTALL)
                assert is_equal, f"{self.name}:{block.line}: the output is\n{printed}"
            printed = self.run_block(block)

    def run_block(self, block: Block) -> str | None:
        """Run a block; return its output, or None if it is a file, no code, or was shortened."""
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
            assert block.language in (*QUOTED, "yaml"), f"{where}: blocks of {block.language} cannot be run"
        return None

    def run_component(self, block: Block) -> None:
        Path("own_server.py").write_text(
            f"from swarmsim import Server\nServer('127.0.0.1', {self.ports['8080']}).start()"
        )
        Path("component.py").write_text(block.text)
        with Swarm(None) as swarm:
            for name in ("own_server", "component"):
                swarm.add(name, f"{name}.py")
            swarm.start()

    def run_lines(self, block: Block) -> str | None:
        printed, is_unchanged = "", True
        with ExitStack() as stack:
            background = Background(stack)
            for number, line in lines_of(block):
                short = self.shortened(line)
                where = f"{self.name}:{number}: {short}"
                is_unchanged &= short == line
                if STAYS.search(short):
                    background.start(short, where)
                elif short:
                    background.await_members()
                    output = output_of(short, where)
                    if "benchmarks/" in line:
                        unknown = [flag for flag in re.findall(r" (--[a-z-]+)", line) if flag not in output]
                        assert not unknown, f"{where}: there is no {unknown}"
                    printed += output
            background.await_members()
        return printed if is_unchanged else None

    def shortened(self, line: str) -> str:
        """Return the command that runs instead of a line."""
        wanted = " && ".join(part for part in line.split(" && ") if not LEFT_TO_CI.search(part))
        short = shorter(wanted).replace("../../.venv/bin/", "").replace(".venv/bin/", "")
        if not SOME_RUN.search(short):
            return short
        runs = sorted(Path("runs").glob("*"), key=lambda run: run.stat().st_mtime)
        if not runs:
            output_of(f"swarmsim {SHORT} --link inprocess", f"{self.name}: a run for {short}")
            return self.shortened(line)
        return SOME_RUN.sub(str(runs[-1]), short)


class Background:
    """Programs that run in the background until `stack` is closed; the first one is their server."""

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
                assert time.monotonic() < deadline, f"not all of {list(self._awaited)} have registered"
                with contextlib.suppress(WaitTimeout):
                    client.receive(PAUSE)
        self._awaited = {}


def end(program: subprocess.Popen[str], where: str) -> None:
    """Ask a program to end, if it still runs, and check its status."""
    program.send_signal(signal.SIGTERM)  # background programs of a shell ignore SIGINT
    try:
        _, errors = program.communicate(timeout=PATIENCE)
    finally:
        program.kill()
    assert program.returncode in (0, 130, -signal.SIGTERM), f"{where}: status {program.returncode}\n{errors}"


def output_of(line: str, where: str) -> str:
    """Return the output of a shell line, which has to succeed within a minute."""
    done = subprocess.run(
        ["bash", "-ec", line], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{where}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def printed_by(code: CodeType, names: dict[str, Any]) -> str:
    """Return the output of `code` and of the processes that it starts."""
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
    """Yield the commands of a block, each with the number of its last line in the page."""
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
