"""The command line: flags → Config → Experiment → exit status."""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from swarmsim.config import DEFAULT_FILE, Config, make_config, merged, read_file, resumed_config
from swarmsim.errors import ComponentFailed, SettingsError, SwarmError, unknown
from swarmsim.settings import checked_value

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

FLAGS = (
    "rounds", "population", "episodes", "eval_episodes", "env", "envs", "workers", "link", "preset", "seed", "out",
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, with the nearest flag."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)

    def flags(self) -> list[str]:
        """Return every flag that it knows."""
        return list(self._option_string_actions)


def make_parser() -> Parser:
    """Return the parser; names, defaults and help of its flags are those of Config's fields."""
    parser = Parser(
        prog="swarmsim",
        description="A swarm of learning models that act as one: train, evaluate, evolve, evaluate, round by round.",
        epilog="Every flag is also a key of swarm.yaml (eval_episodes for --eval-episodes); flags win. "
        "Example: python run.py --rounds 5 --population 20 --seed 1",
        allow_abbrev=False,
    )
    for field in fields(Config):
        if field.name in FLAGS:
            parser.add_argument(
                _flag(field.name),
                metavar=field.name.rpartition("_")[2].upper(),
                help=f"{field.metadata['help']} (default: {field.default})",
            )
    parser.add_argument("--config", metavar="FILE", help=f"settings file (default: {DEFAULT_FILE}, where there is one)")
    parser.add_argument(
        "--resume", metavar="DIR", help="go on from that run's last checkpoint until --rounds in all are done"
    )
    parser.add_argument("--no-progress", action="store_true", help="no bars")
    return parser


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def parse(arguments: Sequence[str] | None = None) -> tuple[Config, bool]:
    """Return the settings of a command line, over those of its settings file, and whether a run is to be resumed.

    Raises:
        SettingsError: a flag, a key or a value that cannot be used.
    """
    parser = make_parser()
    given, rest = parser.parse_known_args(arguments)
    if rest:
        is_flag = rest[0].startswith("-")
        raise SettingsError(unknown("flag", rest[0], parser.flags(), show=0) if is_flag else f"what is {rest[0]!r}?")
    if given.link == "sockets":
        raise SettingsError("--link sockets is not there yet: queues and inprocess are")
    over = _checked_flags(given)
    if given.no_progress:
        over["progress"] = False
    if given.resume is not None:
        if given.config is not None:
            raise SettingsError(f"--config: the run in {given.resume} has its settings, with which --resume goes on")
        return resumed_config(given.resume, over), True
    path = given.config or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None)
    if path is None:
        return make_config(over, "flags"), False
    values = read_file(path)
    make_config(values, path)
    return make_config(merged(values, over), "flags"), False


def _checked_flags(given: argparse.Namespace) -> dict[str, Any]:
    hints = get_type_hints(Config)
    return {
        field.name: checked_value(field, hints[field.name], text, _flag(field.name))
        for field in fields(Config)
        if field.name in FLAGS and (text := getattr(given, field.name)) is not None
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and return the exit status."""
    try:
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
    from swarmsim.experiment import Experiment
    from swarmsim.terminal import TerminalReport

    experiment = Experiment(config, TerminalReport(config.progress), resume=resume)
    status = DONE
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        experiment.run()
    except KeyboardInterrupt:
        print("\nswarmsim: interrupted", file=sys.stderr)
        status = INTERRUPTED
    except SwarmError as error:
        if isinstance(error, SettingsError) and experiment.history.directory is None:
            raise
        if isinstance(error, ComponentFailed) and error.traceback_text:
            print(error.traceback_text, file=sys.stderr)
        print(f"swarmsim: {error}", file=sys.stderr)
        status = FAILED
    history = experiment.history
    if history.rounds:
        print(f"\n{history}")
    if history.directory is not None:
        print(f"\nresults in {history.directory}")
        if status != DONE and experiment.checkpoint is not None:
            print(f"last checkpoint: {experiment.checkpoint}")
        if status != DONE:
            print(f"go on with: python run.py --resume {shlex.quote(str(history.directory))}")
    return status
