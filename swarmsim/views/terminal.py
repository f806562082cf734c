"""What a user sees while an experiment runs: bars on stderr, a line for each phase on stdout."""

import sys
import threading
import time
from collections.abc import Iterable
from typing import Never

from tqdm import tqdm

from swarmsim.components.outcomes import EvolutionResult
from swarmsim.report import EVALUATE_EVOLVED, EVOLVE, TRAIN, Report, Result
from swarmsim.results.history import History, Round


class TerminalReport(Report):
    """Bars for rounds and episodes, where `bars` and stderr is a terminal; results on stdout."""

    def __init__(self, bars: bool = True) -> None:
        self._off = not (bars and sys.stderr.isatty())
        tqdm.monitor_interval = 0  # no thread in a process that forks
        tqdm.set_lock(threading.RLock())
        self._rounds: tqdm[Never] | None = None
        self._episodes: tqdm[Never] | None = None
        self._returns: list[float] = []
        self._began = 0.0

    def began(self, history: History, n_rounds: int) -> None:
        settings = history.settings
        self._say(
            f"{settings['population']} models in {settings['workers']} process(es) act as one on {settings['env']}, "
            f"seed {settings['seed']}, link {settings['link']}, preset {settings['preset']}"
        )
        self._rounds = tqdm(total=n_rounds, desc="rounds", unit="round", disable=self._off, position=0)

    def phase_began(self, round_number: int, phase: str, n_episodes: int) -> None:
        self._returns = []
        self._began = time.monotonic()
        if phase != EVOLVE:
            self._episodes = tqdm(
                total=n_episodes,
                desc=f"{phase} {round_number}",
                unit="episode",
                disable=self._off,
                position=1,
                leave=False,
            )

    def episodes_ended(self, returns: Iterable[float], n_steps: int) -> None:
        assert self._episodes is not None
        new = list(returns)
        self._returns += new
        score = sum(self._returns) / len(self._returns) if self._returns else 0.0
        speed = n_steps / (time.monotonic() - self._began)
        self._episodes.set_postfix_str(f"score {score:.1f}, {speed:,.0f} steps/s", refresh=False)
        self._episodes.update(len(new))

    def phase_ended(self, round_number: int, phase: str, result: Result) -> None:
        if self._episodes is not None:
            self._episodes.close()
            self._episodes = None
        if isinstance(result, EvolutionResult):
            told = (
                f"parents kept {result.parents_kept}, crossovers {result.crossovers}, "
                f"mutations {result.mutations}, diversity {result.diversity:.3f}"
            )
        else:
            told = f"{result.score:8.1f}"
            if phase == TRAIN:
                speed = result.n_steps / result.seconds
                told += f"   {len(result.returns)} episodes, {result.n_steps:,} steps, {speed:,.0f} steps/s"
            elif phase == EVALUATE_EVOLVED:
                told += "   after evolution"
        self._say(f"round {round_number}  {phase.split(maxsplit=1)[0]:<8} {told}")

    def round_ended(self, record: Round) -> None:
        if self._rounds is not None:
            self._rounds.update()

    def noted(self, sentence: str) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            print(f"swarmsim: {sentence}", file=sys.stderr, flush=True)

    def close(self) -> None:
        for bar in (self._episodes, self._rounds):
            if bar is not None:
                bar.close()

    def _say(self, line: str) -> None:
        with tqdm.external_write_mode(file=sys.stdout):
            print(line, flush=True)
