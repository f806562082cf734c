"""The report behind the live page: it writes what the page shows into a file, and reads what its viewer requests.

Another process serves the page, since the launcher has no threads. Neither process waits for the other: the file is
replaced as a whole when something changes, and a pipe carries requests back as single words.
"""

import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from swarmsim.components.results import ComponentSnapshot, EvolutionResult, JobResult
from swarmsim.console import show
from swarmsim.errors import AddressError, SwarmError
from swarmsim.files import write_atomically
from swarmsim.launcher.child import Child, ChildProcess
from swarmsim.launcher.process import StartMethod
from swarmsim.messaging.process_context import PROCESS, running_time
from swarmsim.messaging.rooms import RESERVED_ROOMS
from swarmsim.messaging.sockets.connection import listen
from swarmsim.names import describe_group, exact, kind_of
from swarmsim.results.history import History, Round
from swarmsim.views.page import PAUSE, RESUME, STOP, serve_page
from swarmsim.views.report import ComponentStatus, Report, Result

LOOPBACK = "127.0.0.1"
SNAPSHOT_SECONDS, WRITE_SECONDS, RATE_SECONDS, STOP_SECONDS = 1.0, 0.25, 0.5, 6.0
MOST_NOTES = 50
JAVASCRIPT_BITS = 53

Route = tuple[str, str, str]  # room, sender, receiver


class LiveReport(Report):
    """Serves a page about the run on this machine's loopback interface; its viewer can pause and stop the run.

    Attributes:
        url: of the page, once the run has begun.

    Args:
        port: of the page; any free one is used instead if it is taken.
        start_method: of the page's process.
    """

    def __init__(self, port: int, start_method: StartMethod = "fork") -> None:
        self.url = ""
        self._port = port
        self._start_method: StartMethod = start_method
        self._server: Child | None = None
        self._folder: Path | None = None
        self._state: dict[str, Any] = {"status": "running", "rounds": [], "shares": {}, "learning": {}, "notes": []}
        self._traffic = Traffic()
        self._last_snapshot = self._last_write = self._phase_began = 0.0
        self._has_page = self._is_paused = self._is_stopped = False

    def began(self, history: History, n_rounds: int) -> None:
        directory = None if history.directory is None else str(history.directory)
        settings = {name: exact(value, JAVASCRIPT_BITS) for name, value in history.settings.items()}
        self._state |= {"settings": settings, "n_rounds": n_rounds, "directory": directory}
        self._state["rounds"] = [encode_round(record) for record in history]
        self._folder = Path(tempfile.mkdtemp(prefix="swarmsim-live-"))
        self._has_page = True
        self._write(at_once=True)
        try:
            self._serve(self._folder)
        except SwarmError as error:
            self._give_up(str(error))
        else:
            show(f"live at {self.url}", sys.stdout)

    def _serve(self, folder: Path) -> None:
        try:
            listener = listen((LOOPBACK, self._port))
        except AddressError:
            listener = listen((LOOPBACK, 0))
        requests, sender = multiprocessing.get_context(self._start_method).Pipe(duplex=False)
        PROCESS.release_after_fork(requests, requests.close)
        self._requests = requests
        with listener, sender:
            self.url = f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
            main = partial(serve_page, listener, folder, sender)
            server = ChildProcess("live page", main, start_method=self._start_method)
            self._server = server
            server.start()
        server.on_failure = lambda failed: self._give_up(str(failed.failure))

    def _give_up(self, reason: str) -> None:
        """Continue the run without the page, also if the page had paused it."""
        show(f"swarmsim: the run continues without its live page: {reason}", sys.stderr)
        self._has_page = self._is_paused = False

    # --- what the page shows

    def _write(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._has_page and self._folder is not None and (at_once or now > self._last_write + WRITE_SECONDS):
            self._last_write = now
            state = {**self._state, "rooms": self._traffic.by_kind(), "all_rooms": self._traffic.by_process()}
            try:
                write_atomically(self._folder / "state.json", orjson.dumps(state), durable=False)
            except SwarmError as error:
                self._give_up(str(error))

    def components_changed(self, components: Mapping[str, ComponentStatus]) -> None:
        self._state["components"] = {name: asdict(status) for name, status in components.items()}
        self._write(at_once=True)

    def component_seen(self, snapshot: ComponentSnapshot) -> None:
        self._traffic.add(snapshot, time.monotonic())
        if snapshot.contribution:
            self._state["shares"] = dict(snapshot.contribution)
        if snapshot.learning and snapshot.n_learning:
            self._state["learning"] = {name: total / snapshot.n_learning for name, total in snapshot.learning.items()}
        self._write()

    def phase_began(self, round_number: int, phase: str, n_episodes: int) -> None:
        self._phase_began = time.monotonic()
        about = {"round": round_number, "name": phase, "n_episodes": n_episodes}
        self._state["phase"] = {**about, "returns": [], "evaluations": []}
        self._write(at_once=True)

    def episodes_ended(self, returns: Sequence[float], n_steps: int) -> None:
        phase = self._state["phase"]
        phase["returns"] += returns
        phase["steps_per_second"] = n_steps / max(time.monotonic() - self._phase_began, 1e-9)
        self._write()

    def evaluated(self, round_number: int, n_steps: int, result: JobResult) -> None:
        phase = self._state["phase"]
        phase["evaluations"].append([n_steps, result.score, len(phase["returns"])])
        self._phase_began += result.seconds  # which the speed of training leaves out
        self._write(at_once=True)

    def phase_ended(self, round_number: int, phase: str, result: Result) -> None:
        if not isinstance(result, EvolutionResult):
            self._state["phase"] |= {"returns": result.returns, "score": result.score}
            self._write(at_once=True)

    def round_ended(self, record: Round) -> None:
        self._state["rounds"].append(encode_round(record))
        self._state["shares"] = record.contribution
        self._write(at_once=True)

    def noted(self, sentence: str) -> None:
        self._state["notes"] = [*self._state["notes"], sentence][-MOST_NOTES:]
        self._write(at_once=True)

    def close(self) -> None:
        self._state["status"] = "ended"
        self._write(at_once=True)
        if self._server is not None:
            deadline = running_time() + STOP_SECONDS
            self._server.ask_to_stop(deadline)
            self._server.terminate(deadline)
            self._server.end(deadline)
            PROCESS.forget_resource(self._requests)
            self._requests.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._server = self._folder = None
        self._has_page = False

    # --- what its viewer requests

    def wants_snapshot(self) -> bool:
        now = time.monotonic()
        if not self._has_page or now < self._last_snapshot + SNAPSHOT_SECONDS:
            return False
        self._last_snapshot = now
        return True

    def wants_pause(self) -> bool:
        self._read_requests()
        return self._is_paused and not self._is_stopped

    def wants_stop(self) -> bool:
        self._read_requests()
        return self._is_stopped

    def _read_requests(self) -> None:
        while self._has_page and self._requests.poll():
            try:
                request = self._requests.recv_bytes().decode()
            except EOFError:
                return
            self._is_paused = request == PAUSE or (self._is_paused and request != RESUME)
            self._is_stopped |= request == STOP
            self._state["status"] = "stopping" if self._is_stopped else "paused" if self._is_paused else "running"
            self._write(at_once=True)


class Traffic:
    """The number of messages by room, sender and receiver, and their rates in messages a second."""

    def __init__(self) -> None:
        self._numbers: Counter[Route] = Counter()
        self._rates: dict[Route, float] = {}
        self._last: dict[str, tuple[float, Counter[Route]]] = {}  # time and numbers at a receiver's last rates

    def add(self, snapshot: ComponentSnapshot, now: float) -> None:
        """Add the messages that a component has received until `now`, in seconds."""
        receiver = snapshot.component
        self._numbers.update({(room, sender, receiver): number for room, sender, number in snapshot.received})
        numbers = Counter({path: number for path, number in self._numbers.items() if path[2] == receiver})
        then, before = self._last.get(receiver, (now - RATE_SECONDS, numbers))
        if now >= then + RATE_SECONDS:
            self._rates.update({path: (number - before[path]) / (now - then) for path, number in numbers.items()})
            self._last[receiver] = now, numbers

    def by_process(self) -> list[dict[str, Any]]:
        """Return a row for each room, sender and receiver, as JSON values."""
        return [_row(*path, number, self._rates.get(path, 0.0)) for path, number in sorted(self._numbers.items())]

    def by_kind(self) -> list[dict[str, Any]]:
        """Return a row for each room, kind of sender and kind of receiver, without the rooms of the swarm itself."""
        processes: defaultdict[str, set[str]] = defaultdict(set)
        numbers: Counter[Route] = Counter()
        rates: defaultdict[Route, float] = defaultdict(float)
        for (room, sender, receiver), number in self._numbers.items():
            if room not in RESERVED_ROOMS:
                path = room, kind_of(sender), kind_of(receiver)
                numbers[path] += number
                rates[path] += self._rates.get((room, sender, receiver), 0.0)
                for process in (sender, receiver):
                    processes[kind_of(process)].add(process)
        names = {kind: describe_group(kind, found)[0] for kind, found in processes.items()}
        return [
            _row(room, names[sender], names[receiver], number, rates[room, sender, receiver])
            for (room, sender, receiver), number in sorted(numbers.items())
        ]


def _row(room: str, sender: str, receiver: str, number: int, rate: float) -> dict[str, Any]:
    return {"room": room, "from": sender, "to": receiver, "number": number, "rate": rate}


def encode_round(record: Round) -> dict[str, Any]:
    """Return a round's metrics as JSON values, without its contributions, which are one number per model."""
    return {key: value for key, value in record.encode().items() if key != "contribution"}
