"""The live page, seen from the run: what the page shows is written into a file, and what its reader asks for is read.

The page is served by a process of its own, since a launcher has no thread. Neither waits for the other: a file is
replaced as a whole whenever there is news, and a pipe carries single words back.
"""

import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from swarmsim.components.results import ComponentSnapshot, EvolutionResult
from swarmsim.errors import AddressError, SwarmError
from swarmsim.files import write_atomically
from swarmsim.launcher.child import Child, ChildProcess, StartMethod
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.sockets.connection import listen
from swarmsim.results.history import History, Round
from swarmsim.views.page import PAUSE, RESUME, STOP, serve_page
from swarmsim.views.report import ComponentStatus, Report, Result

LOOPBACK = "127.0.0.1"
LOOK_SECONDS, NEWS_SECONDS, RATE_SECONDS, LAST_SECONDS = 1.0, 0.25, 0.5, 3.0
MOST_NOTES = 50

Way = tuple[str, str, str]  # a room, a sender, a receiver


class LiveReport(Report):
    """Serves a page on this machine's loopback that shows the run as it goes on, and can hold and stop it.

    Attributes:
        url: where the page is, from `began` on.

    Args:
        port: that the page is served at; any free one where it is taken.
        start_method: how the page's process is made.
    """

    def __init__(self, port: int, start_method: StartMethod = "fork") -> None:
        self.url = ""
        self._port = port
        self._start_method: StartMethod = start_method
        self._server: Child | None = None
        self._folder: Path | None = None
        self._shown: dict[str, Any] = {"status": "running", "rounds": [], "shares": {}, "learning": {}, "notes": []}
        self._traffic = Traffic()
        self._looked_at = self._told_at = self._began = 0.0
        self._shows = self._holds = self._stops = False

    def began(self, history: History, n_rounds: int) -> None:
        directory = None if history.directory is None else str(history.directory)
        self._shown |= {"settings": dict(history.settings), "n_rounds": n_rounds, "directory": directory}
        self._shown["rounds"] = [shown_round(record) for record in history]
        self._folder = Path(tempfile.mkdtemp(prefix="swarmsim-live-"))
        self._shows = True
        self._news(at_once=True)
        try:
            self._serve(self._folder)
        except SwarmError as error:
            self._without(str(error))
        else:
            print(f"live at {self.url}", flush=True)

    def _serve(self, folder: Path) -> None:
        try:
            listener = listen((LOOPBACK, self._port))
        except AddressError:
            listener = listen((LOOPBACK, 0))
        wishes, told = multiprocessing.get_context(self._start_method).Pipe(duplex=False)
        PROCESS.release_after_fork(wishes, wishes.close)
        self._wishes = wishes
        with listener, told:
            self.url = f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
            main = partial(serve_page, listener, folder, told)
            server = ChildProcess("live page", main, 0.0, self._start_method)
            self._server = server
            server.start()
        server.on_failure = lambda failed: self._without(str(failed.failure))

    def _without(self, why: str) -> None:
        """Go on without a page, also where it held the run."""
        print(f"swarmsim: there is no live page, and the run goes on without: {why}", file=sys.stderr, flush=True)
        self._shows = self._holds = False

    # --- what is shown

    def _news(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._shows and self._folder is not None and (at_once or now > self._told_at + NEWS_SECONDS):
            self._told_at = now
            try:
                write_atomically(self._folder / "state.json", orjson.dumps(self._shown), durable=False)
            except SwarmError as error:
                self._without(str(error))

    def components_changed(self, components: Mapping[str, ComponentStatus]) -> None:
        self._shown["components"] = {name: asdict(status) for name, status in components.items()}
        self._news(at_once=True)

    def component_seen(self, sight: ComponentSnapshot) -> None:
        self._traffic.add(sight, time.monotonic())
        self._shown["traffic"] = self._traffic.shown()
        if sight.contribution:
            self._shown["shares"] = dict(sight.contribution)
        if sight.n_learning:
            self._shown["learning"] = {name: total / sight.n_learning for name, total in (sight.learning or {}).items()}
        self._news()

    def phase_began(self, round_number: int, phase: str, n_episodes: int) -> None:
        self._began = time.monotonic()
        self._shown["phase"] = {"round": round_number, "name": phase, "n_episodes": n_episodes, "returns": []}
        self._news(at_once=True)

    def episodes_ended(self, returns: Iterable[float], n_steps: int) -> None:
        phase = self._shown["phase"]
        phase["returns"] += returns
        phase["steps_per_second"] = n_steps / max(time.monotonic() - self._began, 1e-9)
        self._news()

    def phase_ended(self, round_number: int, phase: str, result: Result) -> None:
        if not isinstance(result, EvolutionResult):
            self._shown["phase"] |= {"returns": result.returns, "score": result.score}
            self._news(at_once=True)

    def round_ended(self, record: Round) -> None:
        self._shown["rounds"].append(shown_round(record))
        self._shown["shares"] = record.contribution
        self._news(at_once=True)

    def noted(self, sentence: str) -> None:
        self._shown["notes"] = [*self._shown["notes"], sentence][-MOST_NOTES:]
        self._news(at_once=True)

    def close(self) -> None:
        self._shown["status"] = "ended"
        self._news(at_once=True)
        if self._server is not None:
            deadline = time.monotonic() + LAST_SECONDS
            self._server.ask_to_stop(deadline)
            self._server.terminate(deadline)
            self._server.end(deadline)
            PROCESS.forget_resource(self._wishes)
            self._wishes.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._server = self._folder = None
        self._shows = False

    # --- what is asked for

    def wants_snapshot(self) -> bool:
        now = time.monotonic()
        if not self._shows or now < self._looked_at + LOOK_SECONDS:
            return False
        self._looked_at = now
        return True

    def wants_pause(self) -> bool:
        self._heed()
        return self._holds and not self._stops

    def wants_stop(self) -> bool:
        self._heed()
        return self._stops

    def _heed(self) -> None:
        """Take in what the page's reader asked for since the last time."""
        while self._shows and self._wishes.poll():
            try:
                wish = self._wishes.recv_bytes().decode()
            except EOFError:
                return
            self._holds = wish == PAUSE or (self._holds and wish != RESUME)
            self._stops |= wish == STOP
            self._shown["status"] = "stopping" if self._stops else "paused" if self._holds else "running"
            self._news(at_once=True)


class Traffic:
    """How many messages went from whom to whom in which room, and how many a second."""

    def __init__(self) -> None:
        self._numbers: Counter[Way] = Counter()
        self._rates: dict[Way, float] = {}
        self._before: dict[str, tuple[float, Counter[Way]]] = {}  # of each receiver, when its rates were told, and what

    def add(self, sight: ComponentSnapshot, now: float) -> None:
        """Take in what a component took until `now`, in seconds."""
        receiver = sight.component
        self._numbers.update({(room, sender, receiver): number for room, sender, number in sight.received})
        numbers = Counter({way: number for way, number in self._numbers.items() if way[2] == receiver})
        then, before = self._before.get(receiver, (now - RATE_SECONDS, numbers))
        if now >= then + RATE_SECONDS:
            self._rates.update({way: (number - before[way]) / (now - then) for way, number in numbers.items()})
            self._before[receiver] = now, numbers

    def shown(self) -> list[dict[str, Any]]:
        """Return it all, as JSON values."""
        return [
            {**dict(zip(("room", "from", "to"), way, strict=True)), "number": number, "rate": self._rates.get(way, 0.0)}
            for way, number in sorted(self._numbers.items())
        ]


def shown_round(record: Round) -> dict[str, Any]:
    """Return what the page shows of a round: all but who contributed, which is a number for each of many models."""
    return {key: value for key, value in record.encode().items() if key != "contribution"}
