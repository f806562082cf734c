"""What one evolution has heard so far."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import component_order
from swarmsim.components.presence import SET, acknowledges
from swarmsim.learning.genetic import Generation
from swarmsim.messaging.message import Message, root_id
from swarmsim.messaging.rooms import Member


@dataclass
class Gathering:
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
    shares: dict[str, float] = field(default_factory=dict)
    diversity: float = 0.0
    n_reports: int = 0
    generation: Generation | None = None
    confirmed: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, asked: Message, models: Iterable[Member], n_aggregations: int) -> "Gathering":
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

    def take(self, genomes: Mapping[str, NDArray[np.float32]]) -> None:
        """Take in the genomes of models that were asked, and are still there."""
        for name, genome in genomes.items():
            if name in self.known or (self.counted and name not in self.gone):
                self.genomes[name] = genome

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
