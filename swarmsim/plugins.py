"""Loads a user's environments and aggregation rules, which the settings name as `module:name`."""

import importlib
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.errors import SettingsError, unknown
from swarmsim.finite import are_finite
from swarmsim.learning.aggregate import Rule
from swarmsim.learning.rules import RULES
from swarmsim.projects import current_project, project_at, use

_given: dict[tuple[Path, str], Any] = {}  # objects that a program gave instead of naming them, by project


def name_objects(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings with a reference `module:name` for each object given as env, aggregation or wrapper, and these.

    Raises:
        SettingsError: such an object is neither a class nor a function.
    """
    objects: dict[str, Any] = {}

    def named(key: str, value: object) -> object:
        if value is None or isinstance(value, str | int | float | list | dict):
            return value  # as a settings file could have it, right or wrong
        if not callable(value):
            kind = type(value).__name__
            raise SettingsError(f"run(): {key} must be text, a class or a function, not an object of the class {kind}")
        name = getattr(value, "__qualname__", f"<{type(value).__qualname__}>")  # such as <partial>
        reference = base = f"{getattr(value, '__module__', None) or type(value).__module__}:{name}"
        number = 1
        while objects.get(reference, value) is not value:  # such as two lambdas
            number += 1
            reference = f"{base}-{number}"
        objects[reference] = value
        return reference

    references = {key: named(key, values[key]) for key in ("env", "aggregation") if key in values}
    if isinstance(values.get("wrappers"), list | tuple):
        references["wrappers"] = [named("wrappers", value) for value in values["wrappers"]]
    return {**values, **references}, objects


def give(folder: str | None, objects: Mapping[str, Any], *, named: Iterable[str] = ()) -> None:
    """Have `load_object` return these objects, by reference, in the project at `folder`; those `named` are imported."""
    path = project_at(folder).folder
    for reference in named:
        _given.pop((path, reference), None)
    _given.update({(path, reference): value for reference, value in objects.items()})


def require_importable(references: Iterable[str], objects: Mapping[str, Any]) -> None:
    """Raise a SettingsError for the first object, given or named in the program itself, that no other can import."""
    for reference in references:
        module_name, _, path = reference.partition(":")
        module = sys.modules.get(module_name)
        is_file = (
            module_name != "__main__" or Path(getattr(module, "__file__", "")).is_file()
        )  # neither stdin nor notebook
        is_other = reference in objects and _attribute(module, path) is not objects[reference]
        if not is_file or is_other:
            raise SettingsError(
                f"start_method spawn: another process cannot import {reference!r}; it must be a class or function at "
                "the top of a module; or use start_method fork"
            )


def _given_object(reference: str) -> Any:
    project = current_project()
    return None if project is None else _given.get((project.folder, reference))


def is_given(reference: str) -> bool:
    """Return whether a program gave this object itself to a run of the project in use."""
    return _given_object(reference) is not None


def load_object(reference: str, kind: str) -> Any:
    """Return the object at `module:name`, which errors call a `kind`; raises SettingsError if it cannot be loaded."""
    given = _given_object(reference)
    if given is not None:
        return given
    project = current_project()
    module_name, colon, name = reference.partition(":")
    if not colon:
        raise SettingsError(f"{kind} {reference!r} must be module:name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        place = "on the module path" if project is None else f"in {project.folder}"
        raise SettingsError(
            f"{kind} {reference!r}: there is no module {error.name!r}, neither {place} nor installed"
        ) from None
    except (Exception, SystemExit) as error:
        raise SettingsError(f"{kind} {reference!r}: importing {module_name!r} failed with {_cause(error)}") from None
    found = _attribute(module, name)
    if found is None:
        if module_name == "__main__" or "<" in name:
            key = {"environment": "env", "wrapper": "wrappers"}.get(kind, kind)
            raise SettingsError(
                f"{kind} {reference!r} is an object of the program that began the run: give it again, as in "
                f"run(resume=…, {key}=…)"
            )
        public = [key for key in vars(module) if not key.startswith("_")]
        raise SettingsError(f"{kind} {reference!r}: {unknown(f'name in {module_name}', name, public)}")
    return found


def _attribute(module: object, path: str) -> Any:
    """Return the object at `path`, such as Outer.Inner; None if there is no such attribute."""
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def _cause(error: BaseException) -> str:
    """Return what an import raised, and where, in one line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    file, line = (error.filename, error.lineno) if isinstance(error, SyntaxError) else (last.filename, last.lineno)
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())} ({file}, line {line})"


def load_rule(name: str, modules: str | None = None) -> Rule:
    """Return a built-in aggregation rule, or the user's `module:function`.

    Args:
        modules: the folder of the user's modules; by default that of the project in use.

    Raises:
        SettingsError: it does not exist, or is no function.
    """
    if ":" not in name:
        if name not in RULES:
            raise SettingsError(f"{unknown('aggregation', name, RULES)}; or module:function for your own function")
        return RULES[name]
    if modules is not None:
        use(project_at(modules))
    function = load_object(name, "aggregation")
    if not callable(function):
        raise SettingsError(f"aggregation {name!r} must be a function, not {type(function).__name__}")
    return Rule(PluginRule(name, function))


class PluginRule:
    """A user's aggregation rule; its result is checked and normalized. It imports from the project that it is from."""

    def __init__(self, name: str, function: Callable[[NDArray[np.float64]], object]) -> None:
        self._name = name
        self._function = function
        self._project = current_project()

    def __call__(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the swarm's action distribution (B, A), given the models' `probabilities` (P, B, A).

        Raises:
            ValueError: the result is not an array (B, A) of numbers ≥ 0 with a positive sum in each row.
        """
        preferences = np.asarray(self._call(probabilities))
        shape = probabilities.shape[1:]
        if preferences.shape != shape or preferences.dtype.kind not in "iufb":
            raise ValueError(
                f"the aggregation {self._name} must return numbers of the shape {shape}, one for each environment and "
                f"action, not {preferences.dtype} of the shape {preferences.shape}"
            )
        totals = preferences.sum(axis=-1, keepdims=True)
        if not are_finite(totals) or (preferences < 0).any() or (totals <= 0).any():
            raise ValueError(
                f"the aggregation {self._name} returned {preferences.tolist()}; each number must be 0 or more, and in "
                "each row not all of them 0"
            )
        return preferences / totals

    def _call(self, probabilities: NDArray[np.float64]) -> object:
        before = current_project()
        if self._project in (None, before):
            return self._function(probabilities)
        use(self._project)
        try:
            return self._function(probabilities)
        finally:
            use(before)
