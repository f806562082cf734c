"""What an experiment tells while it runs, and what whoever is told may ask of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from swarmsim.components.results import ComponentSnapshot, EvolutionResult, JobResult
from swarmsim.results.history import History, Round

TRAIN, EVALUATE, EVOLVE, EVALUATE_EVOLVED = "train", "evaluate", "evolve", "evaluate again"

Result = JobResult | EvolutionResult


@dataclass(frozen=True)
class ComponentStatus:
    """How a component does.

    Attributes:
        state: starting, ready, left, failed or stopped.
        process_id: None where it runs in the launcher's own process, or not any more.
        n_failures: how often a process of it has failed since the run began; each was replaced, unless it has stopped.
    """

    state: str
    process_id: int | None
    n_failures: int


class Report:
    """What an experiment tells while it runs; this one says nothing, and wants nothing.

    Write a class of it with those methods that you need, and give it to `run(report=…)`.
    """

    def began(self, history: History, n_rounds: int) -> None:
        """The swarm stands; `history` holds the rounds that were done before, and grows by each that is done."""

    def components_changed(self, components: Mapping[str, ComponentStatus]) -> None:
        """Some of the components, which are told by their names, do otherwise than before."""

    def component_seen(self, sight: ComponentSnapshot) -> None:
        """A component shows what it has seen: after each round, and when this report wants a look."""

    def phase_began(self, round_number: int, phase: str, n_episodes: int) -> None:
        """A phase begins: train, evaluate, evolve or "evaluate again"; an evolution has no episodes."""

    def episodes_ended(self, returns: Iterable[float], n_steps: int) -> None:
        """Episodes of this phase ended with these returns, after `n_steps` steps of it in all."""

    def phase_ended(self, round_number: int, phase: str, result: Result) -> None:
        """A phase of a round is done, and this is what came of it."""

    def round_ended(self, record: Round) -> None:
        """A round is done, and kept."""

    def noted(self, sentence: str) -> None:
        """Something happened that the user should know, and that does not end the run."""

    def close(self) -> None:
        """Nothing more will be told."""

    def wants_snapshot(self) -> bool:
        """Tell whether the components are to be looked at now; asked at most ten times a second."""
        return False

    def wants_pause(self) -> bool:
        """Tell whether the run is to stand still, until it is not any more."""
        return False

    def wants_stop(self) -> bool:
        """Tell whether the run is to end now: with a checkpoint, from which it can be gone on with."""
        return False


class Reports(Report):
    """Several reports, each told all there is to tell; what one of them wants is done."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self._reports = reports

    def began(self, history: History, n_rounds: int) -> None:
        for report in self._reports:
            report.began(history, n_rounds)

    def components_changed(self, components: Mapping[str, ComponentStatus]) -> None:
        for report in self._reports:
            report.components_changed(components)

    def component_seen(self, sight: ComponentSnapshot) -> None:
        for report in self._reports:
            report.component_seen(sight)

    def phase_began(self, round_number: int, phase: str, n_episodes: int) -> None:
        for report in self._reports:
            report.phase_began(round_number, phase, n_episodes)

    def episodes_ended(self, returns: Iterable[float], n_steps: int) -> None:
        told = list(returns)
        for report in self._reports:
            report.episodes_ended(told, n_steps)

    def phase_ended(self, round_number: int, phase: str, result: Result) -> None:
        for report in self._reports:
            report.phase_ended(round_number, phase, result)

    def round_ended(self, record: Round) -> None:
        for report in self._reports:
            report.round_ended(record)

    def noted(self, sentence: str) -> None:
        for report in self._reports:
            report.noted(sentence)

    def close(self) -> None:
        for report in self._reports:
            report.close()

    def wants_snapshot(self) -> bool:
        return any(report.wants_snapshot() for report in self._reports)

    def wants_pause(self) -> bool:
        return any(report.wants_pause() for report in self._reports)

    def wants_stop(self) -> bool:
        return any(report.wants_stop() for report in self._reports)
