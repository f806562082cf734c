"""The data of a run: one record per round, failures, message counts, and their summary."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, get_origin

from swarmsim.names import format_count

Messages = dict[str, dict[str, dict[str, int]]]


@dataclass(frozen=True)
class Round:
    """One round: a line of `metrics.jsonl`.

    Attributes:
        train_score: mean return of the training episodes.
        train_returns: the return of each training episode, in the order in which they began.
        eval_score, eval_score_evolved: mean return of the deterministic episodes before and after evolution.
        env_steps: training steps of the environment since the run began.
        seconds: duration of this round's training.
        contribution: each model's share in this round's training actions; they sum to 1.
        diversity: mean pairwise total variation distance of the models' action distributions, over the round's states.
        evolution: counts by name: parents_kept, crossovers, mutations.
        parents: of the models that became copies in this round's evolution.
        hyperparameters: each model's own in this round's training, by name.
        evaluations: those within this round's training: [training steps since the run began, mean return].
    """

    round: int
    train_score: float
    train_returns: list[float]
    eval_score: float
    eval_score_evolved: float
    env_steps: int
    seconds: float
    steps_per_second: float
    contribution: dict[str, float]
    diversity: float
    evolution: dict[str, int]
    parents: dict[str, str] = field(default_factory=dict)
    hyperparameters: dict[str, dict[str, float]] = field(default_factory=dict)
    evaluations: list[list[float]] = field(default_factory=list)

    def encode(self) -> dict[str, Any]:
        """Return the round as JSON values."""
        return asdict(self)

    @classmethod
    def decode(cls, values: Mapping[str, Any]) -> "Round":
        """Return the round that `encode` returned; raises TypeError or LookupError for anything else."""
        values = {
            "parents": {},
            "hyperparameters": {},
            "evaluations": [],
            **values,
        }  # newer ones
        for name, kind in _ROUND_KINDS.items():
            if not isinstance(values[name], kind) or not _are_of(_ITEMS.get(name, is_number), values[name]):
                raise TypeError(f"{name} is of another type")
        return cls(**values)


_ROUND_KINDS: dict[str, Any] = {
    f.name: int | float if f.type is float else get_origin(f.type) or f.type for f in fields(Round)
}


def is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _are_of(is_item: Callable[[object], bool], value: object) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(map(is_item, items))


_ITEMS: dict[str, Callable[[object], bool]] = {  # what is no number
    "parents": lambda name: isinstance(name, str),
    "evaluations": lambda pair: isinstance(pair, list) and len(pair) == 2 and _are_of(is_number, pair),
    "hyperparameters": lambda values: isinstance(values, dict) and _are_of(is_number, values),
}


@dataclass
class RunRecord:
    """The rounds of a run so far, in order.

    Attributes:
        settings: of the run: seed, env, population, workers, link, preset; and reward_threshold, the score from which
            the environment counts as solved, or None.
        directory: where the run's files are; None if it writes none.
        wall_seconds: from the first component's start to the end, summed over all processes that continued the run.
        failures: of components, in order: round, phase, component, error, message, traceback, and whether it healed.
        messages: number of messages received, by room ("" if sent to one component alone), sender and receiver.
    """

    settings: Mapping[str, Any]
    directory: Path | None = None
    rounds: list[Round] = field(default_factory=list)
    wall_seconds: float = 0.0
    failures: list[dict[str, Any]] = field(default_factory=list)
    messages: Messages = field(default_factory=dict)

    def __iter__(self) -> Iterator[Round]:
        return iter(self.rounds)

    def __len__(self) -> int:
        return len(self.rounds)

    def __getitem__(self, index: int) -> Round:
        return self.rounds[index]

    @property
    def env_steps(self) -> int:
        return self.rounds[-1].env_steps if self.rounds else 0

    @property
    def title(self) -> str:
        """Environment, population and seed, in one line."""
        models = format_count(self.settings["population"], "model")
        return f"{self.settings['env']}, {models} acting as one, seed {self.settings['seed']}"

    @property
    def n_messages(self) -> int:
        return sum(sum(receivers.values()) for senders in self.messages.values() for receivers in senders.values())

    @property
    def evaluations(self) -> Iterator[tuple[int, int, float]]:
        """Round, training steps so far and mean return of every evaluation, in order."""
        for r in self:
            for steps, score in (*r.evaluations, (r.env_steps, r.eval_score), (r.env_steps, r.eval_score_evolved)):
                yield r.round, int(steps), score

    @property
    def solved_in(self) -> int | None:
        """The first round with an evaluation at or above the reward threshold; None without one."""
        return None if (first := self._first_solved()) is None else first[0]

    @property
    def first_solved_steps(self) -> int | None:
        """The training steps before the first evaluation at or above the reward threshold; None without one."""
        return None if (first := self._first_solved()) is None else first[1]

    def _first_solved(self) -> tuple[int, int, float] | None:
        threshold = self.settings.get("reward_threshold")
        if threshold is None:
            return None
        return next((evaluation for evaluation in self.evaluations if evaluation[2] >= threshold), None)

    def encode(self) -> dict[str, Any]:
        """Return everything but the directory as JSON values, for a checkpoint."""
        return {
            "settings": dict(self.settings),
            "rounds": [r.encode() for r in self.rounds],
            "failures": [dict(failure) for failure in self.failures],
            "wall_seconds": self.wall_seconds,
            "messages": deepcopy(self.messages),
        }

    @classmethod
    def decode(
        cls, values: Mapping[str, Any], settings: Mapping[str, Any] | None = None, directory: Path | None = None
    ) -> Self:
        """Return what `encode` returned, with `settings` instead of the encoded ones if they are given."""
        return cls(
            settings=values["settings"] if settings is None else settings,
            directory=directory,
            rounds=[Round.decode(round_values) for round_values in values["rounds"]],
            wall_seconds=values["wall_seconds"],
            failures=values["failures"],
            messages=values.get("messages", {}),
        )

    def count_messages(self, receiver: str, counts: Iterable[tuple[str, str, int]]) -> None:
        """Add numbers of messages that `receiver` received, each with its room and sender."""
        for room, sender, number in counts:
            receivers = self.messages.setdefault(room, {}).setdefault(sender, {})
            receivers[receiver] = receivers.get(receiver, 0) + number

    def summary(self) -> dict[str, Any]:
        """Return the content of `summary.json`; scores are None before the first round has ended."""
        train_seconds = sum(r.seconds for r in self.rounds)
        return {
            "final_score": self.rounds[-1].eval_score_evolved if self.rounds else None,
            "best_score": max((score for *_, score in self.evaluations), default=None),
            "first_solved_steps": self.first_solved_steps,
            "env_steps": self.env_steps,
            "train_seconds": train_seconds,
            "steps_per_second": self.env_steps / train_seconds if train_seconds else 0.0,
            "wall_seconds": self.wall_seconds,
            "failures": self.failures,
            **self.settings,
            "messages": self.messages,
        }
