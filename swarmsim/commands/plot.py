"""`swarmsim plot`: draw the pictures of a run again."""

from collections.abc import Sequence
from pathlib import Path

from swarmsim.flags import Parser
from swarmsim.results.run_directory import read_history

DONE = 0


def make_parser() -> Parser:
    """Return the parser of `swarmsim plot`."""
    parser = Parser(
        prog="swarmsim plot",
        description="Draw the pictures of a run again, as far as it has come: scores, who decided, who talked to whom.",
        epilog="Example: swarmsim plot runs/CartPole-v1-20261124-120000",
        allow_abbrev=False,
    )
    parser.add_argument("directory", metavar="DIR", help="the run's directory, where its pictures are put")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Draw the pictures, print their paths, and return the exit status.

    Raises:
        SettingsError: a flag cannot be used, there is no run, it is damaged, or a file cannot be written.
    """
    given = make_parser().parsed(arguments)
    directory = Path(given.directory)
    history = read_history(directory)
    from swarmsim.results.pictures import write_pictures

    paths = write_pictures(history, directory)
    print("\n".join(map(str, paths)) if paths else f"{directory}: no round has ended so far, so nothing can be drawn")
    return DONE
