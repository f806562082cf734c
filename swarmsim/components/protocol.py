"""The messages of the main job: a dataclass for each, which reads its fields from a message and writes them into one.

`read(message)` returns None if the message is of another kind, and raises MessageRefused if one of its fields cannot
be used. Inside, arrays always have one row for each of N environments. On the wire, a single environment may be sent
without that axis, as the reference system does: this file alone knows of it. docs/protocol.md shows all messages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from functools import partial
from math import isfinite
from typing import Any, Self

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
    integer,
    invalid_field,
    message_field,
    number,
    number_by_name,
    numbers,
    text,
)
from swarmsim.components.results import ComponentSnapshot, EvolutionResult, JobResult
from swarmsim.finite import are_finite
from swarmsim.learning.distributions import Categorical, Distribution
from swarmsim.learning.genetic import GeneticCounts
from swarmsim.learning.learner import Transition
from swarmsim.learning.networks import Floats
from swarmsim.messaging.message import MODEL_STATUS, Message

_PYTHON = {np.bool_: bool, np.int64: int, np.float32: float, np.float64: float}


# --- one environment or several


def _squeeze(array: NDArray[Any]) -> Any:
    """Return an array (N, …) as it is sent: a single environment's row without its axis, a number as a plain one."""
    if len(array) > 1:
        return array
    return array[0].tolist() if array.ndim == 1 else array[0]


def _by_environment(message: Message, key: str, dtype: type[Scalar], n_envs: int) -> NDArray[Scalar]:
    """Return a field with one finite value for each environment, (N,)."""
    value = message.get(key)
    if n_envs == 1 and type(value) is _PYTHON[dtype] and isfinite(value):  # type: ignore[arg-type]
        return np.array((value,), dtype)
    array = numbers(message, key, dtype).reshape(-1)
    if array.size != n_envs or (dtype is np.float32 and not are_finite(array)):
        raise invalid_field(message, key, f"one finite value for each of {n_envs} environment(s)")
    return array


def _rows(message: Message, key: str, width: int) -> Floats:
    """Return a field with one vector of `width` finite numbers for each environment, (N, width)."""
    array = numbers(message, key, np.float32)
    if array.size == 0 or array.size % width or not are_finite(array):
        raise invalid_field(message, key, f"one vector of {width} finite numbers for each environment")
    return array.reshape(-1, width)


def _choices(message: Message, n_envs: int, n_choices: int) -> NDArray[np.int64]:
    """Return an action for each environment, (N,), counted from 0."""
    value = message.get("ACTION")
    if n_envs == 1 and type(value) is int and 0 <= value < n_choices:
        return np.array((value,))
    array = np.full(n_envs, -1) if type(value) is int else _by_environment(message, "ACTION", np.int64, n_envs)
    if array.min() < 0 or array.max() >= n_choices:
        raise invalid_field(message, "ACTION", f"made of actions from 0 to {n_choices - 1}")
    return array


def _actions(message: Message, n_envs: int, distribution: Distribution) -> NDArray[Any]:
    """Return an action for each environment: (N,) of a discrete space, (N, D) of a continuous one."""
    if isinstance(distribution, Categorical):
        return _choices(message, n_envs, distribution.n)
    (width,) = distribution.action_shape
    vectors = _rows(message, "ACTION", width)
    if len(vectors) != n_envs:
        raise invalid_field(message, "ACTION", f"{width} finite number(s) for each of {n_envs} environment(s)")
    return vectors


def _floats(message: Message, key: str) -> list[float]:
    return numbers(message, key, np.float64).tolist()


# --- room `control`


@dataclass(slots=True)
class JobRequest(Declared):
    """Control asks the environment to play `n_episodes`, and for reports of its progress if it wants them."""

    KIND = "NR_OF_EPISODE", None
    n_episodes: int = message_field("NR_OF_EPISODE", partial(integer, minimum=1))
    deterministic: bool = message_field("DETERMINISTIC", partial(flag, default=False))
    wants_progress: bool = message_field("PROGRESS", partial(flag, default=False), default=False)


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
    """The environment has stopped."""

    KIND = "STATUS", "PAUSED"


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
        return cls(EvolutionResult(**counts, contribution=contribution, diversity=diversity))

    def fields(self) -> Fields:
        return {"STATUS": "EVO_DONE"} | {name.upper(): value for name, value in asdict(self.result).items()}


# --- rooms `observation`, `logits` and `action`


@dataclass(slots=True)
class Observation:
    """What the environments show now, and the transition to it; the last one of a job gets no answer."""

    observations: Floats  # (N, n_inputs)
    deterministic: bool
    step: int | None = None  # of the job, from 0; None from a sender that counts no steps
    episodes: NDArray[np.int64] | None = None  # (N,), numbers of training episodes
    active: NDArray[np.bool_] | None = None  # (N,), False where no episode is left; None if there is one everywhere
    is_last: bool = False
    transition: Mapping[str, Any] = field(default_factory=dict)  # `transition_fields`

    @classmethod
    def read(cls, message: Message, n_inputs: int) -> Self:
        """Read what a model needs to act; `read_transition` reads what it learns from."""
        observations = _rows(message, "OBSERVATION", n_inputs)
        step = integer(message, "STEP") if "STEP" in message else None
        return cls(observations, flag(message, "DETERMINISTIC"), step, is_last=flag(message, "LAST", default=False))

    def fields(self) -> Fields:
        status = MODEL_STATUS.VALIDATE if self.deterministic else MODEL_STATUS.TRAIN
        shown: Fields = {
            "MODEL_STATUS": status.id,
            "OBSERVATION": _squeeze(self.observations),
            "DETERMINISTIC": self.deterministic,
            "STEP": self.step,
            **self.transition,
        }
        if len(self.observations) > 1:
            shown["ACTIVE"] = self.active
        if self.episodes is not None:
            shown["EPISODE"] = _squeeze(self.episodes)
        if self.is_last:
            shown["LAST"] = True
        return shown


def repeated_fields(message: Message) -> Fields:
    """Return what an answer repeats of an observation, as it was sent: no model needs to read it."""
    return {key: message[key] for key in ("STEP", "EPISODE", "ACTIVE") if key in message}


def transition_fields(transition: Transition) -> Fields:
    """Return the fields of an `Observation` for the transition that led to it."""
    shown = {
        "ACTION": transition.actions,
        "REWARD": transition.rewards,
        "DONE": transition.terminated | transition.truncated,
    }
    if transition.log_probs is not None:
        shown["LOG_PROB"] = transition.log_probs
    if transition.final_observations is not None and transition.truncated.any():
        shown["TRUNCATED"] = transition.truncated
        shown["FINAL_OBSERVATION"] = transition.final_observations
    if len(transition.rewards) > 1 or not transition.active[0]:
        shown["ACTED"] = transition.active
    if len(transition.rewards) > 1:
        return shown
    return {key: value[0].tolist() if value.ndim == 1 else value[0] for key, value in shown.items()}


def read_transition(message: Message, n_envs: int, n_inputs: int, distribution: Distribution) -> Transition:
    """Return the transition in an observation message."""
    done = _by_environment(message, "DONE", np.bool_, n_envs)
    nowhere = np.zeros(n_envs, np.bool_)
    truncated = _by_environment(message, "TRUNCATED", np.bool_, n_envs) if "TRUNCATED" in message else nowhere
    return Transition(
        actions=_actions(message, n_envs, distribution),
        rewards=_by_environment(message, "REWARD", np.float32, n_envs),
        terminated=done & ~truncated,
        truncated=truncated,
        final_observations=_rows(message, "FINAL_OBSERVATION", n_inputs) if truncated.any() else None,
        active=_by_environment(message, "ACTED", np.bool_, n_envs) if "ACTED" in message else ~nowhere,
        log_probs=_by_environment(message, "LOG_PROB", np.float32, n_envs) if "LOG_PROB" in message else None,
    )


@dataclass(slots=True)
class Logits:
    """The outputs of the k models of one process for an observation, with its step, episodes and active ones."""

    names: Sequence[str]
    logits: NDArray[Any]  # (k, N, n_outputs)
    deterministic: bool
    step: int | None = None
    episodes: NDArray[np.int64] | None = None
    active: NDArray[np.bool_] | None = None

    @classmethod
    def read(cls, message: Message) -> Self:
        names = component_ids(message)
        logits = numbers(message, "LOGITS", np.float64)
        if logits.size == 0 or logits.ndim == 0 or logits.size % (len(names) * logits.shape[-1]):
            raise invalid_field(message, "LOGITS", f"one set of logits for each of {len(names)} component(s)")
        if not are_finite(logits):
            raise invalid_field(message, "LOGITS", "made of finite numbers")
        logits = logits.reshape(len(names), -1, logits.shape[-1])
        n_envs = logits.shape[1]
        return cls(
            names,
            logits,
            flag(message, "DETERMINISTIC"),
            integer(message, "STEP") if "STEP" in message else None,
            _by_environment(message, "EPISODE", np.int64, n_envs) if "EPISODE" in message else None,
            _by_environment(message, "ACTIVE", np.bool_, n_envs) if "ACTIVE" in message else None,
        )

    def fields(self) -> Fields:
        logits = self.logits[:, 0] if self.logits.shape[1] == 1 else self.logits
        answer: Fields = {"LOGITS": logits, "COMPONENT_ID": self.names, "DETERMINISTIC": self.deterministic}
        if self.step is not None:
            answer["STEP"] = self.step
        if self.active is not None:
            answer["ACTIVE"] = self.active
        if self.episodes is not None:
            answer["EPISODE"] = _squeeze(self.episodes)
        return answer


@dataclass(slots=True)
class Action:
    """The swarm's action in each environment, and its log-probability."""

    actions: NDArray[Any]  # (N,) of a discrete space, (N, D) of a continuous one
    log_probs: NDArray[np.float64] | None = None  # (N,)
    step: int | None = None  # of the observation that it answers; None from a sender that counts no steps

    @classmethod
    def read(cls, message: Message, n_envs: int, distribution: Distribution) -> Self:
        return cls(
            _actions(message, n_envs, distribution),
            _by_environment(message, "LOG_PROB", np.float64, n_envs) if "LOG_PROB" in message else None,
            integer(message, "STEP") if "STEP" in message else None,
        )

    def fields(self) -> Fields:
        assert self.log_probs is not None
        return {"ACTION": _squeeze(self.actions), "LOG_PROB": _squeeze(self.log_probs), "STEP": self.step}


# --- room `evolution`


@dataclass(slots=True)
class GetRequest(Declared):
    """Evolution asks the models for their genomes, and the aggregation for their contributions."""

    KIND = "CMD", "GET"
    answers_directly: bool = message_field("DIRECT", partial(flag, default=False), default=True)


@dataclass(slots=True)
class Genomes:
    """The weights of k models, with Adam's moments and, if the learner estimates them, cumulative advantages."""

    names: Sequence[str]
    weights: Floats  # (k, G)
    moments: Floats | None = None  # (k, 2, G)
    advantages: NDArray[np.float64] | None = None  # (k,)

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
        return cls(names, weights.reshape(len(names), -1), moments, advantages)

    def fields(self) -> Fields:
        optional = {"MOMENTS": self.moments, "ADVANTAGE": self.advantages}
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
    """Each model's contribution since the last evolution, the diversity, and the mean returns of leaders."""

    KIND = "CONTRIBUTION", None
    contribution: dict[str, float] = message_field("CONTRIBUTION", number_by_name)
    diversity: float = message_field("DIVERSITY", partial(number, default=0.0))
    returns: dict[str, float] = message_field("RETURN", partial(number_by_name, default={}), default_factory=dict)


@dataclass(slots=True)
class SetRequest:
    """Evolution hands out the next generation."""

    weights: Mapping[str, Floats]  # (G,) by model
    moments: Mapping[str, Floats] = field(default_factory=dict)  # (2, G) by model, of Adam, if they are inherited

    @classmethod
    def read(cls, message: Message, names: Sequence[str], n_weights: int) -> Self | None:
        if not has_value(message, "CMD", "SET"):
            return None
        weights = by_component(message, "WEIGHTS", names)
        moments = by_component(message, "MOMENTS", names) if "MOMENTS" in message else {}
        return cls(
            {name: genome(message, "WEIGHTS", vector, n_weights) for name, vector in weights.items()},
            {name: _moments(message, value, n_weights) for name, value in moments.items()},
        )

    def fields(self) -> Fields:
        moments = {"MOMENTS": self.moments} if self.moments else {}
        return {"CMD": "SET", "DIRECT": True, "WEIGHTS": self.weights, **moments}


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


# --- room `_command`: COMMAND/CUSTOM


PING, SNAPSHOT, STATE = "PING", "LOOK", "SAVESTATE"  # what every component can be asked for, as CMD


@dataclass(slots=True)
class Pong(Declared):
    """A component is alive; unasked, in room `control`: its work takes long, and goes on."""

    KIND = "STATUS", "PONG"


@dataclass(slots=True)
class Snapshot:
    """What a component did since the last snapshot, and all that it is where its state was asked for."""

    snapshot: ComponentSnapshot
    state: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, message: Message) -> Self | None:
        if "TAKEN" not in message:
            return None
        received = message["TAKEN"]
        if not isinstance(received, list | tuple) or not all(map(_is_count, received)):
            raise invalid_field(message, "TAKEN", "a list of rooms, senders and numbers")
        snapshot = ComponentSnapshot(
            text(message, "SENT_BY"),
            [(room, sender, number) for room, sender, number in received],
            number_by_name(message, "SHARES") if "SHARES" in message else None,
            number_by_name(message, "LEARNING") if "LEARNING" in message else None,
            integer(message, "LEARNING_NUMBER", default=0),
        )
        return cls(snapshot, message.get("STATE"))

    def fields(self) -> Fields:
        shown: Fields = {} if self.state is None else {"STATE": self.state}
        shown["TAKEN"] = self.snapshot.received
        if self.snapshot.contribution is not None:
            shown["SHARES"] = self.snapshot.contribution
        if self.snapshot.learning is not None:
            shown |= {"LEARNING": self.snapshot.learning, "LEARNING_NUMBER": self.snapshot.n_learning}
        return shown


def _is_count(item: object) -> bool:
    return isinstance(item, list | tuple) and [type(part) for part in item] == [str, str, int]
