"""One round of evolution: which answers it waits for, and the fitness that follows from them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import component_order
from swarmsim.components.membership import SET, acknowledges
from swarmsim.components.protocol.evolution import Contribution, Genomes
from swarmsim.learning.genetic import Generation
from swarmsim.learning.hyperparameters import Fitness
from swarmsim.learning.led_returns import Worth
from swarmsim.messaging.message import Message, root_id
from swarmsim.messaging.rooms import Member


@dataclass
class EvolutionRound:
    """The answers to one evolution so far."""

    request: Message  # of control
    known: frozenset[str]  # models that acknowledge SET; they answer by the names under which they are present
    unnamed: Mapping[str, int]  # of each other member, the number of its genomes, whose names only its answer tells
    n_aggregations: int
    departed: set[str] = field(default_factory=set)
    genomes: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    moments: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    advantages: dict[str, float] = field(default_factory=dict)
    returns: dict[str, float] = field(default_factory=dict)
    contribution: dict[str, float] = field(default_factory=dict)
    diversity: float = 0.0
    n_reports: int = 0
    worth: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    hyperparameters: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    acknowledging: frozenset[str] = frozenset()  # aggregations that must know who is whose copy
    generation: Generation | None = None
    confirmed: set[str] = field(default_factory=set)  # components that have acknowledged the next generation

    @classmethod
    def of(cls, request: Message, models: Collection[Member], aggregations: Collection[Member]) -> "EvolutionRound":
        """Return an evolution that waits for all `models`, and for the `aggregations`."""
        n_aggregations = sum(len(member.components) for member in aggregations)
        acknowledging = frozenset(name for m in aggregations if acknowledges(m, SET) for name in m.components)
        known = frozenset(name for member in models if acknowledges(member, SET) for name in member.components)
        unnamed = {member.id: len(member.components) for member in models if not acknowledges(member, SET)}
        return cls(request, known, unnamed, n_aggregations, acknowledging=acknowledging)

    @property
    def root_id(self) -> object:
        return root_id(self.request)

    @property
    def n_weights(self) -> int | None:
        """G, the number of genes in a genome; None before the first one."""
        return next((genome.size for genome in self.genomes.values()), None)

    @property
    def has_models(self) -> bool:
        """Whether any model is left that was asked."""
        return bool(self.known or self.unnamed)

    def remove(self, names: Collection[str], present: Collection[str]) -> None:
        """Continue without the components of a member that has left; `present` are the ids of those still there."""
        self.departed |= self.known.intersection(names)
        self.known -= self.departed
        self.unnamed = {member: number for member, number in self.unnamed.items() if member in present}

    def add_genomes(self, answer: Genomes) -> None:
        """Add the genomes of models that were asked and are still present."""
        for row, name in enumerate(answer.names):
            if name not in self.known and (not self.unnamed or name in self.departed):
                continue
            self.genomes[name] = genome = answer.weights[row]
            if answer.moments is not None and answer.moments.shape[1:] == (2, genome.size):
                self.moments[name] = answer.moments[row]
            if answer.advantages is not None and answer.advantages.ndim == 1:
                self.advantages[name] = float(answer.advantages[row])
            if answer.hyperparameters is not None and answer.hyperparameters.ndim == 2:
                self.hyperparameters[name] = answer.hyperparameters[row]

    def add_contribution(self, report: Contribution) -> None:
        self.contribution |= report.contribution
        self.returns |= report.returns
        self.worth |= report.worth
        self.errors |= report.errors
        self.diversity = report.diversity
        self.n_reports += 1

    @property
    def parents(self) -> dict[str, str]:
        """Whose copy models become, of those that become one."""
        if self.generation is None or self.generation.parents is None:
            return {}
        pairs = zip(self.names, self.generation.parents.tolist(), strict=True)
        return {name: self.names[parent] for name, parent in pairs if self.names[parent] != name}

    @property
    def all_moments(self) -> NDArray[np.float32] | None:
        """Adam's moments of all models, (P, 2, G); None unless all of them have sent theirs."""
        if not all(name in self.moments for name in self.names):
            return None
        return np.stack([self.moments[name] for name in self.names])

    def fitness(self, kind: Fitness) -> NDArray[np.float64]:
        """Return the fitness (P,) of the models; models without a known one get the median.

        If it is known of none, as of models that learn in another way, their contribution counts.
        """
        values = {"contribution": self.contribution, "advantage": self.advantages, "return": self.returns}[kind]
        known = [values[name] for name in self.names if name in values]
        if not known:
            return np.array([self.contribution.get(name, 0.0) for name in self.names])
        default = 0.0 if kind == "contribution" else float(np.median(known))
        return np.array([values.get(name, default) for name in self.names])

    def model_worth(self) -> Worth:
        """Return what the models are worth; those that have never led, the mean, which is no reason to copy them."""
        common = float(np.mean(list(self.worth.values()))) if self.worth else 0.0
        returns = np.array([self.worth.get(name, common) for name in self.names])
        return Worth(returns, np.array([self.errors.get(name, np.inf) for name in self.names]))

    def all_hyperparameters(self, number: int) -> NDArray[np.float64] | None:
        """Return the `number` hyperparameters of all models, (P, H); None unless all of them have sent theirs."""
        values = [self.hyperparameters.get(name, np.zeros(0)) for name in self.names]
        return np.stack(values) if all(len(row) == number for row in values) else None

    @property
    def names(self) -> list[str]:
        """The models whose genomes evolve, sorted."""
        return sorted(self.genomes.keys() - self.departed, key=component_order)

    @property
    def has_all_answers(self) -> bool:
        return (
            self.generation is None
            and self.genomes.keys() >= self.known
            and len(self.names) >= len(self.known) + sum(self.unnamed.values())
            and self.n_reports >= self.n_aggregations
        )

    @property
    def is_confirmed(self) -> bool:
        informed = self.acknowledging if self.parents else frozenset()
        return self.generation is not None and self.confirmed >= self.known | informed
