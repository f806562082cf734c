"""Names of components and numbers in text: how to sort, group, count and shorten them."""

import re
from collections.abc import Iterable
from typing import Any

_NUMBERED = re.compile(r"(.*?)(\d+)(?:-(\d+))?", re.DOTALL)


def natural_key(name: str) -> list[str | int]:
    """Return a sort key of a name by which model2 comes before model10."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"([0-9]+)", name))]


def kind_of(process: str) -> str:
    """Return the kind of a process by its name: "model" for model3 and models0-9, "worker" for worker7."""
    match = _NUMBERED.fullmatch(process)
    stem = process if match is None else match[1]
    return "model" if stem == "models" else stem or process


def describe_group(kind: str, processes: Iterable[str]) -> list[str]:
    """Return the lines that label all processes of one kind: "20 models", "2 processes"."""
    names = sorted(set(processes), key=natural_key)
    if kind == "model":
        label = format_count(len({model for process in names for model in _models_in(process)}), "model")
    elif len(names) == 1:
        label = names[0]
    else:
        label = kind
    return [label] if len(names) == 1 else [label, f"{len(names):,} processes"]


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: "1 model", "2,000 models"."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def format_score(score: float) -> str:
    """Return a return or score with one decimal, or four significant digits where it is small or huge."""
    return f"{score:.1f}" if score == 0 or 10 <= abs(score) < 1e6 else f"{score:.4g}"


def shorten(name: str, max_length: int) -> str:
    """Return a name cut to `max_length` characters, at least 1."""
    return name if len(name) <= max_length else f"{name[: max(0, max_length - 1)]}…"


def _models_in(process: str) -> Iterable[object]:
    match = _NUMBERED.fullmatch(process)
    return [process] if match is None else range(int(match[2]), int(match[3] or match[2]) + 1)


def exact(value: Any, bits: int) -> Any:
    """Return `value`, as text if it is a whole number, such as a seed, that a reader of so many bits would not keep."""
    return str(value) if isinstance(value, int) and value.bit_length() > bits else value
