"""The command line: flags → Config → Experiment → exit status."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from swarmsim.commands import export, inspect, play, plot, programs, report
from swarmsim.config import Config, resumed_config
from swarmsim.errors import ComponentFailed, SettingsError, SwarmError
from swarmsim.flags import Parser, config_of, given_settings, program
from swarmsim.results.history import History

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

FLAGS = (
    "rounds", "population", "episodes", "eval_episodes", "env", "envs", "workers", "link", "preset", "seed", "out",
    "verbose", "live", "tensorboard",
)  # fmt: skip
PROGRAMS = {
    "serve": programs.serve,
    "component": programs.component,
    "report": report.main,
    "plot": plot.main,
    "export": export.main,
    "play": play.main,
    "inspect": inspect.main,
}


def make_parser() -> Parser:
    """Return the parser; names, defaults and help of its flags are those of Config's fields."""
    parser = Parser(
        prog="swarmsim",
        usage="%(prog)s [FLAG ...]    or    %(prog)s COMMAND --help",
        description="Train, evaluate and evolve a swarm of learning models that act as one.",
        epilog="Every flag is also a key of swarm.yaml (eval_episodes for --eval-episodes), and\n"
        "wins. Commands for a run that is there: report, plot, play, inspect, export; for\n"
        "a swarm of several programs: serve, component.\n\n"
        "Example: python run.py --rounds 5 --population 20 --seed 1 --live",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_settings(FLAGS)
    parser.add_argument("--resume", metavar="DIR", help="go on with that run until --rounds in all are done")
    parser.add_argument("--no-progress", action="store_true", help="no bars")
    return parser


def parse(arguments: Sequence[str] | None = None) -> tuple[Config, bool]:
    """Return the settings of a command line, over those of its settings file, and whether a run is to be resumed.

    Raises:
        SettingsError: a flag, a key or a value that cannot be used.
    """
    given = make_parser().parsed(arguments)
    over = given_settings(given)
    if given.no_progress:
        over["progress"] = False
    if given.resume is not None:
        if given.config is not None:
            raise SettingsError(f"--config: the run in {given.resume} has its settings, with which --resume goes on")
        return resumed_config(given.resume, over), True
    return config_of(over, given.config), False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in PROGRAMS:
            return PROGRAMS[arguments[0]](arguments[1:])
        config, resume = parse(arguments)
        if config.rounds == 0:
            print("0 rounds: nothing to do")
            return DONE
        return _run(config, resume)
    except SettingsError as error:
        print(f"swarmsim: {error}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:  # before or after the run itself
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads on, as in `python run.py | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(config: Config, resume: bool) -> int:
    from swarmsim.experiment.run import experiment
    from swarmsim.views.terminal import TerminalReport

    run = experiment(config, TerminalReport(config.progress, config.verbose), resume=resume)
    status = DONE
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run.run()
        if len(run.history) < config.rounds:
            print("\nswarmsim: stopped", file=sys.stderr)
            status = INTERRUPTED
    except KeyboardInterrupt:
        print("\nswarmsim: interrupted", file=sys.stderr)
        status = INTERRUPTED
    except SwarmError as error:
        if isinstance(error, SettingsError) and run.history.directory is None:
            raise
        if isinstance(error, ComponentFailed) and error.traceback_text:
            print(error.traceback_text, file=sys.stderr)
        print(f"swarmsim: {error}", file=sys.stderr)
        status = FAILED
    if run.history.rounds:
        print(f"\n{run.history}")
    print("", *last_words(run.history, run.checkpoint, is_done=status == DONE), sep="\n")
    return status


def last_words(history: History, checkpoint: Path | None, *, is_done: bool) -> Iterator[str]:
    """Tell where a run's results lie, and how to go on."""
    if history.directory is None:
        yield "nothing is kept: out is empty"
        return
    directory = shlex.quote(str(history.directory))
    yield f"results in {history.directory}"
    if history.rounds:
        yield f"look at {history.directory / 'scores.png'}, or at all of it on a page: {program()} report {directory}"
    if is_done:
        yield f"go on with: {program()} --resume {directory} --rounds {2 * len(history)}"
        return
    if checkpoint is not None:
        yield f"last checkpoint: {checkpoint}"
    yield f"go on with: {program()} --resume {directory}"
