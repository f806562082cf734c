"""What all commands share: from argument strings to an action and its exit status."""

import re
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from swarmsim.console import show, silence
from swarmsim.errors import SettingsError
from swarmsim.flags import Parser
from swarmsim.settings import user_path

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
RUN = "runs/CartPole-v1-20261124-120000"  # in examples

Argument = Callable[[Parser], object]


@dataclass(frozen=True)
class Command:
    """A command: it gets argument strings, and returns the exit status of its `action`, DONE if that returns None."""

    make_parser: Callable[[], Parser]
    action: Callable[[Namespace], int | None]

    def __call__(self, arguments: Sequence[str]) -> int:
        try:
            return self.action(self.make_parser().parsed(arguments)) or DONE
        except SettingsError as error:
            show(f"swarmsim: {error}", sys.stderr)
            return WRONG_USAGE
        except KeyboardInterrupt:  # before or after the run itself
            return INTERRUPTED
        except BrokenPipeError:  # the reader of stdout is gone
            silence(sys.stdout)
            return FAILED


def command(
    name: str, description: str, *arguments: Argument, example: str, usage: str | None = None, notes: str = ""
) -> Callable[[Callable[[Namespace], int | None]], Command]:
    """Return a decorator that makes the function of an action a Command; `notes` are shown above the example."""

    def make_parser() -> Parser:
        parser = Parser(f"swarmsim {name}".strip(), description, f"{notes}Example: {example}", usage)
        for add_to in arguments:
            add_to(parser)
        return parser

    return lambda action: Command(make_parser, action)


def argument(*names: str, **options: Any) -> Argument:
    """Return an argument of a command; the parameters are those of `ArgumentParser.add_argument`."""
    if set(re.findall(r"\w+", options.get("metavar", ""))) & {"DIR", "FILE"}:
        options["type"] = lambda text: str(user_path(text))
    return lambda parser: parser.add_argument(*names, **options)


def settings(*names: str) -> Argument:
    """Return the flags of these settings, and --config."""
    return lambda parser: parser.add_settings(names)
