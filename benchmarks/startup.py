"""From typing the command to the first step of the environment, and the memory of the whole swarm at its peak.

The first is measured against `python -c "import torch, gymnasium"`, which any program of the field pays before it
begins. Memory is the sum over all processes of their proportional set size, in which a page that several
share is counted once; the sum of resident sizes, which counts it in each, stands beside it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from first_step import NOTE
from measuring import interleaved, machine, ratio, summary, table

ROOT = Path(__file__).resolve().parent.parent
IMPORTS, FIRST_STEP = 'python -c "import torch, gymnasium"', "launcher's start to first step"
SECONDS, GLANCE_SECONDS = 300.0, 0.02
SETTINGS = ("--preset", "reference", "--no-progress")


def command(population: int, *more: str) -> list[str]:
    """Return the command line of a swarm of this project, whose files are kept away from the user's."""
    return [sys.executable, str(ROOT / "run.py"), "--population", str(population), *SETTINGS, *more]


def imports() -> float:
    """Return the seconds that Python takes to import torch and gymnasium."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch, gymnasium"], check=True, timeout=SECONDS)
    return time.monotonic() - began


def first_step(population: int) -> float:
    """Return the seconds from the launcher's start to the first step of the environment."""
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "first_step"
        began = time.monotonic()
        subprocess.run(
            command(population, "--env", "first_step:FirstStep-v0", "--rounds", "1", "--episodes", "1"),
            cwd=folder,
            env={**os.environ, NOTE: str(note), "PYTHONPATH": str(Path(__file__).parent)},
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=SECONDS,
        )
        return float(note.read_text(encoding="utf-8")) - began


def peak_memory(population: int) -> tuple[float, float]:
    """Return the largest sums of proportional and of resident set sizes, GiB, of a default run."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.Popen(command(population), cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + SECONDS
        proportional = resident = 0
        while run.poll() is None:
            if time.monotonic() > deadline:
                os.killpg(run.pid, 9)
                raise TimeoutError(f"a run of {population} models took longer than {SECONDS:g} s")
            sizes = [_sizes(process) for process in Path("/proc").glob("[0-9]*") if _session(process) == run.pid]
            proportional = max(proportional, sum(pss for pss, _ in sizes))
            resident = max(resident, sum(rss for _, rss in sizes))
            time.sleep(GLANCE_SECONDS)
        if run.returncode:
            raise subprocess.CalledProcessError(run.returncode, run.args)
    return proportional / 2**20, resident / 2**20


def _session(process: Path) -> int:
    try:
        return int((process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[3])
    except OSError:  # it has just ended
        return -1


def _sizes(process: Path) -> tuple[int, int]:
    """Return the proportional and the resident set size, KiB, of a process; nothing where it has just ended."""
    try:
        lines = (process / "smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0, 0
    sizes = {line.partition(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return sizes["Pss"], sizes["Rss"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure the time to the first step, and the memory of the whole swarm.",
        epilog="Example, some seconds: python benchmarks/startup.py --repeats 1",
    )
    parser.add_argument("--repeats", type=int, default=7, help="how often starts are measured, in turn (7)")
    parser.add_argument("--population", type=int, default=20, help="models (20)")
    options = parser.parse_args()
    print(machine(), flush=True)
    taken = interleaved(options.repeats, {IMPORTS: imports, FIRST_STEP: lambda: first_step(options.population)})
    rows = [[name, *summary(seconds, "{:.2f} s".format)] for name, seconds in taken.items()]
    print(table(["measured", "median", "range"], rows))
    print(f"first step against the imports: {ratio(taken[FIRST_STEP], taken[IMPORTS]):.2f} ×\n")
    proportional, resident = peak_memory(options.population)
    print(
        f"peak memory of {options.population} models: {proportional:.2f} GiB (resident sizes add up to {resident:.2f})"
    )


if __name__ == "__main__":
    main()
