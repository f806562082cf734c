"""Loads a user's environments and aggregation rules, which the settings name as `module:name`."""

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
    """Add `folder` (default: the current one) to this process's module path if a reference names a module."""
    path = str(Path(folder or ".").resolve())
    if path not in sys.path and any(":" in reference for reference in references):
        sys.path.insert(0, path)


def load_object(reference: str, kind: str) -> Any:
    """Return the object at `module:name`, which errors call a `kind`; raises SettingsError if it cannot be loaded."""
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{kind} {reference!r}: there is no module {error.name!r}, neither beside the settings file nor installed"
        ) from None
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise SettingsError(
            f"{kind} {reference!r}: importing {module_name!r} failed with {type(error).__name__}: {error} "
            f"({where.filename}, line {where.lineno})"
        ) from None
    if not hasattr(module, name):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise SettingsError(f"{kind} {reference!r}: {unknown(f'name in {module_name}', name, public)}")
    return getattr(module, name)


def load_rule(name: str) -> Rule:
    """Return a built-in aggregation rule or the user's `module:function`; raises SettingsError if it does not exist."""
    if ":" not in name:
        if name not in RULES:
            raise SettingsError(f"{unknown('aggregation', name, RULES)}; or module:function for your own function")
        return RULES[name]
    function = load_object(name, "aggregation")
    if not callable(function):
        raise SettingsError(f"aggregation {name!r} must be a function, not {type(function).__name__}")
    return Rule(PluginRule(name, function))


class PluginRule:
    """A user's aggregation rule; its result is checked and normalized."""

    def __init__(self, name: str, function: Callable[[NDArray[np.float64]], object]) -> None:
        self._name = name
        self._function = function

    def __call__(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the swarm's action distribution (B, A), given the models' `probabilities` (P, B, A).

        Raises:
            ValueError: the result is not an array (B, A) of numbers ≥ 0 with a positive sum in each row.
        """
        preferences = np.asarray(self._function(probabilities))
        shape = probabilities.shape[1:]
        if preferences.shape != shape or preferences.dtype.kind not in "iufb":
            raise ValueError(
                f"the aggregation {self._name} must return numbers of the shape {shape}, one for each environment and "
                f"action, not {preferences.dtype} of the shape {preferences.shape}"
            )
        totals = preferences.sum(axis=-1, keepdims=True)
        if not np.isfinite(totals).all() or (preferences < 0).any() or (totals <= 0).any():
            raise ValueError(
                f"the aggregation {self._name} returned {preferences.tolist()}; each number must be 0 or more, and in "
                "each row not all of them 0"
            )
        return preferences / totals
