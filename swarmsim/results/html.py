"""HTML from `templates/`: the tables that a report and a notebook share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from swarmsim.names import format_count, format_score
from swarmsim.results.record import RunRecord

MISSING = "–"

ROUND_COLUMNS = {
    "round": "round",
    "train": "training, mean",
    "eval": "evaluation before evolution",
    "eval-evolved": "evaluation after evolution",
    "env-steps": "training steps so far",
    "steps-per-second": "steps/s",
    "diversity": "diversity",
}

Cell = str | Mapping[str, str]  # a text, or a link: its text and href


@dataclass(frozen=True)
class Table:
    """What `table.html` shows: its classes, each column's heading by the class of its cells, and rows of cells."""

    css: str
    columns: Mapping[str, Cell]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("swarmsim.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["format_count"] = format_count
    return environment


def render(template: str, **values: Any) -> str:
    """Return a template filled with `values`; every text in them is escaped."""
    return _environment().get_template(template).render(values)


def rounds_table(record: RunRecord, caption: str = "") -> Table:
    """Return a table with a row for each round."""
    counts = list(dict.fromkeys(name for r in record for name in r.evolution))
    columns = ROUND_COLUMNS | {name.replace("_", "-"): name.replace("_", " ") for name in counts}
    rows = [
        (
            str(r.round),
            format_score(r.train_score),
            format_score(r.eval_score),
            format_score(r.eval_score_evolved),
            f"{r.env_steps:,}",
            f"{r.steps_per_second:,.0f}",
            f"{r.diversity:.3f}",
            *(str(r.evolution.get(name, MISSING)) for name in counts),
        )
        for r in record
    ]
    return Table("rounds", columns, rows, caption)


def score_cell(score: float | None) -> str:
    """Return a score as a text; None is a dash."""
    return MISSING if score is None else format_score(score)
