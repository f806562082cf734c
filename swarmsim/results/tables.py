"""Tables in HTML, which a report and a notebook show; every text in them is escaped."""

import html
from collections.abc import Iterable, Mapping, Sequence

from swarmsim.results.history import History, Round

NOTHING = "–"

ROUND = {
    "round": "round",
    "train": "training, mean",
    "eval": "evaluation before evolution",
    "eval-evolved": "evaluation after evolution",
    "env-steps": "training steps so far",
    "steps-per-second": "steps/s",
    "diversity": "diversity",
    "parents-kept": "parents kept",
    "crossovers": "crossovers",
    "mutations": "mutations",
}


class Html(str):
    """A text that is HTML already, so that it is not escaped."""

    __slots__ = ()


def escaped(text: object) -> str:
    """Return a text as HTML shows it."""
    return text if isinstance(text, Html) else html.escape(str(text))


def table(css: str, columns: Mapping[str, str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table; `columns` are the classes of its cells, with their headings."""
    head = "".join(f'<th scope="col" class="{name}">{escaped(heading)}</th>' for name, heading in columns.items())
    body = "\n".join(f"<tr>{_cells(columns, row)}</tr>" for row in rows)
    above = f"<caption>{escaped(caption)}</caption>\n" if caption else ""
    return f'<table class="{css}">\n{above}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'


def rounds_table(history: History, caption: bool = True) -> str:
    """Return a table of a run's rounds."""
    return table("rounds", ROUND, map(_round, history), history.title if caption else "")


def score(value: float | None) -> str:
    """Return a score as all tables show it."""
    if value is None:
        return NOTHING
    return f"{value:.1f}" if abs(value) >= 10 or value == 0 else f"{value:.3g}"


def _cells(columns: Iterable[str], row: Sequence[object]) -> str:
    return "".join(f'<td class="{name}">{escaped(cell)}</td>' for name, cell in zip(columns, row, strict=True))


def _round(r: Round) -> Sequence[str]:
    return (
        str(r.round),
        score(r.train_score),
        score(r.eval_score),
        score(r.eval_score_evolved),
        f"{r.env_steps:,}",
        f"{r.steps_per_second:,.0f}",
        f"{r.diversity:.3f}",
        *(str(r.evolution.get(what, NOTHING)) for what in ("parents_kept", "crossovers", "mutations")),
    )
