"""`swarmsim report` and `swarmsim plot`: an HTML page and pictures of runs, whether they have ended or not."""

import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from swarmsim.commands.command import RUN, argument, command
from swarmsim.config import PRESETS, Config, make_config
from swarmsim.errors import SettingsError, unknown
from swarmsim.files import write_atomically
from swarmsim.results.history import History
from swarmsim.results.run_directory import read_history, read_settings, read_versions
from swarmsim.results.run_settings import RunSettings, flatten

FILE = "report.html"
T = TypeVar("T")


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
    histories, settings = zip(*_read(directories), strict=True)
    from swarmsim.results.html_report import html_report

    folder = directories[0] if len(directories) == 1 else Path()
    file = folder / FILE if given.out is None else Path(given.out)
    page = html_report(histories, settings, lambda runs: _with_bar(runs, len(histories), "writing"))
    write_atomically(file, page.encode(errors="replace"))
    print(file)


def _read(directories: Sequence[Path]) -> Iterator[tuple[History, RunSettings]]:
    """Yield each run; those of several that cannot be read are left out with a line.

    Raises:
        SettingsError: none of them can be read, or one does not exist.
    """
    from tqdm import tqdm

    n_read = 0
    for directory in _with_bar(directories, len(directories), "reading"):
        try:
            run = read_history(directory), settings_of(directory)
        except SettingsError as error:
            if len(directories) == 1 or not os.path.lexists(directory):
                raise
            tqdm.write(f"swarmsim: {error}; it is left out", file=sys.stderr)
        else:
            n_read += 1
            yield run
    if n_read == 0:
        raise SettingsError(f"none of the {len(directories)} can be reported")


def _with_bar(items: Iterable[T], total: int, description: str) -> Iterable[T]:
    """Pass `items` on with a bar on stderr, if that is a terminal and there are several."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread
    return tqdm(items, description, total, unit="run", leave=False, disable=None if total > 1 else True)


def settings_of(directory: Path) -> RunSettings:
    """Return the settings of a run, and the defaults of its preset; raises SettingsError if they cannot be read."""
    values = read_settings(directory)
    preset = values.get("preset", Config.preset)
    if preset not in list(PRESETS):
        raise SettingsError(f"{directory}: {unknown('preset', preset, PRESETS)}")
    return RunSettings(flatten(values), _defaults(preset), read_versions(directory))


@cache
def _defaults(preset: str) -> dict[str, Any]:
    return flatten({**asdict(make_config({"preset": preset}, "preset")), "preset": Config.preset})


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
