"""`swarmsim serve` and `swarmsim component`: run one part of a swarm as a separate program, on any machine."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from swarmsim.commands.command import DONE, FAILED, INTERRUPTED, argument, command, settings
from swarmsim.config import Config
from swarmsim.console import show
from swarmsim.errors import SettingsError, SwarmError, explain, format_traceback, unknown
from swarmsim.flags import config_of, given_settings
from swarmsim.launcher.child_main import use_one_thread
from swarmsim.launcher.interrupts import interrupt_by, stopping_signals
from swarmsim.messaging.endpoint import Address
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.server import Server
from swarmsim.messaging.sockets.handshake import SECRET_VARIABLE, shared_secret
from swarmsim.projects import in_project

SERVER, PORT = "127.0.0.1", 8080
ROLES = ("aggregation", "model", "evolution", "environment", "control")
ROLE_SETTINGS = ("rounds", "population", "episodes", "eval_episodes", "eval_every", "env", "envs", "preset", "seed")
ADDRESS = (
    argument("--server", default=SERVER, metavar="HOST", help=f"the server's address (default: {SERVER})"),
    argument("--port", default=str(PORT), metavar="PORT", help=f"the server's port (default: {PORT})"),
    argument(
        "--secret-file",
        metavar="FILE",
        help=f"a file whose first line is the shared secret (default: ${SECRET_VARIABLE})",
    ),
)


@command(
    "serve",
    "Run a swarm's server, to which components connect by TCP, also those of swergio.",
    *ADDRESS,
    argument("--insecure", action="store_true", help="accept clients without a secret, also from other machines"),
    example="swarmsim serve --port 8080",
)
def serve(given: argparse.Namespace) -> int:
    """Run a server until interrupted, and return the exit status."""
    try:
        server = Server(*_address(given), secret=_secret(given), insecure=given.insecure)
    except SwarmError as error:
        raise SettingsError(str(error)) from None
    show("swarmsim: serves {}:{}; Ctrl+C stops it".format(*server.address), sys.stdout)
    return _until_interrupted(server.start, "server")


@command(
    "component",
    "Join the swarm at a server as one role of the main job; start control last.",
    argument("role", metavar="ROLE", help=f"one of {', '.join(ROLES)}"),
    *ADDRESS,
    argument("--models", metavar="FIRST-LAST", help="the models that this process runs (default: all)"),
    settings(*ROLE_SETTINGS),
    example="swarmsim component model --models 0-9 --port 8080",
    usage="%(prog)s ROLE [FLAG ...]",
    notes="Give all roles the same settings.\n",
)
def component(given: argparse.Namespace) -> int:
    """Run one role until its server stops or it is interrupted (control: for its rounds); return the exit status."""
    if given.role not in ROLES:
        raise SettingsError(unknown("role", given.role, ROLES))
    if given.models is not None and given.role != "model":
        raise SettingsError(f"--models is a flag of the role model; {given.role} runs no models")
    config = config_of({**given_settings(given), "out": None, "link": "sockets"}, given.config)
    address, secret = _address(given), _secret(given)
    if given.role == "control":
        return _until_interrupted(lambda: _run_control(config, address, secret), "control")
    from swarmsim.components.main_job import one_role
    from swarmsim.envs.make import EnvSource, shape_of

    with in_project(config.modules, config.references):
        shape = shape_of(EnvSource.of(config))
        role = one_role(config, shape, given.role, _model_range(given.models, config.population))
        use_one_thread()
        return _until_interrupted(lambda: role.run(address, secret), role.name)


def _run_control(config: Config, address: Address, secret: str | None) -> None:
    from swarmsim.experiment.experiment import Experiment
    from swarmsim.views.terminal import TerminalReport

    experiment = Experiment(config, TerminalReport(config.progress, config.verbose), join=(address, secret))
    try:
        experiment.run()
    finally:
        if experiment.history.rounds:
            show(f"\n{experiment.history}", sys.stdout)


def _until_interrupted(main: Callable[[], object], name: str) -> int:
    """Run `main`, call this process's closers however it ends, and return the exit status."""
    interrupt_by(stopping_signals())  # also if Ctrl+C is ignored, as shells arrange for background jobs
    try:
        main()
    except KeyboardInterrupt:
        show(f"\nswarmsim: {name} was interrupted", sys.stderr)
        return INTERRUPTED
    except SwarmError as error:
        show(f"swarmsim: {name}: {error}", sys.stderr)
        return FAILED
    except Exception as error:
        show(format_traceback(error), sys.stderr, end="")
        show(f"swarmsim: component {name!r} failed: {type(error).__name__}: {explain(error)}", sys.stderr)
        return FAILED
    finally:
        PROCESS.close_all()
    return DONE


def _address(given: argparse.Namespace) -> Address:
    if not given.port.isdecimal() or int(given.port) >= 1 << 16:
        raise SettingsError(f"--port must be a whole number from 0 to 65535, not {given.port!r}")
    return given.server, int(given.port)


def _secret(given: argparse.Namespace) -> str | None:
    if given.secret_file is None:
        return None
    try:
        lines = Path(given.secret_file).read_text(encoding="utf-8").splitlines()
        return shared_secret(lines[0].strip() if lines else "")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--secret-file: {given.secret_file} cannot be read: {error}") from None
    except SwarmError as error:
        raise SettingsError(f"--secret-file: {error}") from None


def _model_range(text: str | None, population: int) -> range:
    """Return the model numbers of FIRST-LAST; all if `text` is None."""
    if text is None:
        return range(population)
    first, dash, last = text.partition("-")
    last = last if dash else first
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < population):
        raise SettingsError(
            f"--models must be two numbers of the population of {population}, such as 0-{population - 1}, not {text!r}"
        )
    return range(int(first), int(last) + 1)
