"""A report of one run or several: one HTML file that contains all that it shows, pictures too."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from swarmsim.results.html import MISSING, Cell, Table, render, rounds_table, score_cell
from swarmsim.results.machine import differing_machines
from swarmsim.results.pictures import Picture, curves, draw_all, png
from swarmsim.results.record import RunRecord
from swarmsim.results.run_settings import RunSettings, differing_settings, format_value, group_by_settings, group_labels

MOST_DRAWN = 30  # runs that are drawn one by one: a page with the pictures of hundreds opens in no browser
HEADLINE_NUMBERS = {
    "final-score": "last score",
    "best-score": "best score",
    "solved": "solved",
    "n-rounds": "rounds",
    "total-steps": "training steps",
    "speed": "steps/s",
    "wall-time": "wall time",
    "n-failures": "failures",
}
SEED_COLUMNS = {
    "env": "environment",
    "label each": "runs",
    "seeds each": "seeds",
    "last-scores each": "last score of each",
    "median": "median",
    "n-solved": "solved",
}
SETTING_COLUMNS = {"setting": "setting", "value": "value", "default": "default"}
ALTS = {
    "scores": "Scores of each round: training, and evaluations before and after evolution; the table has the numbers",
    "population": "Each model's share of the decisions, and the diversity, by round",
    "rooms": "How many messages went from whom through which room to whom",
}


def html_report(
    records: Sequence[RunRecord],
    settings: Sequence[RunSettings],
    progress: Callable[[Iterable["ReportedRun"]], Iterable["ReportedRun"]] = iter,
) -> str:
    """Return a page that needs no other file, about one run or more, ended or not, and the `settings` of each.

    Args:
        progress: passes the runs on, one by one, as they are drawn.
    """
    names = _names(records)
    is_drawn = len(records) <= MOST_DRAWN
    runs = [
        ReportedRun(f"run-{number}", *parts, is_drawn)
        for number, parts in enumerate(zip(names, records, settings, strict=True), 1)
    ]
    several = len(runs) > 1
    title = f"{len(runs)} runs" if several else names[0]
    comparison = _comparison(runs) if several else None
    return render("report.html", title=title, headings=HEADLINE_NUMBERS, runs=progress(runs), comparison=comparison)


def _names(records: Sequence[RunRecord]) -> list[str]:
    """Return the names of the runs' directories, or whole paths if two have the same name."""
    paths = [None if record.directory is None else record.directory.resolve() for record in records]
    names = [f"run {number}" if path is None else path.name for number, path in enumerate(paths, 1)]
    return [str(path) if path and names.count(name) > 1 else name for name, path in zip(names, paths, strict=True)]


# --- one run


@dataclass(frozen=True)
class ReportedRun:
    """What the template shows of a run; links lead to it by `anchor`."""

    anchor: str
    name: str
    record: RunRecord
    settings: RunSettings
    is_drawn: bool

    @property
    def link(self) -> Cell:
        return {"text": self.name, "href": f"#{self.anchor}"}

    @property
    def headline(self) -> dict[str, str]:
        """The texts of HEADLINE_NUMBERS."""
        record, summary, n_asked = self.record, self.record.summary(), self.settings.values.get("rounds")
        texts = (
            score_cell(summary["final_score"]),
            score_cell(summary["best_score"]),
            _format_solved(record),
            f"{len(record)}" if n_asked is None else f"{len(record)} of {n_asked}",
            f"{record.env_steps:,}",
            f"{summary['steps_per_second']:,.0f}" if record.rounds else MISSING,
            _format_duration(record.wall_seconds) if record.wall_seconds else MISSING,
            _format_failures(record.failures),
        )
        return dict(zip(HEADLINE_NUMBERS, texts, strict=True))

    @property
    def images(self) -> Iterator["Image"]:
        pictures = draw_all(self.record) if self.is_drawn else {}
        return (Image(kind, picture, ALTS[kind]) for kind, picture in pictures.items())

    @property
    def rounds(self) -> Table:
        return rounds_table(self.record)

    @property
    def changed(self) -> Table:
        return self._settings_table("changed", self.settings.changed)

    @property
    def unchanged(self) -> Table:
        changed = self.settings.changed
        return self._settings_table("unchanged", [name for name in self.settings.values if name not in changed])

    def _settings_table(self, css: str, names: Sequence[str]) -> Table:
        values, defaults = self.settings.values, self.settings.defaults
        rows = [(name, format_value(values[name]), format_value(defaults.get(name))) for name in names]
        return Table(f"settings {css}", SETTING_COLUMNS, rows)


@dataclass(frozen=True)
class Image:
    """A picture that the page itself contains."""

    kind: str
    picture: Picture
    alt: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = (round(side * self.picture.dpi) for side in self.picture.get_size_inches())
        return width, height

    @property
    def base64(self) -> str:
        return b64encode(png(self.picture)).decode()


def _format_solved(record: RunRecord) -> str:
    threshold = record.settings.get("reward_threshold")
    if record.solved_in is not None:
        return f"in round {record.solved_in}, after {record.first_solved_steps:,} training steps"
    return "no threshold known" if threshold is None else f"no, needs {threshold:g}"


def _format_failures(failures: Sequence[Mapping[str, Any]]) -> str:
    if not failures:
        return "none"
    return f"{len(failures)}, {sum(bool(failure.get('healed')) for failure in failures)} healed"


def _format_duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


# --- several runs


@dataclass(frozen=True)
class _Group:
    """Runs that differ only in their seeds."""

    env: str
    label: str
    records: Sequence[RunRecord]


def _comparison(runs: Sequence[ReportedRun]) -> dict[str, Any]:
    """Return the tables and images that compare runs."""
    groups = list(_groups(runs))
    rows = [(run.link, *run.headline.values()) for run in runs]
    repeated = [group for group in groups if len(group.records) > 1]
    return {
        "runs": Table("runs", {"name": "run", **HEADLINE_NUMBERS}, rows),
        "images": _curves(groups),
        "seeds": Table("of-seeds", SEED_COLUMNS, [_seeds_row(group) for group in repeated]),
        "differences": _differences(runs),
        "machines": differing_machines([run.settings.versions for run in runs]),
    }


def _groups(runs: Sequence[ReportedRun]) -> Iterator[_Group]:
    """Yield all groups, those of one environment one after the other."""
    for env in dict.fromkeys(run.record.settings["env"] for run in runs):
        of_env = [run for run in runs if run.record.settings["env"] == env]
        settings = [run.settings for run in of_env]
        groups = group_by_settings(settings)
        labels = group_labels(settings, [run.name for run in of_env], groups)
        for group, label in zip(groups, labels, strict=True):
            yield _Group(env, label, [of_env[member].record for member in group])


def _curves(groups: Sequence[_Group]) -> Iterator[Image]:
    for env in dict.fromkeys(group.env for group in groups):
        begun = {
            group.label: records
            for group in groups
            if group.env == env and (records := [record for record in group.records if record.rounds])
        }
        if begun:
            yield Image("curves", curves(env, begun), f"Evaluations on {env} over training steps, of all runs")


def _seeds_row(group: _Group) -> Sequence[str]:
    last = [record.rounds[-1].eval_score_evolved if record.rounds else None for record in group.records]
    known = [score for score in last if score is not None]
    return (
        group.env,
        group.label,
        ", ".join(str(record.settings["seed"]) for record in group.records),
        ", ".join(map(score_cell, last)),
        score_cell(median(known) if known else None),
        f"{sum(record.solved_in is not None for record in group.records)} of {len(group.records)}",
    )


def _differences(runs: Sequence[ReportedRun]) -> Table:
    values = [run.settings.values for run in runs]
    rows = [
        (name, *(format_value(each[name]) if name in each else MISSING for each in values))
        for name in differing_settings([run.settings for run in runs])
    ]
    return Table("differences", {"setting": "setting", **{run.anchor: run.link for run in runs}}, rows)
