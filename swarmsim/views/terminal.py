"""What a user sees in the terminal while a run goes on: bars and remarks on stderr, results on stdout."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Never

from tqdm import tqdm

from swarmsim.components.results import ComponentSnapshot, EvolutionResult
from swarmsim.names import format_count
from swarmsim.results.history import History, Round
from swarmsim.views.report import EVALUATE, EVALUATE_EVOLVED, EVOLVE, TRAIN, ComponentStatus, Report, Result

PARTS = {TRAIN: "train", EVALUATE: "eval", EVALUATE_EVOLVED: "evolved"}


class TerminalReport(Report):
    """A line for each round, to which each phase adds its part; bars for rounds and episodes.

    Args:
        bars: whether to show them, where stderr is a terminal. Beside bars a round's line appears once it is whole.
        verbose: whether to tell of every component, on stderr.
    """

    def __init__(self, bars: bool = True, verbose: bool = False) -> None:
        self._bars = bars and sys.stderr.isatty()
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
        self._say(
            f"{format_count(settings['population'], 'model')} in {processes} act as one on {settings['env']}: "
            f"seed {settings['seed']}, link {settings['link']}, preset {settings['preset']}\n"
        )
        self._rounds = tqdm(
            total=n_rounds,
            initial=len(history),
            desc="rounds",
            unit="round",
            disable=not self._bars,
            position=0,
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

    def episodes_ended(self, returns: Iterable[float], n_steps: int) -> None:
        assert self._episodes is not None
        new = list(returns)
        self._returns += new
        score = told(sum(self._returns) / len(self._returns)) if self._returns else "–"
        speed = n_steps / (time.monotonic() - self._began)
        self._episodes.set_postfix_str(f"score {score}, {speed:,.0f} steps/s", refresh=False)
        self._episodes.update(len(new))

    def phase_ended(self, round_number: int, phase: str, result: Result) -> None:
        if self._episodes is not None:
            self._episodes.close()
            self._episodes = None
        if isinstance(result, EvolutionResult):
            return
        self._add(round_number, f"{PARTS[phase]} {told(result.score)}")

    def round_ended(self, record: Round) -> None:
        self._add(record.round, f"{record.steps_per_second:,.0f} steps/s")
        self._end_line()
        if self._rounds is not None:
            self._rounds.update()
        if self._components is not None:
            self._remark(self._components.after_round(record.round))

    def components_changed(self, components: Mapping[str, ComponentStatus]) -> None:
        if self._components is not None:
            for line in self._components.changed(components):
                self._remark(line)

    def component_seen(self, sight: ComponentSnapshot) -> None:
        if self._components is not None:
            self._components.count(sight)

    def noted(self, sentence: str) -> None:
        self._remark(f"swarmsim: {sentence}")

    def close(self) -> None:
        for bar in (self._episodes, self._rounds):
            if bar is not None:
                bar.close()
        self._end_line()

    # --- lines

    def _add(self, round_number: int, part: str) -> None:
        """Add to the line of a round: at once, unless bars would be in its way."""
        part = (" | " if self._line else f"round {round_number} ") + part
        self._line += part
        if not self._bars:
            self._say(part)

    def _end_line(self) -> None:
        if self._line:
            self._say(f"{self._line}\n" if self._bars else "\n")
        self._line = ""

    @staticmethod
    def _say(text: str) -> None:
        with tqdm.external_write_mode(file=sys.stdout):
            print(text, end="", flush=True)

    def _remark(self, text: str) -> None:
        """Put a remark on stderr: on a line of its own, where the line of the round stands in the same terminal."""
        if self._line and not self._bars and sys.stdout.isatty():
            self._say("\n")
        with tqdm.external_write_mode(file=sys.stderr):
            print(text, file=sys.stderr, flush=True)


class ComponentTable:
    """What there is to tell of every component."""

    def __init__(self) -> None:
        self._told: dict[str, ComponentStatus] = {}
        self._taken: Counter[str] = Counter()

    def count(self, sight: ComponentSnapshot) -> None:
        self._taken[sight.component] += sum(number for _, _, number in sight.received)

    def changed(self, components: Mapping[str, ComponentStatus]) -> Iterable[str]:
        """Return a line for each component that does otherwise than it was told."""
        for name, status in components.items():
            if self._told.get(name) != status:
                yield f"{name}: {describe(status)}"
        self._told = dict(components)

    def after_round(self, number: int) -> str:
        """Return a table of all components, with what they took since the round before."""
        width = max(map(len, self._told), default=0)
        lines = [
            f"  {name:<{width}}  {describe(status)}, took {self._taken[name]:,} messages"
            for name, status in self._told.items()
        ]
        self._taken.clear()
        return "\n".join((f"components in round {number}:", *lines))


def describe(status: ComponentStatus) -> str:
    """Return how a component does, in words."""
    where = "" if status.process_id is None else f", process {status.process_id}"
    return f"{status.state}{where}" + (f", failed {status.n_failures} ×" if status.n_failures else "")


def told(score: float) -> str:
    """Return a score with one decimal, where it has any."""
    return f"{score:.1f}".removesuffix(".0")
