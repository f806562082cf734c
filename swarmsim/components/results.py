"""What came of a run, and of an evolution."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class JobResult:
    """What a run of episodes gave: the return and the length of each, and the seconds that they took.

    The reference system tells their mean return alone; it stands for all of them, and no length is known.
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
class EvolutionResult:
    """What an evolution was based on (shares by model, which sum to 1; mean distance of opinions), and what it did."""

    contribution: dict[str, float]
    diversity: float
    parents_kept: int
    crossovers: int
    mutations: int


@dataclass(frozen=True)
class ComponentSnapshot:
    """What a component told of itself when it was looked at.

    Attributes:
        component: its name.
        taken: how many messages it took since the last look: rooms, senders and numbers.
        shares: of each model, in the decisions since the last evolution; the aggregation tells them.
        learning: sums of losses and the like since the last look, and how many they are sums of; models tell them.
    """

    component: str
    taken: list[tuple[str, str, int]]
    shares: Mapping[str, float] = field(default_factory=dict)
    learning: Mapping[str, float] = field(default_factory=dict)
    learning_number: int = 0
