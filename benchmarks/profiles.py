"""Where each process of the swarm spends its time while training: a profile of environment, aggregation and models.

    python benchmarks/profiles.py --population 200 --workers 2

The profiler slows small functions down more than large ones: read it for what matters, not for speed.
"""

import argparse
import cProfile
import pstats
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from measuring import machine, table

from swarmsim.components.main_job import main_job
from swarmsim.components.role import Role
from swarmsim.config import Config, make_config
from swarmsim.envs.make import shape_of
from swarmsim.experiment.start import start_main_job
from swarmsim.messaging.endpoint import Address

WAITING = "_ready"


@dataclass(frozen=True)
class Profiled(Role):
    """A role that leaves a profile of its process in a folder."""

    folder: Path = Path()

    def run(self, address: Address, secret: str | None = None) -> None:
        profiler = cProfile.Profile()
        try:
            profiler.runcall(super().run, address, secret)
        finally:
            profiler.dump_stats(self.folder / self.name)


def profiled_steps(config: Config, folder: Path) -> int:
    """Train for one round, have every process leave its profile in `folder`, and return the number of steps."""
    with ExitStack() as stack:
        roles = [Profiled(**vars(role), folder=folder) for role in main_job(config, shape_of(config.env))]
        _, control = start_main_job(stack, config, roles)
        return control.play(config.episodes, deterministic=False).n_steps


def rows_of(profile: Path, n_steps: int, n_rows: int) -> list[list[str]]:
    """Return a process's functions by the time spent in themselves, waiting told apart."""
    stats = pstats.Stats(str(profile)).stats  # type: ignore[attr-defined]
    own = sorted(((row[2], row[0], key) for key, row in stats.items()), reverse=True)
    return [
        [f"{1e6 * seconds / n_steps:.1f}", f"{calls / n_steps:.2f}", _told(*key)]
        for seconds, calls, key in own[:n_rows]
    ]


def _told(path: str, line: int, function: str) -> str:
    where = "" if path == "~" else f"  {Path(path).name}:{line}"
    return f"{function}{where}" + ("  (looking for a message)" if function == WAITING else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--population", type=int, default=20)
    parser.add_argument("--workers", default="auto")
    parser.add_argument("--envs", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--rows", type=int, default=12, help="functions shown of each process")
    args = vars(parser.parse_args())
    n_rows = args.pop("rows")
    config = make_config({"preset": "reference", **args}, "profiles.py")
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        n_steps = profiled_steps(config, Path(folder))
        for profile in sorted(Path(folder).iterdir()):
            print(f"\n{profile.name}, {n_steps} steps")
            print(table(["µs a step", "calls a step", "function"], rows_of(profile, n_steps, n_rows)))


if __name__ == "__main__":
    main()
