"""What a run has shown: one record a round, and their summary."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmsim.errors import SettingsError
from swarmsim.names import counted

if TYPE_CHECKING:
    from swarmsim.results.pictures import Picture

TIMES = ("seconds", "steps_per_second")
TOLD = ("seed", "env", "population", "workers", "link", "preset")  # of a run's settings, in its summary

Messages = dict[str, dict[str, dict[str, int]]]


@dataclass(frozen=True)
class Round:
    """One round: a line of `metrics.jsonl`.

    Attributes:
        train_score: mean return of the training episodes.
        train_returns: the return of each, in the order in which they began.
        eval_score, eval_score_evolved: mean return of the deterministic episodes before and after evolution.
        env_steps: training steps of the environment since the run began.
        seconds: that this round's training took.
        contribution: each model's share in this round's training actions; they sum to 1.
        diversity: mean total variation distance of all pairs of models' action distributions, on the round's states.
        evolution: parents_kept, crossovers, mutations.
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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Round":
        """Return the round that `to_dict` told."""
        return cls(**values)


@dataclass
class History:
    """The rounds of a run so far, in order.

    Attributes:
        settings: what the run was asked for: seed, env, population, workers, link, preset; and reward_threshold, the
            score from which the environment counts as solved, or None.
        directory: where the run's files lie, or None where it keeps none.
        wall_seconds: from the first component's start to the end, summed over all processes that went on with the run.
        failures: of components, in order: round, phase, component, error, message, traceback, and whether it healed.
        messages: how many were taken, by room ("" for those to one component alone), sender and receiver.
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
        """What runs: environment, population, seed."""
        models = counted(self.settings["population"], "model")
        return f"{self.settings['env']}, {models} acting as one, seed {self.settings['seed']}"

    @property
    def n_messages(self) -> int:
        return sum(sum(receivers.values()) for senders in self.messages.values() for receivers in senders.values())

    @property
    def solved_in(self) -> int | None:
        """The first round with an evaluation from which the environment counts as solved; None without one."""
        threshold = self.settings.get("reward_threshold")
        if threshold is None:
            return None
        return next((r.round for r in self if max(r.eval_score, r.eval_score_evolved) >= threshold), None)

    def to_state(self) -> dict[str, Any]:
        """Return all of it but the directory, for a checkpoint."""
        return {
            "settings": dict(self.settings),
            "rounds": [r.to_dict() for r in self.rounds],
            "failures": [dict(failure) for failure in self.failures],
            "wall_seconds": self.wall_seconds,
            "messages": deepcopy(self.messages),
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], settings: Mapping[str, Any] | None = None, directory: Path | None = None
    ) -> "History":
        """Return the history that `to_state` told, with `settings` in the place of its own where they are given."""
        return cls(
            settings=state["settings"] if settings is None else settings,
            directory=directory,
            rounds=[Round.from_dict(values) for values in state["rounds"]],
            wall_seconds=state["wall_seconds"],
            failures=state["failures"],
            messages=state.get("messages", {}),
        )

    def count_messages(self, receiver: str, taken: Iterable[tuple[str, str, int]]) -> None:
        """Add what `receiver` has taken: rooms, senders and numbers."""
        for room, sender, number in taken:
            receivers = self.messages.setdefault(room, {}).setdefault(sender, {})
            receivers[receiver] = receivers.get(receiver, 0) + number

    def plot(self) -> "Picture":
        """Return a picture of the scores, which a notebook shows.

        Raises:
            SettingsError: no round has ended so far.
        """
        if not self.rounds:
            raise SettingsError("no round has ended so far, so there is nothing to plot")
        from swarmsim.results.pictures import scores

        return scores(self)

    def summary(self) -> dict[str, Any]:
        """Return `summary.json`; scores are None where no round was finished."""
        train_seconds = sum(r.seconds for r in self.rounds)
        scores = [score for r in self.rounds for score in (r.eval_score, r.eval_score_evolved)]
        return {
            "final_score": self.rounds[-1].eval_score_evolved if self.rounds else None,
            "best_score": max(scores, default=None),
            "env_steps": self.env_steps,
            "train_seconds": train_seconds,
            "steps_per_second": self.env_steps / train_seconds if train_seconds else 0.0,
            "wall_seconds": self.wall_seconds,
            "failures": self.failures,
            **self.settings,
            "messages": self.messages,
        }

    def __str__(self) -> str:
        """Return the rounds as a table."""
        head = f"{'round':>5} {'train':>9} {'eval':>9} {'evolved':>9} {'env steps':>10} {'steps/s':>9}"
        rows = (
            f"{r.round:>5} {r.train_score:>9.1f} {r.eval_score:>9.1f} {r.eval_score_evolved:>9.1f}"
            f" {r.env_steps:>10,} {r.steps_per_second:>9,.0f}"
            for r in self.rounds
        )
        return "\n".join((head, *rows))

    def _repr_html_(self) -> str:
        """Return the rounds as a table that a notebook shows."""
        from swarmsim.results.tables import rounds_table

        return rounds_table(self)
