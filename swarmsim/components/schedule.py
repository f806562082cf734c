"""A schedule: the copies and the hyperparameters of an earlier run's models, round by round, to be repeated."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swarmsim.config import Config
from swarmsim.errors import SettingsError
from swarmsim.results.record import Round


@dataclass(frozen=True)
class Schedule:
    """What a run's `metrics.jsonl` says of its models `names`; after its last round nothing changes any more."""

    names: tuple[str, ...]
    hyperparameters: tuple[NDArray[np.float64], ...]  # (P, H) of each round's training
    parents: tuple[NDArray[np.int64], ...]  # (P,) of each round's evolution

    @classmethod
    def of(cls, config: Config) -> "Schedule | None":
        """Return the schedule that `config` names, if any.

        Raises:
            SettingsError: its file cannot be read, or is of a run with another population or learner.
        """
        path = config.evolution.schedule
        if path is None or config.evolution.kind != "pbt":
            return None
        names = tuple(f"model{i}" for i in range(config.population))
        return cls._read(Path(path), names, config.learning.of_each_model)

    @classmethod
    def _read(cls, path: Path, names: tuple[str, ...], keys: Sequence[str]) -> "Schedule":
        try:
            rounds = [Round.decode(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        except OSError as error:
            raise SettingsError(f"evolution.schedule: {path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, LookupError):
            raise SettingsError(f"evolution.schedule: {path} is no metrics.jsonl of a run") from None
        if not rounds:
            raise SettingsError(f"evolution.schedule: {path} holds no round yet")
        row = {name: number for number, name in enumerate(names)}
        try:
            hyperparameters = tuple(
                np.array([[r.hyperparameters[name][key] for key in keys] for name in names]) for r in rounds
            )
            parents = tuple(np.array([row[r.parents.get(name, name)] for name in names]) for r in rounds)
        except KeyError as error:
            raise SettingsError(
                f"evolution.schedule: {path} says nothing of {error.args[0]}: its run must have had the same learner "
                f"and at least {len(names)} models"
            ) from None
        return cls(names, hyperparameters, parents)

    def before(self, number: int, names: Sequence[str]) -> NDArray[np.float64]:
        """Return the hyperparameters (P, H) of the models `names` in a round's training, from round 0 on."""
        values = self.hyperparameters[min(number, len(self.hyperparameters) - 1)]
        return values[[self.names.index(name) for name in names]]

    def parents_after(self, number: int, names: Sequence[str]) -> NDArray[np.int64]:
        """Return whose copies the models `names` become in a round's evolution, (P,); all are known by these names."""
        if number >= len(self.parents) or tuple(names) != self.names:  # models that were lost are in no schedule
            return np.arange(len(names))
        return self.parents[number]
