"""What one evolution has heard so far."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.genetic import Generation
from swarmsim.messaging.message import Message, root_id


@dataclass
class Gathering:
    """What one evolution has heard so far; nothing of it is left for the next."""

    asked: Message
    models: frozenset[str]
    n_aggregations: int
    genomes: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    diversity: float = 0.0
    n_reports: int = 0
    generation: Generation | None = None
    confirmed: set[str] = field(default_factory=set)

    @property
    def root_id(self) -> object:
        return root_id(self.asked)

    @property
    def has_all_answers(self) -> bool:
        return self.generation is None and self.genomes.keys() >= self.models and self.n_reports >= self.n_aggregations

    @property
    def is_confirmed(self) -> bool:
        return self.generation is not None and self.confirmed >= self.models
