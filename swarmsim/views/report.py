"""The interface of everything that shows a run: the run's events, and what a report may want of the run."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

from swarmsim.components.observer import Observer
from swarmsim.components.results import EvolutionResult, JobResult
from swarmsim.console import show
from swarmsim.errors import SettingsError
from swarmsim.results.history import History, Round

TRAIN, EVALUATE, EVOLVE, EVALUATE_EVOLVED = "train", "evaluate", "evolve", "evaluate again"

Result = JobResult | EvolutionResult
P = ParamSpec("P")


@dataclass(frozen=True)
class ComponentStatus:
    """The status of a component that this launcher started.

    Attributes:
        state: starting, ready, left, failed or stopped.
        process_id: None if it runs in the launcher's own process, or has ended.
        n_failures: how many of its processes have failed since the run began; each was replaced, unless it is stopped.
    """

    state: str
    process_id: int | None
    n_failures: int


class Report(Observer):
    """Receives the events of a run; this one ignores them all, and wants nothing.

    Write a subclass with the methods that you need, and pass it as `run(report=…)`.
    """

    def began(self, history: History, n_rounds: int) -> None:
        """The swarm has started; `history` has the rounds done before, and grows by each new one."""

    def components_changed(self, components: Mapping[str, ComponentStatus]) -> None:
        """The status of some components changed; all are given, by their names."""

    def phase_began(self, round_number: int, phase: str, n_episodes: int) -> None:
        """A phase began: train, evaluate, evolve or "evaluate again"; an evolution has 0 episodes."""

    def episodes_ended(self, returns: Sequence[float], n_steps: int) -> None:
        """Episodes of this phase ended with these returns, after `n_steps` steps of the phase in all."""

    def evaluated(self, round_number: int, n_steps: int, result: JobResult) -> None:
        """An evaluation within training ended, after `n_steps` training steps of the run; training continues."""

    def phase_ended(self, round_number: int, phase: str, result: Result) -> None:
        """A phase of a round ended with this result."""

    def round_ended(self, record: Round) -> None:
        """A round ended, and is saved."""

    def noted(self, sentence: str) -> None:
        """Something happened that the user should know, and that does not end the run."""

    def close(self) -> None:
        """The run has ended; no event follows."""


def _to_each(event: Callable[Concatenate[Report, P], None]) -> Callable[Concatenate["Reports", P], None]:
    """Return a method that passes an event on to each report."""

    def forward(self: "Reports", *args: P.args, **kwargs: P.kwargs) -> None:
        for report in self._reports:
            self._call(report, event.__name__, *args, **kwargs)

    return forward


def _of_any(wish: Callable[[Report], bool]) -> Callable[["Reports"], bool]:
    """Return a method that asks the reports, in their order, until one answers yes."""
    return lambda self: any(self._call(report, wish.__name__) for report in self._reports)


class Reports(Report):
    """Several reports as one: each receives every event, and what any of them wants is done."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self._reports = reports

    def _call(self, report: Report, event: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(report, event)(*args, **kwargs)

    began = _to_each(Report.began)
    components_changed = _to_each(Report.components_changed)
    component_seen = _to_each(Report.component_seen)
    phase_began = _to_each(Report.phase_began)
    episodes_ended = _to_each(Report.episodes_ended)
    evaluated = _to_each(Report.evaluated)
    phase_ended = _to_each(Report.phase_ended)
    round_ended = _to_each(Report.round_ended)
    noted = _to_each(Report.noted)
    waiting = _to_each(Report.waiting)
    close = _to_each(Report.close)
    wants_snapshot = _of_any(Report.wants_snapshot)
    wants_pause = _of_any(Report.wants_pause)
    wants_stop = _of_any(Report.wants_stop)


class Decorations(Reports):
    """Views of a run, which do not decide how it ends: one that fails is left out from then on, with a line.

    Raises (`began`):
        SettingsError: a view cannot be shown as its user wants.
    """

    def _call(self, report: Report, event: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._call(report, event, *args, **kwargs)
        except Exception as error:
            if isinstance(error, SettingsError) and event == Report.began.__name__:
                raise
            self._reports = [other for other in self._reports if other is not report]
            reason = f"{type(report).__name__}: {type(error).__name__}: {error}"
            show(f"swarmsim: the run continues without {reason}", sys.stderr)
            with suppress(Exception):
                report.close()
            return False
