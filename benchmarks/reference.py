"""Training steps per second of swarmsim against the reference system, swergio 0.0.2, on the same work.

The work: CartPole-v1, models with actor [16, 16] and critic [16, 16], A2C with 5 steps and Adam, one environment, one
aggregation, one server, one control. The reference gets a virtual environment of its own and is run unchanged, by
the small components of `reference_swarm`; all of its sockets once as shipped and once with TCP_NODELAY.

Wherever there was a choice, it is in the reference's favour: its models learn by a gradient written out in numpy, not
by torch; its server's log goes nowhere; its aggregation keeps no contributions; no values are computed for answers.

Why the reference is slow, found by changing one thing at a time: as shipped it sends header and body apart, and they
wait for acknowledgements that come late, some 40 ms for each of a step's three hops; so it takes 8 steps a second with
3 models as with 20. With TCP_NODELAY what costs is how much is said: a model answers in the room logits, answering
joins it, and so a step of 20 models has 421 deliveries instead of 41 (with the models kept out of that room it takes
three to four times the steps; without the learning, no more than with it).
"""

import argparse
import importlib.metadata
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import machine, table
from reference_swarm.swarm import ReferenceFailed, measured

import swarmsim
from swarmsim.errors import SwarmError

PACKAGES = ("swergio==0.0.2", *(f"{name}=={importlib.metadata.version(name)}" for name in ("numpy", "gymnasium")))
INSTALL_SECONDS = 600.0
SEED = 1

SHIPPED, NODELAY = "reference, as shipped", "reference, with TCP_NODELAY"
DEFAULT, SPREAD = "swarmsim, default workers", "swarmsim, a process for each model"
EPISODES_PER_SECOND = {DEFAULT: 20, SPREAD: 6}  # of what is asked for; how long they take depends on how well they go


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Training steps per second of swarmsim against swergio 0.0.2, on the same work.",
        epilog="Example: python benchmarks/reference.py --seconds 20 --models 20",
    )
    venv = Path(__file__).parent / ".venv-reference"
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement, about (default: 20)")
    parser.add_argument("--models", type=int, default=20, help="and as many processes (default: 20)")
    parser.add_argument("--only", choices=("shipped", "nodelay", "swarmsim"), help="measure nothing else")
    parser.add_argument(
        "--venv", type=Path, default=venv, metavar="DIR", help=f"the reference's own; made where missing ({venv.name})"
    )
    return parser


def reference_python(folder: Path) -> Path:
    """Return the Python of the virtual environment in `folder` that has the reference; make it where it is missing.

    Raises:
        ReferenceFailed: it cannot be made; the note holds what was printed.
    """
    python = folder.absolute() / "bin" / "python"
    if python.exists() and set(PACKAGES) <= set(_printed(python, "-m", "pip", "freeze").split()):
        return python
    print(f"installing {', '.join(PACKAGES)} into {folder}", file=sys.stderr)
    if not python.exists():
        _printed(sys.executable, "-m", "venv", folder)
        (folder / ".gitignore").write_text("*\n")
    _printed(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES)
    return python


def _printed(*command: str | Path) -> str:
    """Return what a command printed.

    Raises:
        ReferenceFailed: it failed, or took longer than INSTALL_SECONDS.
    """
    shown = " ".join(map(str, command))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ReferenceFailed(f"`{shown}` took longer than {INSTALL_SECONDS:.0f} s") from None
    if done.returncode:
        failed = ReferenceFailed(f"`{shown}` failed with status {done.returncode}")
        failed.add_note(done.stdout + done.stderr)
        raise failed
    return done.stdout


def swarmsim_steps_per_second(n_models: int, workers: int | str, episodes: int) -> float:
    """Return swarmsim's training steps per second in a second round, when everything is warm."""
    history = swarmsim.run(
        preset="reference",
        population=n_models,
        workers=workers,
        rounds=2,
        episodes=episodes,
        out=None,
        progress=False,
        seed=SEED,
    )
    return float(history[-1].steps_per_second)


def measure(n_models: int, seconds: float, venv: Path, only: str | None) -> dict[str, float]:
    """Return the steps per second of every variant that is asked for."""
    figures: dict[str, float] = {}
    for key, variant, nodelay in (("shipped", SHIPPED, False), ("nodelay", NODELAY, True)):
        if only in (None, key):
            python = reference_python(venv)
            print(f"{variant}: {n_models} models, {seconds:g} s", file=sys.stderr)
            figures[variant] = measured(python, n_models, seconds, nodelay)
    if only in (None, "swarmsim"):
        for variant, workers in ((DEFAULT, "auto"), (SPREAD, n_models)):
            episodes = max(1, round(EPISODES_PER_SECOND[variant] * seconds))
            print(f"{variant}: {n_models} models, twice {episodes} episodes", file=sys.stderr)
            figures[variant] = swarmsim_steps_per_second(n_models, workers, episodes)
    return figures


def report(figures: Mapping[str, float], n_models: int) -> str:
    """Return the table of all variants, and the two ratios that matter."""

    def times(variant: str, to: str) -> str:
        return f"{figures[variant] / figures[to]:,.2f}" if variant in figures and to in figures else "–"

    header = "variant", "steps/s", "times as shipped", "times with TCP_NODELAY"
    rows = [(name, f"{figure:,.1f}", times(name, SHIPPED), times(name, NODELAY)) for name, figure in figures.items()]
    spread = f"{n_models} models in {n_models} processes against the reference with TCP_NODELAY"
    return "\n".join(
        [
            table(header, rows),
            "",
            f"{spread}: {times(SPREAD, NODELAY)}",
            f"default against the reference as shipped: {times(DEFAULT, SHIPPED)}",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = make_parser()
    given = parser.parse_args(arguments)
    if given.seconds <= 0 or given.models < 1:
        parser.error("--seconds must be above 0, and --models at least 1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        figures = measure(given.models, given.seconds, given.venv, given.only)
    except KeyboardInterrupt:
        return 130
    except (ReferenceFailed, SwarmError) as error:
        print("\n".join([f"reference.py: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        return 1
    print(machine(), report(figures, given.models), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
