"""One run in a report: key figures, pictures, rounds, failures, settings."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from swarmsim.names import counted
from swarmsim.results.history import History
from swarmsim.results.html_report.key_figures import FIGURES, key_figures
from swarmsim.results.pictures import Picture, drawn, png
from swarmsim.results.run_settings import RunSettings, told
from swarmsim.results.tables import escaped, rounds_table, table

ALTS = {
    "scores": "Scores of each round: training, and evaluations before and after evolution; the table has the numbers",
    "population": "Each model's share of the decisions, and the diversity, by round",
    "rooms": "How many messages went from whom through which room to whom",
}


def run_section(anchor: str, heading: str, history: History, settings: RunSettings) -> str:
    """Return a run's part of the page; links lead to it by `anchor`; without a heading where the page is its own."""
    parts = [
        f'<section class="run" id="{anchor}">',
        f"<h2>{escaped(heading)}</h2>" if heading else "",
        f'<p class="title">{escaped(_told(history))}</p>',
        _figures(history, settings),
        _failures(history.failures),
        *(image(kind, picture, ALTS[kind]) for kind, picture in drawn(history).items()),
        _rounds(history),
        _settings(settings),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def image(kind: str, picture: Picture, alt: str) -> str:
    """Return a picture as an element that holds all of it."""
    width, height = (round(side * picture.dpi) for side in picture.get_size_inches())
    data = b64encode(png(picture)).decode()
    return (
        f'<figure><img class="{kind}" width="{width}" height="{height}" alt="{escaped(alt)}" '
        f'src="data:image/png;base64,{data}"></figure>'
    )


def _told(history: History) -> str:
    processes = counted(history.settings["workers"], "process", "processes")
    return "{title}, in {processes}, link {link}, preset {preset}".format(
        title=history.title, processes=processes, **history.settings
    )


def _figures(history: History, settings: RunSettings) -> str:
    texts = key_figures(history, settings.values.get("rounds"))
    items = "\n".join(
        f'<div><dt>{heading}</dt><dd class="{kind}">{escaped(text)}</dd></div>'
        for (kind, heading), text in zip(FIGURES.items(), texts, strict=True)
    )
    return f'<dl class="figures">\n{items}\n</dl>'


def _rounds(history: History) -> str:
    if not history.rounds:
        return '<p class="no-round">No round has ended so far.</p>'
    return f'<h3>Rounds</h3>\n<div class="wide">\n{rounds_table(history, caption=False)}\n</div>'


def _failures(failures: Iterable[Mapping[str, Any]]) -> str:
    items = "\n".join(map(_failure, failures))
    return f"<h3>Failures</h3>\n{items}" if items else ""


def _failure(failure: Mapping[str, Any]) -> str:
    fate = "the run went on" if failure["healed"] else "the run ended with it"
    what = "round {round}, {phase}: {component} failed: {error}: {message}".format(**failure)
    traceback = failure["traceback"] or "Its process could no longer tell where it failed."
    return (
        f'<details class="failure"><summary>{escaped(what)}; <b class="fate">{fate}</b></summary>\n'
        f"<pre>{escaped(traceback)}</pre></details>"
    )


def _settings(settings: RunSettings) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in settings.versions.items())
    rest = [name for name in settings.values if name not in settings.changed]
    parts = [
        "<h3>Settings</h3>",
        f'<p class="versions faint">Begun with {escaped(versions)}.</p>' if versions else "",
        _settings_table("changed", settings, settings.changed) or "<p>All are as by default.</p>",
        f"<details><summary>{counted(len(rest), 'setting')} as by default</summary>",
        _settings_table("unchanged", settings, rest),
        "</details>",
    ]
    return "\n".join(parts)


def _settings_table(css: str, settings: RunSettings, names: Sequence[str]) -> str:
    columns = {"setting": "setting", "value": "value", "default": "by default"}
    rows = [(name, told(settings.values[name]), told(settings.defaults.get(name))) for name in names]
    return f'<div class="wide">{table(f"settings {css}", columns, rows)}</div>' if rows else ""
