"""Typed settings: a dataclass field tells type, default, bounds and help; what comes from outside is checked by it."""

import math
from collections.abc import Mapping
from dataclasses import Field, field, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from swarmsim.errors import SettingsError, nearest, unknown


def setting(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """Return a dataclass field with its help text and bounds."""
    return field(default=default, metadata={"help": help, "minimum": minimum, "maximum": maximum})


def checked(settings_class: type, values: object, where: str) -> dict[str, Any]:
    """Return `values` as arguments of `settings_class`; a string is read as the field's type.

    Raises:
        SettingsError: `values` is no mapping, has an unknown key, or a value of a wrong type or out of bounds.
    """
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where} is a mapping of settings, not {_told(values)}")
    known = {f.name: f for f in fields(settings_class)}
    for key in values:
        if key not in known:
            raise SettingsError(f"{where}: {unknown('key', key, known)}")
    hints = get_type_hints(settings_class)
    return {key: checked_value(known[key], hints[key], value, f"{where}: {key}") for key, value in values.items()}


def checked_value(about: Field[Any], kind: Any, value: object, where: str) -> Any:
    """Return `value` as `kind`, within the bounds of the field `about`.

    Raises:
        SettingsError: it is of another type or out of bounds.
    """
    result = _converted(kind, value, where)
    minimum, maximum = about.metadata.get("minimum"), about.metadata.get("maximum")
    for item in result if isinstance(result, tuple) else (result,):
        if isinstance(item, int | float) and not isinstance(item, bool):
            if minimum is not None and item < minimum:
                raise SettingsError(f"{where} must be at least {minimum}, got {item}")
            if maximum is not None and item > maximum:
                raise SettingsError(f"{where} must be at most {maximum}, got {item}")
    return result


def _converted(kind: Any, value: object, where: str) -> Any:
    options = _options(kind)
    for option in options:
        try:
            return _READERS[option](value) if option in _READERS else _read_other(option, value)
        except (ValueError, TypeError, OverflowError):
            continue
    names = " or ".join(_kind_name(option) for option in options)
    hint = nearest(value, get_args(kind)) if get_origin(kind) is Literal else ""
    raise SettingsError(f"{where} must be {names}, not {_told(value)}{hint}")


def _options(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) in (Union, UnionType):
        return tuple(option for part in get_args(kind) for option in _options(part))
    return (kind,)


def _read_whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    return int(value)


def _read_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value)  # YAML reads 7e-4 as text
    if not math.isfinite(number):
        raise ValueError
    return number


def _read_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _read_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _read_none(value: object) -> None:
    if value is not None:
        raise TypeError


_READERS = {int: _read_whole, float: _read_number, bool: _read_boolean, str: _read_text, NoneType: _read_none}
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "empty"}


def _read_other(kind: Any, value: object) -> Any:
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError
        reader = _READERS[get_args(kind)[0]]
        return tuple(reader(item) for item in value)
    raise TypeError(f"a setting of type {kind} has no reader")


def _kind_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return f"a list, each {_NAMES[get_args(kind)[0]]}"
    return _NAMES[kind]


def _told(value: object) -> str:
    return "empty" if value is None else repr(value) if isinstance(value, str | int | float) else type(value).__name__
