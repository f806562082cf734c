"""Room `control`: requests of jobs and evolutions, and their results."""

from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from functools import partial
from typing import Self

import numpy as np

from swarmsim.components.fields import (
    Declared,
    Fields,
    by_component,
    flag,
    has_value,
    integer,
    invalid_field,
    message_field,
    number,
    number_by_name,
    numbers,
)
from swarmsim.components.protocol.evolution import parents_in
from swarmsim.components.results import EvolutionResult, JobResult
from swarmsim.finite import are_finite
from swarmsim.learning.genetic import GeneticCounts
from swarmsim.messaging.message import Message


def _floats(message: Message, key: str) -> list[float]:
    return numbers(message, key, np.float64).tolist()


def _steps_if_given(message: Message, key: str) -> int | None:
    return integer(message, key, minimum=1) if key in message else None


@dataclass(slots=True)
class JobRequest(Declared):
    """Control asks the environment to play `n_episodes`, and for reports of its progress if it wants them.

    After `pause_at` steps of the job the environment pauses by itself, until the request is repeated with a later one.
    """

    KIND = "NR_OF_EPISODE", None
    n_episodes: int = message_field("NR_OF_EPISODE", partial(integer, minimum=1))
    deterministic: bool = message_field("DETERMINISTIC", partial(flag, default=False))
    wants_progress: bool = message_field("PROGRESS", partial(flag, default=False), default=False)
    pause_at: int | None = message_field("PAUSE_AT", _steps_if_given, default=None)


@dataclass(slots=True)
class JobProgress(Declared):
    """Episodes of a job that ended since the last report, and all its environment steps so far."""

    KIND = "STATUS", "ENV_PROGRESS"
    returns: list[float] = message_field("RETURNS", _floats)
    n_steps: int = message_field("STEPS", integer)


@dataclass(slots=True)
class PauseRequest(Declared):
    """Control asks the environment to stop after its current step, until the job's request is repeated."""

    KIND = "CMD", "PAUSE"


@dataclass(slots=True)
class Paused(Declared):
    """The environment has stopped, after so many steps of its job."""

    KIND = "STATUS", "PAUSED"
    n_steps: int = message_field("STEPS", partial(integer, default=0), default=0)


@dataclass(slots=True)
class EvolutionRequest(Declared):
    """Control asks for the next generation."""

    KIND = "EVOLUTION", True


@dataclass(slots=True)
class JobDone:
    """A job is done; training episodes are numbered. The reference system sends the mean return alone."""

    result: JobResult
    episodes: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, message: Message, *, seconds: float = 0.0) -> Self | None:
        """Read the message; `seconds` is the job's duration where the message holds none."""
        if not has_value(message, "STATUS", "ENV_DONE"):
            return None
        score, seconds = number(message, "AVG_SCORE"), number(message, "SECONDS", default=seconds)
        if "RETURNS" not in message:
            return cls(JobResult([score], [], seconds))
        returns, lengths = numbers(message, "RETURNS", np.float64), numbers(message, "LENGTHS", np.int64)
        if returns.ndim != 1 or returns.size == 0 or returns.shape != lengths.shape or not are_finite(returns):
            raise invalid_field(message, "RETURNS", "a finite return and a length for each episode")
        episodes = numbers(message, "EPISODES", np.int64).tolist() if "EPISODES" in message else []
        return cls(JobResult(returns.tolist(), lengths.tolist(), seconds), episodes)

    def fields(self) -> Fields:
        result = self.result
        done = {"STATUS": "ENV_DONE", "AVG_SCORE": float(np.mean(result.returns)), "RETURNS": result.returns}
        done |= {"LENGTHS": result.lengths, "SECONDS": result.seconds}
        return done | ({"EPISODES": self.episodes} if self.episodes else {})


@dataclass(slots=True)
class EvolutionDone:
    """The next generation is in place."""

    result: EvolutionResult

    @classmethod
    def read(cls, message: Message) -> Self | None:
        if not has_value(message, "STATUS", "EVO_DONE"):
            return None
        contribution = by_component(message, "CONTRIBUTION") if "CONTRIBUTION" in message else {}
        diversity = number(message, "DIVERSITY", default=0.0)
        counts = {f.name: integer(message, f.name.upper(), default=0) for f in dataclass_fields(GeneticCounts)}
        hyperparameters = {
            name: number_by_name({**message, "HYPERPARAMETERS": values}, "HYPERPARAMETERS")
            for name, values in (
                by_component(message, "HYPERPARAMETERS") if "HYPERPARAMETERS" in message else {}
            ).items()
        }
        result = EvolutionResult(
            **counts,
            contribution=contribution,
            diversity=diversity,
            parents=parents_in(message),
            hyperparameters=hyperparameters,
        )
        return cls(result)

    def fields(self) -> Fields:
        return {"STATUS": "EVO_DONE"} | {name.upper(): value for name, value in asdict(self.result).items()}
