"""Names of components: their order, what many of them are called together, and how they are counted."""

import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"(.*?)(\d+)(?:-(\d+))?", re.DOTALL)


def by_number(name: str) -> list[str | int]:
    """Return what names are to be sorted by, so that model2 comes before model10."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"([0-9]+)", name))]


def kind_of(process: str) -> str:
    """Return what a process has in common with its like: "model" of model3 and models0-9, "worker" of worker7."""
    found = _NUMBERED.fullmatch(process)
    stem = process if found is None else found[1]
    return "model" if stem == "models" else stem or process


def called_together(kind: str, processes: Iterable[str]) -> list[str]:
    """Return what processes of one kind are called, in lines: "20 models", "2 processes"."""
    found = sorted(set(processes), key=by_number)
    if kind == "model":
        first = counted(len({model for process in found for model in _models_in(process)}), "model")
    elif len(found) == 1:
        first = found[0]
    else:
        first = kind
    return [first] if len(found) == 1 else [first, f"{len(found):,} processes"]


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: "1 model", "2,000 models"."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def shortened(name: str, most: int) -> str:
    """Return a name cut to `most` characters, at least 1."""
    return name if len(name) <= most else f"{name[: max(0, most - 1)]}…"


def _models_in(process: str) -> Iterable[object]:
    found = _NUMBERED.fullmatch(process)
    return [process] if found is None else range(int(found[2]), int(found[3] or found[2]) + 1)
