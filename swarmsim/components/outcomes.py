"""What came of a run, and of an evolution."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RunResult:
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
