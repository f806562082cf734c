"""`swarmsim report` and `swarmsim plot`: an HTML page and pictures of runs, whether they have ended or not."""

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from swarmsim.commands.command import RUN, argument, command
from swarmsim.config import Config, make_config
from swarmsim.files import write_atomically
from swarmsim.results.run_directory import read_history, read_settings, read_versions
from swarmsim.results.run_settings import RunSettings, flatten

FILE = "report.html"


@command(
    "report",
    "Write one HTML file about a run, or a comparison of several runs.",
    argument("directories", metavar="DIR", nargs="+", help="run directory; the run may still be running"),
    argument("--out", metavar="FILE", help=f"default: {FILE} in the run directory, or here for several runs"),
    example=f"swarmsim report {RUN}",
)
def report(given: Namespace) -> None:
    """Write the report and print its path."""
    directories = list(dict.fromkeys(map(Path, given.directories)))
    histories = [read_history(directory) for directory in directories]
    settings = [settings_of(directory) for directory in directories]
    from swarmsim.results.html_report import html_report

    folder = directories[0] if len(directories) == 1 else Path()
    file = folder / FILE if given.out is None else Path(given.out)
    write_atomically(file, html_report(histories, settings).encode())
    print(file)


def settings_of(directory: Path) -> RunSettings:
    """Return the settings of a run, and the defaults of its preset; raises SettingsError if they cannot be read."""
    values = read_settings(directory)
    preset = make_config({"preset": values.get("preset", Config.preset)}, str(directory))
    defaults = {**asdict(preset), "preset": Config.preset}
    return RunSettings(flatten(values), flatten(defaults), read_versions(directory))


@command(
    "plot",
    "Draw the pictures of a run again, up to its last round.",
    argument("directory", metavar="DIR", help="run directory; the pictures are written into it"),
    example=f"swarmsim plot {RUN}",
)
def plot(given: Namespace) -> None:
    """Draw the pictures and print their paths."""
    directory = Path(given.directory)
    history = read_history(directory)
    from swarmsim.results.pictures import write_pictures

    paths = write_pictures(history, directory)
    print("\n".join(map(str, paths)) if paths else f"{directory}: nothing to draw before the first round has ended")
