"""Room `evolution`: genomes, contributions, and the next generation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import (
    Declared,
    Fields,
    Scalar,
    by_component,
    component_ids,
    flag,
    genome,
    has_value,
    invalid_field,
    message_field,
    number,
    number_by_name,
    numbers,
)
from swarmsim.finite import are_finite
from swarmsim.learning.networks import Floats
from swarmsim.messaging.message import Message


@dataclass(slots=True)
class GetRequest(Declared):
    """Evolution asks the models for their genomes, and the aggregation for their contributions."""

    KIND = "CMD", "GET"
    answers_directly: bool = message_field("DIRECT", partial(flag, default=False), default=True)


@dataclass(slots=True)
class Genomes:
    """The weights of k models, with Adam's moments, their hyperparameters and, if estimated, cumulative advantages."""

    names: Sequence[str]
    weights: Floats  # (k, G)
    moments: Floats | None = None  # (k, 2, G)
    advantages: NDArray[np.float64] | None = None  # (k,)
    hyperparameters: NDArray[np.float64] | None = None  # (k, H)

    @classmethod
    def read(cls, message: Message, n_weights: int | None = None) -> Self | None:
        """Read the message; the first one of an evolution decides how many weights (G) all others have."""
        if "WEIGHTS" not in message or "COMPONENT_ID" not in message:
            return None
        names = component_ids(message)
        weights = numbers(message, "WEIGHTS", np.float32)
        length = n_weights or weights.size // len(names)
        if weights.size != len(names) * length or not length or not are_finite(weights):
            raise invalid_field(message, "WEIGHTS", f"a genome of finite numbers for each of {len(names)} component(s)")
        moments = _by_name(message, "MOMENTS", len(names), np.float32)
        advantages = _by_name(message, "ADVANTAGE", len(names), np.float64)
        hyperparameters = _by_name(message, "HYPERPARAMETERS", len(names), np.float64)
        return cls(names, weights.reshape(len(names), -1), moments, advantages, hyperparameters)

    def fields(self) -> Fields:
        optional = {"MOMENTS": self.moments, "ADVANTAGE": self.advantages, "HYPERPARAMETERS": self.hyperparameters}
        present = {key: value for key, value in optional.items() if value is not None}
        return {"WEIGHTS": self.weights, **present, "COMPONENT_ID": self.names}


def _by_name(message: Message, key: str, n_names: int, dtype: type[Scalar]) -> NDArray[Scalar] | None:
    """Return a field that holds numbers for each component the message speaks for, (k, …); None if it is missing."""
    if key not in message:
        return None
    values = numbers(message, key, dtype)
    if values.shape[:1] != (n_names,) or not are_finite(values):
        raise invalid_field(message, key, f"finite numbers for each of {n_names} component(s)")
    return values


@dataclass(slots=True)
class Contribution(Declared):
    """Each model's contribution since the last evolution, the diversity, and the mean returns of leaders.

    What each model is worth, and the standard error of that, take all episodes into account that it ever led.
    """

    KIND = "CONTRIBUTION", None
    contribution: dict[str, float] = message_field("CONTRIBUTION", number_by_name)
    diversity: float = message_field("DIVERSITY", partial(number, default=0.0))
    returns: dict[str, float] = message_field("RETURN", partial(number_by_name, default={}), default_factory=dict)
    worth: dict[str, float] = message_field("WORTH", partial(number_by_name, default={}), default_factory=dict)
    errors: dict[str, float] = message_field("WORTH_ERROR", partial(number_by_name, default={}), default_factory=dict)


@dataclass(slots=True)
class SetRequest:
    """Evolution hands out the next generation."""

    weights: Mapping[str, Floats]  # (G,) by model
    moments: Mapping[str, Floats] = field(default_factory=dict)  # (2, G) by model, of Adam, if they are inherited
    hyperparameters: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # (H,) by model, if they evolve
    parents: Mapping[str, str] = field(default_factory=dict)  # by model that is a copy

    @classmethod
    def read(cls, message: Message, names: Sequence[str], n_weights: int, n_hyperparameters: int) -> Self | None:
        if not has_value(message, "CMD", "SET"):
            return None
        given = by_component(message, "HYPERPARAMETERS", names) if "HYPERPARAMETERS" in message else {}
        weights = by_component(message, "WEIGHTS", names)
        moments = by_component(message, "MOMENTS", names) if "MOMENTS" in message else {}
        return cls(
            {name: genome(message, "WEIGHTS", vector, n_weights) for name, vector in weights.items()},
            {name: _moments(message, value, n_weights) for name, value in moments.items()},
            {name: _hyperparameters(message, value, n_hyperparameters) for name, value in given.items()},
            parents_in(message),
        )

    def fields(self) -> Fields:
        optional = {"MOMENTS": self.moments, "HYPERPARAMETERS": self.hyperparameters, "PARENTS": self.parents}
        present = {key: value for key, value in optional.items() if value}
        return {"CMD": "SET", "DIRECT": True, "WEIGHTS": self.weights, **present}


def parents_in(message: Message) -> dict[str, str]:
    """Return the parents of models that are copies; raises MessageRefused if they are no names."""
    parents = message.get("PARENTS", {})
    if not isinstance(parents, Mapping) or not all(isinstance(name, str) for pair in parents.items() for name in pair):
        raise invalid_field(message, "PARENTS", "a mapping of models to models")
    return dict(parents)


def _hyperparameters(message: Message, value: object, number: int) -> NDArray[np.float64]:
    message = {**message, "HYPERPARAMETERS": value}
    values = numbers(message, "HYPERPARAMETERS", np.float64)
    if values.shape != (number,) or not are_finite(values) or (values < 0).any():
        raise invalid_field(message, "HYPERPARAMETERS", f"{number} finite numbers from 0")
    return values


def _moments(message: Message, value: object, n_weights: int) -> Floats:
    message = {**message, "MOMENTS": value}
    moments = numbers(message, "MOMENTS", np.float32)
    if moments.shape != (2, n_weights) or not are_finite(moments) or (moments[1] < 0).any():
        raise invalid_field(message, "MOMENTS", f"two finite moments of {n_weights} weights each")
    return moments


@dataclass(slots=True)
class SetDone(Declared):
    """Models have taken over their genomes of the next generation."""

    KIND = "STATUS", "SET_DONE"
    names: Sequence[str] = message_field("COMPONENT_ID", component_ids)
