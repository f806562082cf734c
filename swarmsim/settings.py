"""Typed settings: a dataclass field holds type, default, bounds and help, and checks values from outside."""

import math
from collections.abc import Mapping
from dataclasses import Field, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from swarmsim.errors import SettingsError, nearest, unknown

MERGE = "tag:yaml.org,2002:merge"  # of the key <<
_FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # reads a thousand runs in seconds

# How errors name a type, and the types of the values that it is read from; YAML reads 7e-4 as text.
_SOURCES: dict[Any, tuple[str, tuple[type, ...]]] = {
    int: ("a whole number", (int, str)),
    float: ("a number", (int, float, str)),
    bool: ("true or false", (bool,)),
    str: ("text", (str,)),
    NoneType: ("empty", (NoneType,)),
}


def setting(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    is_path: bool = False,
    metavar: str | None = None,
) -> Any:
    """Return a dataclass field with its help text, its bounds and what stands for its value in a flag's help.

    A path may begin with `~`.
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "is_path": is_path, "metavar": metavar}
    return (
        field(default_factory=dict, metadata=metadata) if default == {} else field(default=default, metadata=metadata)
    )


def checked(settings_class: type, values: object, where: str) -> dict[str, Any]:
    """Return `values` converted to the types of `settings_class`'s fields; raises SettingsError for an invalid one."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where} must be a mapping of settings, not {_format(values)}")
    known = {f.name: f for f in fields(settings_class)}
    for key in values:
        if key not in known:
            raise SettingsError(f"{where}: {unknown('key', key, known)}")
    hints = get_type_hints(settings_class)
    return {key: checked_value(known[key], hints[key], value, f"{where}: {key}") for key, value in values.items()}


def checked_value(about: Field[Any], kind: Any, value: object, where: str) -> Any:
    """Return `value` as the type `kind` and within the bounds of `about`; raises SettingsError if it does not fit."""
    result = _convert(kind, value, where)
    if about.metadata.get("is_path") and result is not None:
        return str(user_path(result))
    minimum, maximum = about.metadata.get("minimum"), about.metadata.get("maximum")
    for item in result if isinstance(result, tuple) else (result,):
        if isinstance(item, int | float) and not isinstance(item, bool):
            if minimum is not None and item < minimum:
                raise SettingsError(f"{where} must be at least {minimum}, got {item}")
            if maximum is not None and item > maximum:
                raise SettingsError(f"{where} must be at most {maximum}, got {item}")
    return result


def _convert(kind: Any, value: object, where: str) -> Any:
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for option in options:
        try:
            return _read(option, value)
        except (ValueError, TypeError, OverflowError):
            continue
        except yaml.YAMLError as error:
            item = type(error.args[-1]).__name__
            raise SettingsError(
                f"{where} holds an object of the class {item}, which no settings file can hold; allowed: numbers, "
                "texts, true, false, empty, lists and mappings of them"
            ) from None
    names = " or ".join(_kind_name(option) for option in options)
    hint = nearest(value, get_args(kind)) if get_origin(kind) is Literal else ""
    raise SettingsError(f"{where} must be {names}, not {_format(value)}{hint}")


def _read(kind: Any, value: Any) -> Any:
    """Return `value` as one type; a ValueError, TypeError or OverflowError says that it is another one."""
    if get_origin(kind) is Literal:
        return get_args(kind)[get_args(kind).index(value)]
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError
        return tuple(_read(get_args(kind)[0], item) for item in value)
    if get_origin(kind) is Mapping:
        return _read_mapping(value)
    if not isinstance(value, _SOURCES[kind][1]) or value == "" or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    result = None if kind is NoneType else kind(value)
    if isinstance(result, float) and not math.isfinite(result):
        raise ValueError
    return result


def _read_mapping(value: Any) -> dict[str, Any]:
    """Return a copy of a mapping as YAML gives it back, so that a resumed run has the same one."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError
    return dict(yaml.safe_load(yaml.safe_dump(dict(value))))


def _kind_name(kind: Any) -> str:
    if get_origin(kind) is Mapping:
        return "a mapping of names to values"
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list, each item {_SOURCES[get_args(kind)[0]][0]}"
    return _SOURCES[kind][0]


def _format(value: object) -> str:
    return "empty" if value is None else repr(value) if isinstance(value, str | int | float) else type(value).__name__


def user_path(path: str | Path) -> Path:
    """Return a path in which a `~` at the beginning is replaced by the home folder; raises SettingsError if unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SettingsError(f"{path}: there is no home folder that {Path(path).parts[0]} could stand for") from None


def parse_yaml(text: str | bytes) -> Any:
    """Return what a YAML text holds; raises YAMLError also if a mapping in it has a key twice."""
    try:
        return _parse(_FastLoader(text))
    except yaml.YAMLError:  # it refuses paths that are not UTF-8, and names wrong lines
        return _parse(yaml.SafeLoader(text))


def _parse(loader: yaml.SafeLoader) -> Any:
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_repeated_keys(loader, root)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _refuse_repeated_keys(loader: yaml.SafeLoader, root: yaml.Node) -> None:
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                name = key.value if key.tag == MERGE else str(loader.construct_object(key, deep=True))
                line = key.start_mark.line + 1
                if name in lines:
                    where = f"lines {lines[name]} and {line}" if line != lines[name] else f"line {line}"
                    raise yaml.MarkedYAMLError(problem=f"the key {name!r} is there twice, in {where}")
                lines[name] = line
                waiting.append(value)
