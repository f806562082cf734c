"""Rooms `observation`, `logits` and `action`: one step of the swarm.

Inside, arrays always have one row for each of N environments. On the wire, a single environment may be sent without
that axis, as the reference system does: this file alone knows of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import (
    Fields,
    Scalar,
    by_component,
    component_ids,
    flag,
    integer,
    invalid_field,
    numbers,
)
from swarmsim.finite import are_finite
from swarmsim.learning.aggregate import contributions
from swarmsim.learning.decision import Decision
from swarmsim.learning.distributions import Categorical, Distribution, Gaussian
from swarmsim.learning.learner import Transition
from swarmsim.learning.networks import Floats
from swarmsim.messaging.message import MODEL_STATUS, Message

_PYTHON = {np.bool_: bool, np.int64: int, np.float32: float, np.float64: float}


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


LEARNING_KEYS = "SWARM_LOG_PROB", "CREDIT", "SWARM"  # of an action, which only models read


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


def read_transition(
    message: Message, n_envs: int, n_inputs: int, distribution: Distribution, names: Sequence[str]
) -> Transition:
    """Return the transition in an observation message, with the credits of the models `names`."""
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
        swarm_log_probs=(
            _by_environment(message, "SWARM_LOG_PROB", np.float32, n_envs) if "SWARM_LOG_PROB" in message else None
        ),
        credits=_credits(message, n_envs, names) if "CREDIT" in message else None,
        swarm_probabilities=_probabilities(message, n_envs, distribution) if "SWARM" in message else None,
    )


def _credits(message: Message, n_envs: int, names: Sequence[str]) -> Floats:
    """Return the credit of each model for each action, (k, N); 0 for models whose answers came too late."""
    by_name = by_component(message, "CREDIT")
    found = np.zeros((len(names), n_envs), np.float32)
    for row, name in enumerate(names):
        if name in by_name:
            found[row] = _by_environment({**message, "CREDIT": by_name[name]}, "CREDIT", np.float32, n_envs)
    if (found < 0).any():
        raise invalid_field(message, "CREDIT", "made of numbers from 0")
    return found


def _probabilities(message: Message, n_envs: int, distribution: Distribution) -> Floats:
    """Return the swarm's probabilities of all actions, (N, A)."""
    rows = _rows(message, "SWARM", distribution.n)
    if isinstance(distribution, Gaussian) or len(rows) != n_envs or (rows < 0).any():
        raise invalid_field(message, "SWARM", f"the probabilities of all actions for each of {n_envs} environment(s)")
    return rows


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
    learning: Mapping[str, Any] = field(default_factory=dict)  # `learning_fields`, which the environment passes on

    @classmethod
    def read(cls, message: Message, n_envs: int, distribution: Distribution) -> Self:
        return cls(
            _actions(message, n_envs, distribution),
            _by_environment(message, "LOG_PROB", np.float64, n_envs) if "LOG_PROB" in message else None,
            integer(message, "STEP") if "STEP" in message else None,
            {key: message[key] for key in LEARNING_KEYS if key in message},
        )

    def fields(self) -> Fields:
        log_probs = {} if self.log_probs is None else {"LOG_PROB": _squeeze(self.log_probs)}
        return {"ACTION": _squeeze(self.actions), **log_probs, "STEP": self.step, **self.learning}


def learning_fields(decision: Decision, names: Sequence[str], *, has_credits: bool) -> Fields:
    """Return what models need for joint learning besides LOG_PROB: nothing, for the rule `sum` without a leader.

    Args:
        has_credits: whether models cannot tell their credit from LOG_PROB.
    """
    shown: Fields = {}
    if decision.swarm_log_probs is not None:
        shown["SWARM_LOG_PROB"] = _squeeze(decision.swarm_log_probs)
    if decision.swarm_probabilities is not None:
        shown["SWARM"] = _squeeze(decision.swarm_probabilities.astype(np.float32))
    if has_credits:
        by_model = len(names) * contributions(decision.support)
        shown["CREDIT"] = {name: _squeeze(row) for name, row in zip(names, by_model, strict=True)}
    return shown
