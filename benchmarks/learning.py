"""How well and how fast swarms learn: environments × presets × seeds.

Trials run in parallel processes, and each is kept as it ends, in OUT/learning.jsonl: the same command goes on where it
was left. It prints a table of all seeds, and draws the learning curves, OUT/learning.png.
"""

import argparse
from pathlib import Path

from measuring import machine
from trials import TASKS, Trial, outcomes, printed, seeds

from swarmsim.config import merged


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure how well and how fast swarms learn, over environments, presets and seeds.",
        epilog="Example, some minutes: python benchmarks/learning.py --envs CartPole-v1 --seeds 0-9",
    )
    parser.add_argument("--envs", nargs="+", choices=list(TASKS), default=list(TASKS), help="environments (all)")
    parser.add_argument("--presets", nargs="+", default=["default"], help="presets (default)")
    parser.add_argument("--seeds", default="0-9", help="FIRST-LAST (0-9)")
    parser.add_argument("--rounds", type=int, help="of each trial (5 to 50, by environment)")
    parser.add_argument("--episodes", type=int, default=20, help="of a round (20)")
    parser.add_argument("--population", type=int, default=20, help="models (20)")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (2)")
    parser.add_argument("--out", type=Path, default=Path("learning"), help="folder of the results (learning)")
    options = parser.parse_args()
    trials = [
        Trial(
            env,
            preset,
            seed,
            TASKS[env].rounds if options.rounds is None else options.rounds,
            options.episodes,
            merged(TASKS[env].settings, {"preset": preset, "population": options.population}),
        )
        for env in options.envs
        for preset in options.presets
        for seed in seeds(options.seeds)
    ]
    print(machine(), flush=True)
    found = outcomes(trials, options.out / "learning.jsonl", options.jobs)
    print(printed(found, options.out / "learning.png"))
    print(options.out / "learning.png")


if __name__ == "__main__":
    main()
