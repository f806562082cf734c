"""The settings of a run compared with their defaults, and with those of other runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NOT_COMPARED = "out", "progress", "verbose", "live", "live_port", "tensorboard"  # they do not affect the results
MAX_LABEL_SETTINGS = 3
COMPUTED = "auto"  # a default that a run replaces by the value it computes


@dataclass(frozen=True)
class RunSettings:
    """The settings with which a run began.

    Attributes:
        values: by name; those of sections have names such as ppo.gamma.
        defaults: the values that the preset alone gives.
        versions: of the packages with which the run began.
    """

    values: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> list[str]:
        """The names of the settings that differ from their defaults."""
        return [
            name
            for name, value in self.values.items()
            if self.defaults.get(name) != COMPUTED and format_value(value) != format_value(self.defaults.get(name))
        ]


def flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without sections: {"ppo": {"gamma": 0.99}} as {"ppo.gamma": 0.99}."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}.{inner}": inner_value for inner, inner_value in flatten(value).items()})
        else:
            flat[str(name)] = value
    return flat


def format_value(value: object) -> str:
    """Return a setting's value as a text, the same for a list and a tuple: 0.99, [32, 32], true, CartPole-v1."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def differing_settings(settings: Sequence[RunSettings]) -> list[str]:
    """Return the names of the settings that are not the same in all runs, those outside of sections first."""
    names = dict.fromkeys(name for each in settings for name in each.values if name not in NOT_COMPARED)
    differing = [name for name in names if len({format_value(each.values.get(name)) for each in settings}) > 1]
    return sorted(differing, key=lambda name: "." in name)


def group_by_settings(settings: Sequence[RunSettings]) -> list[list[int]]:
    """Return groups of runs that differ only in their seeds, as indices into `settings`."""
    names = [name for name in differing_settings(settings) if name != "seed"]
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, each in enumerate(settings):
        groups.setdefault(tuple(format_value(each.values.get(name)) for name in names), []).append(index)
    return list(groups.values())


def group_labels(settings: Sequence[RunSettings], names: Sequence[str], groups: Sequence[Sequence[int]]) -> list[str]:
    """Return a label for each group of indices: the few settings in which the groups differ, or else names of runs."""
    first_of_each = [settings[group[0]] for group in groups]
    differing = [name for name in differing_settings(first_of_each) if name not in ("seed", "env")]
    if 0 < len(differing) <= MAX_LABEL_SETTINGS:
        return [
            ", ".join(f"{name} {format_value(each.values.get(name))}" for name in differing) for each in first_of_each
        ]
    return [names[group[0]] + (f" and {len(group) - 1} more" if len(group) > 1 else "") for group in groups]
