"""Flags of the command line; those of settings have the names, help and checks of Config's fields."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from swarmsim.config import DEFAULT_FILE, Config, layered_config
from swarmsim.errors import SettingsError, unknown
from swarmsim.settings import checked_value

SCRIPT = "swarmsim"


class Parser(argparse.ArgumentParser):
    """A parser that raises errors of one sentence, which name the nearest flag."""

    def __init__(self, prog: str, description: str, epilog: str, usage: str | None = None) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, usage, description, epilog, formatter_class=raw, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)

    def add_settings(self, names: Sequence[str]) -> None:
        """Add a flag for each of these fields of Config, and --config."""
        for field in fields(Config):
            if field.name not in names:
                continue
            if field.default is False:
                self.add_argument(flag(field.name), action="store_const", const=True, help=field.metadata["help"])
                continue
            metavar = field.metadata["metavar"] or ("N" if isinstance(field.default, int) else field.name.upper())
            default = "" if field.default is None else f" (default: {field.default})"
            meaning = f"{field.metadata['help']}{default}"
            self.add_argument(flag(field.name), metavar=metavar, help=meaning)
        self.add_argument("--config", metavar="FILE", help=f"settings file (default: {DEFAULT_FILE}, if there is one)")

    def parsed(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Return the parsed arguments; raises SettingsError if one is missing or unknown."""
        given, rest = self.parse_known_args(arguments)
        if rest:
            known = list(self._option_string_actions)
            raise SettingsError(
                unknown("flag", rest[0], known, show=0)
                if rest[0].startswith("-")
                else f"unexpected argument {rest[0]!r}"
            )
        return given


def program() -> str:
    """Return the words that call this program again from the same folder."""
    called = Path(sys.argv[0])
    python = "python" if _is_first_on_the_path("python", sys.executable) else _from_here(sys.executable)
    if called.name == "__main__.py" and called.parent.name == SCRIPT:
        return f"{python} -m {SCRIPT}"
    if called.name == "run.py":
        return f"{python} {shlex.quote(sys.argv[0])}"
    if called.name == SCRIPT and not _is_first_on_the_path(SCRIPT, sys.argv[0]):
        return _from_here(sys.argv[0])
    return SCRIPT


def _is_first_on_the_path(name: str, program: str) -> bool:
    found = shutil.which(name)
    return found is not None and Path(found).absolute() == Path(program).absolute()


def _from_here(program: str) -> str:
    path = Path(program).absolute()
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def given_settings(given: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given as flags; raises SettingsError if a value cannot be used."""
    hints = get_type_hints(Config)
    return {
        field.name: checked_value(field, hints[field.name], text, flag(field.name))
        for field in fields(Config)
        if (text := getattr(given, field.name, None)) is not None
    }


def config_of(over: dict[str, Any], file: str | None) -> Config:
    """Return the settings of a file, by default swarm.yaml if it exists, overridden by `over`; raises SettingsError."""
    return layered_config(file or (DEFAULT_FILE if Path(DEFAULT_FILE).exists() else None), over, "flags")


def whole_number(text: str, name: str, *, minimum: int) -> int:
    """Return the value of the flag `name`; raises SettingsError unless it is a whole number, at least `minimum`."""
    if not text.isdecimal() or int(text) < minimum:
        raise SettingsError(f"{name} must be a whole number, at least {minimum}, not {text!r}")
    return int(text)
