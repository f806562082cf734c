"""What one evolution has heard so far."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import component_order
from swarmsim.components.membership import SET, acknowledges
from swarmsim.learning.genetic import Generation
from swarmsim.learning.hyperparameters import Fitness
from swarmsim.messaging.message import Message, root_id
from swarmsim.messaging.rooms import Member


@dataclass
class EvolutionRound:
    """What one evolution has heard so far; nothing of it is left for the next.

    Attributes:
        known: models that acknowledge SET, and speak by the names under which they are present.
        counted: of each other member among the models, how many genomes it gives, under names that nobody knows before.
    """

    asked: Message
    known: frozenset[str]
    counted: Mapping[str, int]
    n_aggregations: int
    gone: set[str] = field(default_factory=set)
    genomes: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    moments: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    advantages: dict[str, float] = field(default_factory=dict)
    returns: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    diversity: float = 0.0
    n_reports: int = 0
    generation: Generation | None = None
    confirmed: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, asked: Message, models: Iterable[Member], n_aggregations: int) -> "EvolutionRound":
        """Return that of an evolution which all `models` are asked for."""
        known: set[str] = set()
        counted: dict[str, int] = {}
        for member in models:
            if acknowledges(member, SET):
                known.update(member.components)
            else:
                counted[member.id] = len(member.components)
        return cls(asked, frozenset(known), counted, n_aggregations)

    @property
    def root_id(self) -> object:
        return root_id(self.asked)

    @property
    def awaits_somebody(self) -> bool:
        """Whether any model is left that was asked."""
        return bool(self.known or self.counted)

    def leave(self, names: Collection[str], present: Collection[str]) -> None:
        """Go on without the components of a member that has gone, with the members `present` by their ids."""
        self.gone |= self.known.intersection(names)
        self.known -= self.gone
        self.counted = {member: number for member, number in self.counted.items() if member in present}

    def take(
        self,
        genomes: Mapping[str, NDArray[np.float32]],
        moments: Mapping[str, NDArray[np.float64]],
        advantages: Mapping[str, NDArray[np.float64]],
    ) -> None:
        """Take in the genomes of models that were asked, and are still there, and what else they told of themselves."""
        for name, genome in genomes.items():
            if name in self.known or (self.counted and name not in self.gone):
                self.genomes[name] = genome
                if name in moments and moments[name].shape == (2, genome.size):
                    self.moments[name] = moments[name]
                if name in advantages and advantages[name].ndim == 0:
                    self.advantages[name] = float(advantages[name])

    @property
    def all_moments(self) -> NDArray[np.float32] | None:
        """What the models' optimisers remember, (P, 2, G); None unless all have told."""
        if not all(name in self.moments for name in self.names):
            return None
        return np.stack([self.moments[name] for name in self.names]).astype(np.float32)

    def fitness(self, kind: Fitness) -> NDArray[np.float64]:
        """Return the fitness (P,) of the models, by their names; one of whom it is not known is in the middle.

        Where it is known of none, as of models that learn in another way, their contribution counts.
        """
        told = {"contribution": self.shares, "advantage": self.advantages, "return": self.returns}[kind]
        known = [told[name] for name in self.names if name in told]
        if not known:
            return np.array([self.shares.get(name, 0.0) for name in self.names])
        unknown = 0.0 if kind == "contribution" else float(np.median(known))
        return np.array([told.get(name, unknown) for name in self.names])

    @property
    def names(self) -> list[str]:
        """Those whose genomes evolve, in their order."""
        return sorted(self.genomes.keys() - self.gone, key=component_order)

    @property
    def has_all_answers(self) -> bool:
        return (
            self.generation is None
            and self.genomes.keys() >= self.known
            and len(self.names) >= len(self.known) + sum(self.counted.values())
            and self.n_reports >= self.n_aggregations
        )

    @property
    def is_confirmed(self) -> bool:
        return self.generation is not None and self.confirmed >= self.known
