"""The results of jobs and evolutions, and what a component shows of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from swarmsim.learning.genetic import GeneticCounts


@dataclass(frozen=True)
class JobResult:
    """The return and the length of each episode of a job, and the seconds that the job took.

    The reference system reports the mean return alone: it then stands for all returns, and no length is known.
    """

    returns: list[float]
    lengths: list[int]
    seconds: float

    @property
    def score(self) -> float:
        """The mean return."""
        return sum(self.returns) / len(self.returns)

    @property
    def n_steps(self) -> int:
        return sum(self.lengths)


@dataclass(frozen=True)
class EvolutionResult(GeneticCounts):
    """What an evolution was based on, and what it did.

    Attributes:
        contribution: of each model to the decisions since the evolution before; they sum to 1.
        diversity: the models' mean pairwise total variation distance in these decisions.
        parents: of the models that became copies.
        hyperparameters: of each model by name, as they were until this evolution; those that evolve.
    """

    contribution: dict[str, float]
    diversity: float
    parents: dict[str, str] = field(default_factory=dict)
    hyperparameters: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ComponentSnapshot:
    """What a component shows of itself.

    Attributes:
        component: its name.
        received: the number of messages that it has received since its last snapshot, as (room, sender, number).
        contribution: of each model to the decisions since the last evolution; from the aggregation alone.
        learning: sums of losses and other learning statistics since the last snapshot; from models alone.
        n_learning: the number of values in each of these sums.
    """

    component: str
    received: list[tuple[str, str, int]]
    contribution: Mapping[str, float] | None = None
    learning: Mapping[str, float] | None = None
    n_learning: int = 0
