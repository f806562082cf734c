"""The cost of TCP: the sockets link compared with the reference system (swergio 0.0.2, as shipped) and with queues.

Round trips: of two clients of the reference, unchanged, at its server and at ours; then of two of our clients. A
request goes to a room whose only listener replies in another room. Steps: of the main job by TCP, on queues, and by the
reference. Each component is a process. The cases are measured in turn; a ratio is the median of the repeats' ratios.
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
EPISODES_PER_SECOND = 15  # to request; how long they take depends on their scores
ROUND_TRIPS_PER_SECOND = 4000

AT_ITS_SERVER, AT_OURS = "two of the reference's clients, its server", "… the same two, our server"
OURS = "two of our clients, our server"
REFERENCE, SOCKETS, QUEUES = "steps: the reference, as shipped", "steps: swarmsim, sockets", "steps: swarmsim, queues"
GOALS = {AT_OURS: "50 (goal 300)", SOCKETS: "60"}  # times as fast as the reference, at least


def reference_round_trip(python: Path, seconds: float, *, at_ours: bool) -> float:
    """Return the median ms from a request to its reply, between two clients of the reference.

    Raises:
        ReferenceFailed: one of them ended early, or was silent for too long.
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
        times = components.told("asker", "milliseconds", START_SECONDS + seconds + ANSWER_SECONDS, "the last answer")
    return float(statistics.median(times))


def our_round_trip(seconds: float) -> float:
    """Return the mean ms from a request to its reply, between two of our clients."""
    return round_trip(max(1, round(10 * seconds * ROUND_TRIPS_PER_SECOND)), partial(swarm, "sockets")) / 1000


def measures(given: argparse.Namespace) -> tuple[dict[str, Callable[[], float]], dict[str, Callable[[], float]]]:
    """Return the measurements of round trips (ms), and of steps (per second)."""
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
    """Return the table's rows, each with its speed relative to the reference."""
    table_rows = []
    for name, values in round_trips.items():
        speedup = ratio(round_trips[AT_ITS_SERVER], values)
        table_rows.append([name, *summary(values, "{:,.3f} ms".format), f"{speedup:,.1f}", GOALS.get(name, "")])
    for name, values in steps.items():
        speedup = ratio(values, steps[REFERENCE])
        table_rows.append([name, *summary(values, "{:,.0f} steps/s".format), f"{speedup:,.1f}", GOALS.get(name, "")])
    return table_rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        description="Compare the sockets link with the reference as shipped, and with queues.",
        epilog="example, about 15 s: python benchmarks/sockets.py --repeats 1 --seconds 2 --only round-trips",
    )
    venv = Path(__file__).parent / ".venv-reference"
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each case (default: 3)")
    parser.add_argument("--seconds", type=float, default=10.0, help="approximate length of a measurement (default: 10)")
    parser.add_argument("--models", type=int, default=20, help="models in each swarm (default: 20)")
    parser.add_argument("--only", choices=("round-trips", "steps"), help="measure these alone")
    parser.add_argument(
        "--venv",
        type=Path,
        default=venv,
        metavar="DIR",
        help=f"the reference's virtual environment; created if missing ({venv.name})",
    )
    given = parser.parse_args(arguments)
    if given.seconds <= 0 or min(given.models, given.repeats) < 1:
        parser.error("--seconds must be above 0, and --models and --repeats at least 1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        round_trips, steps = (interleaved(given.repeats, cases) for cases in measures(given))
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
