"""Kill anything at any moment: many small runs, each with a fault at a random moment in a random component.

Each trial starts `run.py` as a user would, in a directory of its own; at a random moment between the swarm's standing
and the end of such a run it kills, stops, breaks or ends a component, or the launcher. What ended early is resumed.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from measuring import machine, table

from swarmsim.commands.command import INTERRUPTED
from swarmsim.errors import SwarmError
from swarmsim.messaging.client import Client
from swarmsim.results.checkpoint import CheckpointDamaged, read_checkpoint
from swarmsim.results.run_directory import CHECKPOINT, METRICS

ROUNDS, EPISODES, POPULATION = 3, 25, 6
HUNG_SECONDS, ORPHAN_SECONDS, TOGETHER_SECONDS = 60.0, 5.0, 0.3
# Nothing is learnt and episodes are short, lest runs become the longer the better their swarms play.
SETTINGS = f"""
max_episode_steps: 50
rounds: {ROUNDS}
population: {POPULATION}
episodes: {EPISODES}
eval_episodes: 5
timeout: 2
ppo: {{learning_rate: 0, n_batches: 2}}
"""

# Every component inherits the handlers: one breaks what it is doing, the other ends its process without a word.
VICTIM = """
import os, signal, sys

def break_down(*_):
    raise RuntimeError("chaos")

signal.signal(signal.SIGUSR1, break_down)
signal.signal(signal.SIGUSR2, lambda *_: os._exit(0))
from swarmsim.cli import main
sys.exit(main())
"""

FAULTS = {
    "SIGKILL": signal.SIGKILL,
    "SIGSTOP": signal.SIGSTOP,
    "exception": signal.SIGUSR1,
    "exit 0": signal.SIGUSR2,
}
LAUNCHER_FAULTS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "Ctrl+C": signal.SIGINT}
COMPONENTS = {"models": "model", "aggregation": "aggregation", "environment": "environment", "evolution": "evolution"}
KINDS = [(component, fault) for component in COMPONENTS for fault in FAULTS]
KINDS += [("launcher", fault) for fault in LAUNCHER_FAULTS]

OUTCOMES = "completed", "ended cleanly", "hung", "left processes", "lost a checkpoint"


@dataclass
class Trial:
    """One run with one fault, or with others just before it, and what came of it.

    Attributes:
        others: components and faults that strike first, within `TOGETHER_SECONDS`.
        moment: of the fault, as a part of the time that a run takes.
        struck: whether the run still ran then.
        seconds_to_end: from an interrupt to the launcher's end.
        why: what tells of anything but a completed run.
    """

    seed: int
    component: str
    fault: str
    workers: int
    link: str
    moment: float
    others: list[tuple[str, str]] = field(default_factory=list)
    struck: bool = False
    seconds_to_end: float = 0.0
    outcomes: set[str] = field(default_factory=set)
    why: list[str] = field(default_factory=list)

    def fail(self, outcome: str, why: str) -> None:
        self.outcomes.add(outcome)
        self.why.append(why)

    def __str__(self) -> str:
        others = "".join(f"{fault} in {component}, " for component, fault in self.others)
        return (
            f"seed {self.seed}: {others}{self.fault} in {self.component} at {self.moment:.0%} of the run, "
            f"{self.workers} model processes on {self.link}: {'; '.join(self.why) or ', '.join(self.outcomes)}"
        )


def trials(number: int, seed: int, n_faults: int = 1, link: str = "queues") -> Iterator[Trial]:
    """Give as many trials, of `n_faults` each: every kind of the last one in turn, all else drawn."""
    for index in range(number):
        rng = random.Random(seed * 1_000_003 + index)
        component, fault = KINDS[index % len(KINDS)]
        others = [(rng.choice(list(COMPONENTS)), rng.choice(list(FAULTS))) for _ in range(n_faults - 1)]
        yield Trial(index, component, fault, rng.choice((1, 2, 3)), link, rng.random(), others)


@contextmanager
def _place(seed: int, workers: int, link: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        place = Path(folder)
        (place / "swarm.yaml").write_text(SETTINGS + f"workers: {workers}\nseed: {seed}\nlink: {link}\n")
        yield place


def seconds_of_a_run(seed: int, link: str) -> float:
    """Return how long a run takes to which nothing happens, from the moment in which its swarm stands."""
    with _place(seed, 2, link) as place:
        process = _start(place, "--out", "out")
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        process.communicate(timeout=HUNG_SECONDS)
        return time.monotonic() - began


def run(trial: Trial, seconds: float) -> Trial:
    """Carry a trial out, and return it with what came of it; such a run takes `seconds`."""
    with _place(trial.seed, trial.workers, trial.link) as place:
        _carry_out(trial, seconds, place)
    return trial


def _carry_out(trial: Trial, seconds: float, place: Path) -> None:
    process = _start(place, "--out", "out")
    assert process.stdout is not None
    process.stdout.readline()
    _await_moment(process.stdout, trial.moment, seconds / ROUNDS)
    for component, fault in trial.others:
        _strike(_process_of(component, trial.seed, place), FAULTS[fault])
        time.sleep(random.Random(trial.seed).uniform(0, TOGETHER_SECONDS / len(trial.others)))
    began = time.monotonic()
    if process.poll() is None:
        if trial.component == "launcher":
            trial.struck = _strike(process.pid, LAUNCHER_FAULTS[trial.fault])
        else:
            trial.struck = _strike(_process_of(trial.component, trial.seed, place), FAULTS[trial.fault])
    status, told = _end(trial, process, place)
    trial.seconds_to_end = time.monotonic() - began if status == INTERRUPTED else 0.0
    was_over = status == -signal.SIGTERM and len(_rounds(place)) == ROUNDS  # met an interpreter on its way out
    _look_for_lost_checkpoints(trial, place)
    if status == 0:
        trial.outcomes.add("completed")
    elif status == 1 and "swarmsim: " in told:
        trial.fail("ended cleanly", told.strip().rpartition("\n")[2])
    elif status not in (INTERRUPTED, -signal.SIGKILL) and not was_over:
        trial.fail("hung", f"status {status}: {told[-300:]}")
    if status != 0 and "hung" not in trial.outcomes:
        _resume(trial, place)


def _resume(trial: Trial, place: Path) -> None:
    """Whatever ended early can be gone on with, to its end."""
    status, told = _end(trial, _start(place, "--resume", "out"), place)
    done = _rounds(place)
    if status != 0 or [record["round"] for record in done] != list(range(1, ROUNDS + 1)):
        trial.fail("lost a checkpoint", f"resumed with status {status}, {len(done)} rounds: {told[-300:]}")
    elif trial.component == "launcher":
        trial.outcomes.add("completed")
    if any(len(record["train_returns"]) != EPISODES for record in done):
        trial.fail("lost a checkpoint", "a round lost episodes")


def _start(place: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", VICTIM, "--no-progress", *arguments],
        cwd=place,
        env={**os.environ, "TMPDIR": str(place), "CHAOS": str(place)},
        stdout=subprocess.PIPE,
        stderr=(place / "stderr").open("w"),
        text=True,
        start_new_session=True,
    )


def _end(trial: Trial, process: subprocess.Popen[str], place: Path) -> tuple[int, str]:
    """Wait for the run's end; return its status and what it said, and see that it left no process."""
    if not _ends(process, place):
        trial.fail("hung", f"no end, round or word in {HUNG_SECONDS:g} s")
        _strike(process.pid, signal.SIGKILL)
        process.communicate()
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (left := _processes_of(place)) and time.monotonic() < deadline:
        time.sleep(0.02)
    if left:
        trial.fail("left processes", f"left {left}")
        for pid in left:
            _strike(pid, signal.SIGKILL)
    return process.returncode, (place / "stderr").read_text()


def _ends(process: subprocess.Popen[str], place: Path) -> bool:
    """Wait for a run's end, for as long as it goes on; tell whether it came."""
    heard = None
    while (said := (len(_rounds(place)), (place / "stderr").stat().st_size)) != heard:
        heard = said
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=HUNG_SECONDS)
            return True
    return False


def _await_moment(printed: IO[str], moment: float, seconds_of_a_round: float) -> None:
    """Wait for a moment of a run, from 0 to 1: for the rounds before it to end, then at the pace of these rounds."""
    n_rounds = int(moment * ROUNDS)
    began = time.monotonic()
    for _ in range(n_rounds):
        printed.readline()
    pace = (time.monotonic() - began) / n_rounds if n_rounds else seconds_of_a_round
    time.sleep((moment * ROUNDS - n_rounds) * pace)


def _strike(pid: int | None, number: int) -> bool:
    """Send a signal to a process; tell whether it was there."""
    if pid is None:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _processes_of(place: Path) -> list[int]:
    marker, found = f"CHAOS={place}".encode(), []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
        except OSError:
            continue
    return found


def _process_of(component: str, seed: int, place: Path) -> int | None:
    """Return the process of a component, one of them where it has several; None where it has just gone."""
    found = [pid for name, pid in _members(place) if name.startswith(COMPONENTS[component])]
    return random.Random(seed).choice(found) if found else None


def _members(place: Path) -> list[tuple[str, int]]:
    """Return the name and the process of each component: the ids that the links give their clients hold it."""
    for rooms in place.glob("swarmsim-*/*/rooms.json"):
        members = json.loads(rooms.read_text())["members"]
        return [(name, int(member_id.partition("-")[0])) for member_id, name, *_ in members]
    for lock in place.glob("swarmsim-*/*.lock"):
        server, _, port = lock.stem.rpartition("-")
        with suppress(SwarmError), Client("chaos", server, int(port), announce={"COMPONENTS": []}) as client:
            members = client.rooms().members.values()
            return [(member.name, int(member.id.split("-")[-2])) for member in members]
    return []


def _rounds(place: Path) -> list[dict]:
    try:
        return [json.loads(line) for line in (place / "out" / METRICS).read_text().splitlines() if line.endswith("}")]
    except FileNotFoundError:
        return []


def _look_for_lost_checkpoints(trial: Trial, place: Path) -> None:
    """Every round that stands in the metrics is in a checkpoint, and no checkpoint is damaged."""
    kept = 0
    for path in sorted((place / "out" / CHECKPOINT).glob("*.npz")):
        try:
            kept = max(kept, len(read_checkpoint(path)["history"]["rounds"]))
        except CheckpointDamaged as damaged:
            trial.fail("lost a checkpoint", str(damaged))
    if kept < len(_rounds(place)):
        trial.fail("lost a checkpoint", f"{len(_rounds(place))} rounds done, {kept} kept")


def summary(done: Sequence[Trial]) -> str:
    """Return the table of outcomes by component and fault."""
    rows = []
    for component, fault in KINDS:
        group = [trial for trial in done if (trial.component, trial.fault) == (component, fault)]
        counts = Counter(outcome for trial in group for outcome in trial.outcomes)
        if group:
            struck = sum(trial.struck for trial in group)
            rows.append([component, fault, len(group), struck, *(counts[outcome] for outcome in OUTCOMES)])
    rows.append(["all", "", *(sum(int(str(cell)) for cell in column) for column in list(zip(*rows, strict=True))[2:])])
    return table(["component", "fault", "trials", "struck in time", *OUTCOMES], rows)


def main() -> int:
    """Run the trials, print the table, and fail where anything hung, was left behind or got lost."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0] if __doc__ else "",
        epilog="Example: python benchmarks/chaos.py --trials 200",
    )
    parser.add_argument("--trials", type=int, default=200, help="runs (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of moments and sizes (default: 0)")
    parser.add_argument("--faults", type=int, default=1, help="in each trial, almost at once (default: 1)")
    parser.add_argument("--link", default="queues", choices=("queues", "sockets"), help="(default: queues)")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (default: 2)")
    parser.add_argument("--only", type=int, help="this trial alone, by its number")
    given = parser.parse_args()
    every = trials(given.trials, given.seed, given.faults, given.link)
    chosen = [trial for trial in every if given.only in (None, trial.seed)]
    began, done = time.monotonic(), []
    with ThreadPoolExecutor(given.jobs) as pool:
        seconds = min(pool.map(partial(seconds_of_a_run, link=given.link), range(given.jobs)))
        for trial in pool.map(partial(run, seconds=seconds), chosen):
            done.append(trial)
            if trial.why:
                print(trial, file=sys.stderr, flush=True)
    print(f"{machine()}; {len(done)} trials in {time.monotonic() - began:.0f} s\n\n{summary(done)}")
    interrupts = [trial.seconds_to_end for trial in done if trial.seconds_to_end]
    if interrupts:
        told = f"{statistics.median(interrupts):.1f} s, the longest {max(interrupts):.1f} s"
        print(f"\nAn interrupt took {told}, {given.jobs} runs at a time.")
    return int(any(trial.outcomes & set(OUTCOMES[2:]) for trial in done))


if __name__ == "__main__":
    sys.exit(main())
