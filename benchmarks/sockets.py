"""What TCP costs: the sockets link beside the reference system, swergio 0.0.2, as shipped, and beside queues.

Round trips: of two of the reference's clients, unchanged, at its own server and at ours; then of two of ours. A
question goes to a room whose one listener answers it in another. Steps: of the main job by TCP, on queues, and by the
reference. All are processes of their own; all is measured in turn, and each ratio is the median of the repeats' own.
"""

import argparse
import signal
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from measuring import interleaved, machine, ratio, summary, swarm_steps_per_second, table, training_of
from messaging import round_trip, swarm
from reference import reference_python
from reference_swarm.swarm import START_SECONDS, Components, ReferenceFailed, measured

from swarmsim import Swarm
from swarmsim.errors import SwarmError

ANSWER_SECONDS = 60.0
EPISODES_PER_SECOND = 15  # of what is asked for; how long they take depends on how well they go
ROUND_TRIPS_PER_SECOND = 4000

AT_ITS_SERVER, AT_OURS = "two of the reference's clients, its server", "… the same two, our server"
OURS = "two of our clients, our server"
REFERENCE, SOCKETS, QUEUES = "steps: the reference, as shipped", "steps: swarmsim, sockets", "steps: swarmsim, queues"
WANTED = {AT_OURS: "50 (goal 300)", SOCKETS: "60"}  # times as fast as the reference, at least


def reference_round_trip(python: Path, seconds: float, *, at_ours: bool) -> float:
    """Return the median ms from a question to its answer, between two of the reference's clients.

    Raises:
        ReferenceFailed: one of them ended early, or said nothing for too long.
    """
    with Components(python, nodelay=False) as components, Swarm(None, link="sockets") as ours:
        if at_ours:
            port = ours.serve()[1]
        else:
            components.start("server", "server.py")
            port = components.told("server", "port", START_SECONDS, "the server's port")
        components.start("answerer", "echo.py", port, "answerer")
        components.told("answerer", "ready", START_SECONDS, "the answerer's registration")
        components.start("asker", "echo.py", port, "asker", seconds)
        taken = components.told("asker", "milliseconds", START_SECONDS + seconds + ANSWER_SECONDS, "the last answer")
    return float(statistics.median(taken))


def our_round_trip(seconds: float) -> float:
    """Return the mean ms from a question to its answer, between two of our clients."""
    return round_trip(max(1, round(10 * seconds * ROUND_TRIPS_PER_SECOND)), partial(swarm, "sockets")) / 1000


def measures(given: argparse.Namespace) -> tuple[dict[str, Callable[[], float]], dict[str, Callable[[], float]]]:
    """Return what is measured: round trips in ms, and steps per second."""
    round_trips: dict[str, Callable[[], float]] = {}
    steps: dict[str, Callable[[], float]] = {}
    python = reference_python(given.venv)
    if given.only != "steps":
        round_trips[AT_ITS_SERVER] = partial(reference_round_trip, python, given.seconds, at_ours=False)
        round_trips[AT_OURS] = partial(reference_round_trip, python, given.seconds, at_ours=True)
        round_trips[OURS] = partial(our_round_trip, given.seconds)
    if given.only != "round-trips":
        episodes = max(1, round(EPISODES_PER_SECOND * given.seconds))
        settings = {"population": given.models, "episodes": episodes, "rounds": 2}
        steps[REFERENCE] = partial(measured, python, given.models, given.seconds, nodelay=False)
        for name, link in ((SOCKETS, "sockets"), (QUEUES, "queues")):
            steps[name] = partial(swarm_steps_per_second, training_of(**settings, link=link))
    return round_trips, steps


def rows(round_trips: Mapping[str, list[float]], steps: Mapping[str, list[float]]) -> list[list[str]]:
    """Return the rows of all figures, each with how many times as fast as the reference it is."""
    found = []
    for name, figures in round_trips.items():
        times = ratio(round_trips[AT_ITS_SERVER], figures)
        found.append([name, *summary(figures, "{:,.3f} ms".format), f"{times:,.1f}", WANTED.get(name, "")])
    for name, figures in steps.items():
        times = ratio(figures, steps[REFERENCE])
        found.append([name, *summary(figures, "{:,.0f} steps/s".format), f"{times:,.1f}", WANTED.get(name, "")])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        description="Measure the sockets link beside the reference as shipped, and beside queues.",
        epilog="example, about 15 s: python benchmarks/sockets.py --repeats 1 --seconds 2 --only round-trips",
    )
    venv = Path(__file__).parent / ".venv-reference"
    parser.add_argument("--repeats", type=int, default=3, help="how often all is measured (default: 3)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement, about (default: 10)")
    parser.add_argument("--models", type=int, default=20, help="of the swarms that are measured (default: 20)")
    parser.add_argument("--only", choices=("round-trips", "steps"), help="measure nothing else")
    parser.add_argument(
        "--venv", type=Path, default=venv, metavar="DIR", help=f"the reference's own; made where missing ({venv.name})"
    )
    given = parser.parse_args(arguments)
    if given.seconds <= 0 or min(given.models, given.repeats) < 1:
        parser.error("--seconds must be above 0, and --models and --repeats at least 1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        round_trips, steps = (interleaved(given.repeats, of_a_kind) for of_a_kind in measures(given))
    except KeyboardInterrupt:
        return 130
    except (ReferenceFailed, SwarmError) as error:
        print("\n".join([f"sockets.py: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        return 1
    print(f"{machine()}; {given.models} models, medians of {given.repeats} repeat(s) of {given.seconds:g} s\n")
    header = "measured", "median", "range", "times as fast as the reference", "at least"
    print(table(header, rows(round_trips, steps)))
    if steps:
        print(f"\nsockets against queues: {ratio(steps[SOCKETS], steps[QUEUES]):.2f} × the steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
