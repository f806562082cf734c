"""Rooms `proposal` and `rating`: all models' critics rate the actions that the models propose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import Fields, component_ids, integer, invalid_field, numbers
from swarmsim.finite import are_finite
from swarmsim.learning.networks import Floats
from swarmsim.messaging.message import Message


@dataclass(slots=True)
class Proposal:
    """The actions that P models propose in each of N environments."""

    actions: Floats  # (P, N, D)
    step: int

    @classmethod
    def read(cls, message: Message, width: int) -> Self:
        actions = numbers(message, "PROPOSAL", np.float32)
        if actions.ndim != 3 or not actions.size or actions.shape[2] != width or not are_finite(actions):
            raise invalid_field(message, "PROPOSAL", f"{width} finite number(s) for each model and environment")
        return cls(actions, integer(message, "STEP"))

    def fields(self) -> Fields:
        return {"PROPOSAL": self.actions, "STEP": self.step}


@dataclass(slots=True)
class Rating:
    """The values that the critics of the k models of one process give to P proposals in each of N environments."""

    names: Sequence[str]
    ratings: NDArray[Any]  # (k, P, N)
    step: int

    @classmethod
    def read(cls, message: Message) -> Self:
        names = component_ids(message)
        ratings = numbers(message, "RATING", np.float64)
        if ratings.ndim != 3 or len(ratings) != len(names) or not are_finite(ratings):
            raise invalid_field(message, "RATING", f"finite ratings of all proposals by {len(names)} component(s)")
        return cls(names, ratings, integer(message, "STEP"))

    def fields(self) -> Fields:
        return {"RATING": self.ratings, "COMPONENT_ID": self.names, "STEP": self.step}
