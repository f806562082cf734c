"""What an experiment tells while it runs."""

from collections.abc import Iterable

from swarmsim.components.outcomes import EvolutionResult, RunResult
from swarmsim.results.history import History, Round

TRAIN, EVALUATE, EVOLVE, EVALUATE_EVOLVED = "train", "evaluate", "evolve", "evaluate again"

Result = RunResult | EvolutionResult


class Report:
    """What an experiment tells while it runs; this one says nothing."""

    def began(self, history: History, n_rounds: int) -> None:
        """The swarm stands."""

    def phase_began(self, round_number: int, phase: str, n_episodes: int) -> None:
        """A phase of a round begins; an evolution has no episodes."""

    def episodes_ended(self, returns: Iterable[float], n_steps: int) -> None:
        """Episodes of this phase ended with these returns, after `n_steps` steps of it in all."""

    def phase_ended(self, round_number: int, phase: str, result: Result) -> None:
        """A phase of a round is done."""

    def round_ended(self, record: Round) -> None:
        """A round is done, and kept."""

    def noted(self, sentence: str) -> None:
        """Something happened that the user should know, and that does not end the run."""

    def close(self) -> None:
        """Nothing more will be told."""
