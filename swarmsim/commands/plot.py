"""`swarmsim plot`: draw the pictures of a run again."""

from argparse import Namespace
from pathlib import Path

from swarmsim.commands.command import RUN, argument, command
from swarmsim.results.run_directory import read_history


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
