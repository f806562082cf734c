"""Several runs beside each other: their key figures, in what they differ, medians over seeds, curves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from swarmsim.results.history import History
from swarmsim.results.html_report.key_figures import FIGURES, key_figures
from swarmsim.results.html_report.run import image
from swarmsim.results.pictures import curves
from swarmsim.results.run_settings import RunSettings, alike, differing, labels, told
from swarmsim.results.tables import NOTHING, Html, escaped, score, table

SEEDS = {
    "env": "environment",
    "label each": "runs",
    "seeds each": "seeds",
    "last-scores each": "last score of each",
    "median": "median",
    "n-solved": "solved",
}


@dataclass(frozen=True)
class _Group:
    """Runs that differ in nothing but their seeds."""

    env: str
    label: str
    histories: Sequence[History]


def comparison_section(names: Sequence[str], histories: Sequence[History], settings: Sequence[RunSettings]) -> str:
    """Return the part of the page that compares runs; `run-1` and so on are where each is told of."""
    groups = list(_groups(names, histories, settings))
    parts = [
        '<section id="comparison">',
        "<h2>Beside each other</h2>",
        _runs(names, histories, settings),
        *_pictures(groups),
        _seeds([group for group in groups if len(group.histories) > 1]),
        _differences(names, settings),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _groups(names: Sequence[str], histories: Sequence[History], settings: Sequence[RunSettings]) -> Iterator[_Group]:
    """Yield all groups, those of one environment one after the other."""
    for env in dict.fromkeys(history.settings["env"] for history in histories):
        places = [place for place, history in enumerate(histories) if history.settings["env"] == env]
        of_env = [settings[place] for place in places]
        groups = alike(of_env)
        for group, label in zip(groups, labels(of_env, [names[place] for place in places], groups), strict=True):
            yield _Group(env, label, [histories[places[member]] for member in group])


def _runs(names: Sequence[str], histories: Sequence[History], settings: Sequence[RunSettings]) -> str:
    rows = [
        (_link(number, name), *key_figures(history, of_it.values.get("rounds")))
        for number, (name, history, of_it) in enumerate(zip(names, histories, settings, strict=True), 1)
    ]
    return f'<div class="wide">\n{table("runs", {"name": "run", **FIGURES}, rows)}\n</div>'


def _differences(names: Sequence[str], settings: Sequence[RunSettings]) -> str:
    apart = differing(settings)
    if not apart:
        return "<p>All their settings are the same.</p>"
    columns = {"setting": "setting", **{f"run-{number}": _link(number, name) for number, name in enumerate(names, 1)}}
    rows = [
        (setting, *(told(each.values[setting]) if setting in each.values else NOTHING for each in settings))
        for setting in apart
    ]
    return f'<h3>In what they differ</h3>\n<div class="wide">\n{table("differences", columns, rows)}\n</div>'


def _link(number: int, name: str) -> Html:
    return Html(f'<a href="#run-{number}">{escaped(name)}</a>')


def _pictures(groups: Sequence[_Group]) -> Iterator[str]:
    for env in dict.fromkeys(group.env for group in groups):
        shown: Mapping[str, Sequence[History]] = {
            group.label: begun
            for group in groups
            if group.env == env and (begun := [history for history in group.histories if history.rounds])
        }
        if shown:
            yield image("curves", curves(env, shown), f"Evaluations on {env} over training steps, of all runs")


def _seeds(groups: Sequence[_Group]) -> str:
    if not groups:
        return ""
    return f'<h3>Over seeds</h3>\n<div class="wide">\n{table("of-seeds", SEEDS, map(_of_seeds, groups))}\n</div>'


def _of_seeds(group: _Group) -> Sequence[str]:
    last = [history.rounds[-1].eval_score_evolved if history.rounds else None for history in group.histories]
    known = [value for value in last if value is not None]
    return (
        group.env,
        group.label,
        ", ".join(str(history.settings["seed"]) for history in group.histories),
        ", ".join(map(score, last)),
        score(median(known) if known else None),
        f"{sum(history.solved_in is not None for history in group.histories)} of {len(group.histories)}",
    )
