"""`swarmsim report`: a page about runs that have ended, or still go on."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from swarmsim.config import Config, make_config
from swarmsim.files import write_atomically
from swarmsim.flags import Parser
from swarmsim.results.run_directory import read_history, read_settings, read_versions
from swarmsim.results.run_settings import RunSettings, flatten

DONE = 0
FILE = "report.html"


def make_parser() -> Parser:
    """Return the parser of `swarmsim report`."""
    parser = Parser(
        prog="swarmsim report",
        description="Write a page about a run, or about several beside each other: one HTML file that holds all of it.",
        epilog="Example: swarmsim report runs/CartPole-v1-20261124-120000",
        allow_abbrev=False,
    )
    parser.add_argument("directories", metavar="DIR", nargs="+", help="a run's directory; it may still go on")
    parser.add_argument(
        "--out", metavar="FILE", help=f"where to write it (default: {FILE} in the directory; here, for several runs)"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Write the report, print where it is, and return the exit status.

    Raises:
        SettingsError: a flag cannot be used, a directory is no run or is damaged, or the file cannot be written.
    """
    given = make_parser().parsed(arguments)
    directories = list(dict.fromkeys(map(Path, given.directories)))
    histories = [read_history(directory) for directory in directories]
    settings = [settings_of(directory) for directory in directories]
    from swarmsim.results.html_report import html_report

    folder = directories[0] if len(directories) == 1 else Path()
    file = folder / FILE if given.out is None else Path(given.out)
    write_atomically(file, html_report(histories, settings).encode())
    print(file)
    return DONE


def settings_of(directory: Path) -> RunSettings:
    """Return the settings of a run, beside those that its preset alone gives.

    Raises:
        SettingsError: there is no run, its settings are damaged, or its preset is none.
    """
    values = read_settings(directory)
    preset = make_config({"preset": values.get("preset", Config.preset)}, str(directory))
    defaults = {**asdict(preset), "preset": Config.preset}
    return RunSettings(flatten(values), flatten(defaults), read_versions(directory))
