"""The report in the terminal: progress bars and remarks on stderr, results on stdout."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Never

from tqdm import tqdm

from swarmsim.components.results import ComponentSnapshot, EvolutionResult, JobResult
from swarmsim.console import is_within_line, show
from swarmsim.names import format_count, format_score
from swarmsim.results.history import History, Round
from swarmsim.views.report import EVALUATE, EVALUATE_EVOLVED, EVOLVE, TRAIN, ComponentStatus, Report, Result

PARTS = {TRAIN: "train", EVALUATE: "eval", EVALUATE_EVOLVED: "evolved"}


class TerminalReport(Report):
    """Prints a line for each round, to which each phase adds its part, and shows bars for rounds and episodes.

    Args:
        bars: whether to show them, if stderr is a terminal; a round's line is then printed once it is complete.
        verbose: whether to print the status of every component, on stderr.
    """

    def __init__(self, bars: bool = True, verbose: bool = False) -> None:
        self._bars = bars and sys.stderr is not None and sys.stderr.isatty()
        tqdm.monitor_interval = 0  # no thread in a process that forks
        tqdm.set_lock(threading.RLock())
        self._rounds: tqdm[Never] | None = None
        self._episodes: tqdm[Never] | None = None
        self._returns: list[float] = []
        self._began = 0.0
        self._line = ""
        self._components = ComponentTable() if verbose else None

    def began(self, history: History, n_rounds: int) -> None:
        settings = history.settings
        processes = format_count(settings["workers"], "process", "processes")
        self._print(
            f"{format_count(settings['population'], 'model')} in {processes} act as one on {settings['env']}: "
            f"seed {settings['seed']}, link {settings['link']}, preset {settings['preset']}\n"
        )
        self._rounds = tqdm(
            total=n_rounds, initial=len(history), desc="rounds", unit="round", disable=not self._bars, position=0
        )

    def phase_began(self, round_number: int, phase: str, n_episodes: int) -> None:
        self._returns = []
        self._began = time.monotonic()
        if phase != EVOLVE:
            self._episodes = tqdm(
                total=n_episodes,
                desc=f"{PARTS[phase]} {round_number}",
                unit="episode",
                disable=not self._bars,
                position=1,
                leave=False,
            )

    def episodes_ended(self, returns: Sequence[float], n_steps: int) -> None:
        assert self._episodes is not None
        self._returns += returns
        score = short_score(sum(self._returns) / len(self._returns)) if self._returns else "–"
        speed = n_steps / (time.monotonic() - self._began)
        self._episodes.set_postfix_str(f"score {score}, {speed:,.0f} steps/s", refresh=False)
        self._episodes.update(len(returns))

    def evaluated(self, round_number: int, n_steps: int, result: JobResult) -> None:
        self._began += result.seconds  # which the speed of training leaves out

    def phase_ended(self, round_number: int, phase: str, result: Result) -> None:
        if self._episodes is not None:
            self._episodes.close()
            self._episodes = None
        if isinstance(result, EvolutionResult):
            return
        self._add(round_number, f"{PARTS[phase]} {short_score(result.score)}")

    def round_ended(self, record: Round) -> None:
        self._add(record.round, f"{record.steps_per_second:,.0f} steps/s")
        self._end_line()
        if self._rounds is not None:
            self._rounds.update()
        if self._components is not None:
            self._print_remark(self._components.after_round(record.round))

    def components_changed(self, components: Mapping[str, ComponentStatus]) -> None:
        if self._components is not None:
            for line in self._components.changed(components):
                self._print_remark(line)

    def component_seen(self, snapshot: ComponentSnapshot) -> None:
        if self._components is not None:
            self._components.count(snapshot)

    def noted(self, sentence: str) -> None:
        self._print_remark(f"swarmsim: {sentence}")

    def close(self) -> None:
        for bar in (self._episodes, self._rounds):
            if bar is not None:
                bar.close()
        self._end_line()

    # --- lines

    def _add(self, round_number: int, part: str) -> None:
        """Add to the line of a round; it is printed at once unless there are bars."""
        continues = self._line and (self._bars or is_within_line(sys.stdout))  # unless a remark has ended its line
        part = (" | " if continues else f"round {round_number} ") + part
        self._line += part
        if not self._bars:
            self._print(part)

    def _end_line(self) -> None:
        if self._line and (self._bars or is_within_line(sys.stdout)):
            self._print(f"{self._line}\n" if self._bars else "\n")
        self._line = ""

    @staticmethod
    def _print(text: str) -> None:
        with tqdm.external_write_mode(file=sys.stdout):
            show(text, sys.stdout, end="")

    @staticmethod
    def _print_remark(text: str) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            show(text, sys.stderr)


class ComponentTable:
    """The status of every component, and the number of messages that it received in a round."""

    def __init__(self) -> None:
        self._statuses: dict[str, ComponentStatus] = {}
        self._received: Counter[str] = Counter()

    def count(self, snapshot: ComponentSnapshot) -> None:
        self._received[snapshot.component] += sum(number for _, _, number in snapshot.received)

    def changed(self, components: Mapping[str, ComponentStatus]) -> Iterable[str]:
        """Yield a line for each component whose status changed."""
        for name, status in components.items():
            if self._statuses.get(name) != status:
                yield f"{name}: {describe(status)}"
        self._statuses = dict(components)

    def after_round(self, number: int) -> str:
        """Return a table of all components, with the messages that they received since the round before."""
        width = max(map(len, self._statuses), default=0)
        lines = [
            f"  {name:<{width}}  {describe(status)}, received {self._received[name]:,} messages"
            for name, status in self._statuses.items()
        ]
        self._received.clear()
        return "\n".join((f"components in round {number}:", *lines))


def describe(status: ComponentStatus) -> str:
    """Return a component's status in words."""
    where = "" if status.process_id is None else f", process {status.process_id}"
    return f"{status.state}{where}" + (f", failed {status.n_failures} ×" if status.n_failures else "")


def short_score(score: float) -> str:
    """Return a score as a text, whole numbers without a decimal."""
    return format_score(score).removesuffix(".0")
