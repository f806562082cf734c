"""All settings of a run, flat, beside what they would be by themselves, and those in which runs differ."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OF_NO_INTEREST = "out", "progress", "verbose", "live", "live_port", "tensorboard"  # to what a run comes to
MOST_TOLD = 3  # settings in a label
DERIVED = "auto"  # a default in whose place a run's settings have what came of it


@dataclass(frozen=True)
class RunSettings:
    """The settings that a run was begun with.

    Attributes:
        values: each by its name, those of sections by names such as ppo.gamma.
        defaults: what each is where nothing but the preset is given.
        versions: of the packages that it began with.
    """

    values: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> list[str]:
        """The names of those that are not what they would be by themselves."""
        return [
            name
            for name, value in self.values.items()
            if self.defaults.get(name) != DERIVED and told(value) != told(self.defaults.get(name))
        ]


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with those of sections beside the others: {"ppo": {"gamma": 0.99}} as {"ppo.gamma": 0.99}."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found.update({f"{name}.{inner}": of_it for inner, of_it in flat(value).items()})
        else:
            found[str(name)] = value
    return found


def told(value: object) -> str:
    """Return a setting's value as a text, the same for a list and a tuple: 0.99, [32, 32], true, CartPole-v1."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def differing(settings: Sequence[RunSettings]) -> list[str]:
    """Return the names of the settings that are not the same in all runs, those outside of sections first."""
    names = dict.fromkeys(name for each in settings for name in each.values if name not in OF_NO_INTEREST)
    found = [name for name in names if len({told(each.values.get(name)) for each in settings}) > 1]
    return sorted(found, key=lambda name: "." in name)


def alike(settings: Sequence[RunSettings]) -> list[list[int]]:
    """Return which runs are the same but for their seed, by their places in `settings`."""
    names = [name for name in differing(settings) if name != "seed"]
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, each in enumerate(settings):
        groups.setdefault(tuple(told(each.values.get(name)) for name in names), []).append(place)
    return list(groups.values())


def labels(settings: Sequence[RunSettings], names: Sequence[str], groups: Sequence[Sequence[int]]) -> list[str]:
    """Return what to call groups of runs that are alike: by the few settings in which they differ, else by names.

    Args:
        names: of all runs.
        groups: places in `settings` and `names`.
    """
    chosen = [settings[group[0]] for group in groups]
    apart = [name for name in differing(chosen) if name not in ("seed", "env")]
    if 0 < len(apart) <= MOST_TOLD:
        return [", ".join(f"{name} {told(each.values.get(name))}" for name in apart) for each in chosen]
    return [names[group[0]] + (f" and {len(group) - 1} more" if len(group) > 1 else "") for group in groups]
