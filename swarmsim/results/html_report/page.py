"""The whole page: the runs beside each other, where there are several, and then each by itself."""

from collections.abc import Sequence
from importlib.resources import files
from string import Template

from swarmsim.results.history import History
from swarmsim.results.html_report.comparison import comparison_section
from swarmsim.results.html_report.run import run_section
from swarmsim.results.run_settings import RunSettings
from swarmsim.results.tables import escaped


def html_report(histories: Sequence[History], settings: Sequence[RunSettings]) -> str:
    """Return a page about runs that needs nothing but itself.

    Args:
        histories: of one run or more, whether they have ended or not.
        settings: of the same runs.
    """
    names = _names(histories)
    several = len(histories) > 1
    runs = enumerate(zip(names, histories, settings, strict=True), 1)
    sections = [
        run_section(f"run-{number}", name if several else "", history, of_it) for number, (name, history, of_it) in runs
    ]
    if several:
        sections.insert(0, comparison_section(names, histories, settings))
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    title = f"{len(histories)} runs" if several else names[0]
    return template.substitute(title=f"swarmsim: {escaped(title)}", content="\n".join(sections))


def _names(histories: Sequence[History]) -> list[str]:
    """Return what runs are called: by their directories, by the whole path where two are called the same."""
    paths = [None if history.directory is None else history.directory.resolve() for history in histories]
    names = [f"run {number}" if path is None else path.name for number, path in enumerate(paths, 1)]
    return [str(path) if path and names.count(name) > 1 else name for name, path in zip(names, paths, strict=True)]
