"""What a user puts in the place of what is built in, named as `module:name` in the settings."""

import importlib
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.errors import SettingsError, unknown
from swarmsim.learning.aggregate import Rule
from swarmsim.learning.rules import RULES


def add_module_path(folder: str | None, references: Iterable[str]) -> None:
    """Have modules that are referred to found in `folder`, else the current one, by this process and its children."""
    path = str(Path(folder or ".").resolve())
    if path not in sys.path and any(":" in reference for reference in references):
        sys.path.insert(0, path)


def own(reference: str, meant: str) -> Any:
    """Return what `module:name` refers to.

    Raises:
        SettingsError: there is no such module, it cannot be imported, or it has nothing of that name.
    """
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{meant} {reference!r}: there is no module {error.name!r}, neither beside the settings file nor installed"
        ) from None
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise SettingsError(
            f"{meant} {reference!r}: importing {module_name!r} failed with {type(error).__name__}: {error} "
            f"({where.filename}, line {where.lineno})"
        ) from None
    if not hasattr(module, name):
        named = [key for key in vars(module) if not key.startswith("_")]
        raise SettingsError(f"{meant} {reference!r}: {unknown(f'name in {module_name}', name, named)}")
    return getattr(module, name)


def load_rule(name: str) -> Rule:
    """Return the rule of aggregation that is built in by that name, or the user's own.

    Raises:
        SettingsError: there is none, or it is no function.
    """
    if ":" not in name:
        if name not in RULES:
            raise SettingsError(f"{unknown('aggregation', name, RULES)}; or module:function, one of your own")
        return RULES[name]
    function = own(name, "aggregation")
    if not callable(function):
        raise SettingsError(f"aggregation {name!r} is a function, not {type(function).__name__}")
    return Rule(PluginRule(name, function))


class PluginRule:
    """A user's rule, whose preferences are checked, and made to sum to 1."""

    def __init__(self, name: str, function: Callable[[NDArray[np.float64]], object]) -> None:
        self._name = name
        self._function = function

    def __call__(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the swarm's distribution (B, A) of its models' `probabilities` (P, B, A).

        Raises:
            ValueError: the rule returned something else than numbers from 0 of that shape, some of each row above it.
        """
        preferences = np.asarray(self._function(probabilities))
        shape = probabilities.shape[1:]
        if preferences.shape != shape or preferences.dtype.kind not in "iufb":
            raise ValueError(
                f"the aggregation {self._name} returns numbers of the shape {shape}, one for each environment and "
                f"action, not {preferences.dtype} of the shape {preferences.shape}"
            )
        totals = preferences.sum(axis=-1, keepdims=True)
        if not np.isfinite(totals).all() or (preferences < 0).any() or (totals <= 0).any():
            raise ValueError(
                f"the aggregation {self._name} returned {preferences.tolist()}: 0 or more, not all of them 0"
            )
        return preferences / totals
