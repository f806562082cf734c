"""Start and stop a small swarm again and again in one process, and look at what is left behind.

A cycle is the whole main job: four processes are started, play an episode and are stopped.
"""

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from measuring import machine, table

from swarmsim.components.main_job import main_job
from swarmsim.config import Config, make_config
from swarmsim.envs.make import shape_of
from swarmsim.experiment.start import start_main_job

KINDS = "child processes", "file descriptors", "threads", "files", "shared memory", "memory (MiB)"
WARM_UP = 0.1  # of the cycles: until then, what is imported and cached for good may grow
GROWN_MIB = 8.0


def cycle(config: Config) -> None:
    """Have a swarm live once."""
    with ExitStack() as stack:
        _, control = start_main_job(stack, config, main_job(config, shape_of(config.env)))
        control.play(1, deterministic=True)
    gc.collect()  # lest what is no longer used, but not yet given back, count as grown


def left(folder: Path) -> list[float]:
    """Return how much of each kind this process holds now."""
    with Path("/proc/self/statm").open() as statm:
        pages = int(statm.read().split()[1])
    return [
        len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
        len(list(Path("/proc/self/fd").iterdir())),
        threading.active_count(),
        sum(1 for _ in folder.rglob("*")),
        len(list(Path("/dev/shm").iterdir())),
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    ]


def main() -> int:
    """Cycle, print what is held after how many cycles, and fail where anything has grown since the warm-up."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="Example: python benchmarks/cycles.py --cycles 1000 --link queues",
    )
    parser.add_argument("--cycles", type=int, default=1000, help="starts and stops (default: 1000)")
    parser.add_argument(
        "--link", default="queues", choices=("queues", "inprocess", "sockets"), help="(default: queues)"
    )
    given = parser.parse_args()
    config = make_config({"population": 2, "workers": 1, "link": given.link}, "benchmark")
    looks = sorted({0, 1, max(1, int(given.cycles * WARM_UP)), given.cycles // 2, given.cycles})
    rows: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        began = time.monotonic()
        for number in range(given.cycles + 1):
            if number in looks:
                rows[number] = left(Path(folder))
            if number < given.cycles:
                cycle(config)
        seconds = time.monotonic() - began
    print(f"{machine()}; {given.cycles} cycles, link {given.link}, {seconds:.0f} s\n")
    print(table(["after", *KINDS], [[number, *(f"{value:.4g}" for value in row)] for number, row in rows.items()]))
    warm, end = rows[looks[2] if len(looks) > 4 else looks[-2]], rows[looks[-1]]
    grown = [kind for kind, before, after in zip(KINDS[:-1], warm, end, strict=False) if after > before]
    if end[-1] > warm[-1] + GROWN_MIB:
        grown.append(KINDS[-1])
    if grown:
        print(f"\ngrown: {', '.join(grown)}", file=sys.stderr)
    return int(bool(grown))


if __name__ == "__main__":
    sys.exit(main())
