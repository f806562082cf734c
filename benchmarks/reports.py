"""How long `swarmsim report` takes for one run, and for very many."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import machine, table

import swarmsim

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 900.0
SETTINGS: dict[str, Any] = {"rounds": 2, "episodes": 3, "population": 3, "link": "inprocess", "progress": False}


def report(directories: list[Path], page: Path) -> float:
    """Return the seconds that the command takes for the runs in `directories`."""
    command = [sys.executable, str(ROOT / "run.py"), "report", *map(str, directories), "--out", str(page)]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=SECONDS)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="example, about 5 s: python benchmarks/reports.py --runs 1 3"
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 30, 1000], help="numbers of runs (1 30 1000)")
    numbers = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        first, page = Path(folder) / "run0", Path(folder) / "report.html"
        swarmsim.run(**SETTINGS, out=str(first))
        directories = [first, *(first.with_name(f"run{number}") for number in range(1, max(numbers)))]
        for directory in directories[1:]:
            shutil.copytree(first, directory)
        rows = []
        for number in numbers:
            seconds = report(directories[:number], page)
            rows.append((f"{number:,}", f"{seconds:.1f}", f"{page.stat().st_size / 2**20:.1f}"))
    print(machine(), table(("runs", "seconds", "MiB"), rows), sep="\n\n")


if __name__ == "__main__":
    main()
