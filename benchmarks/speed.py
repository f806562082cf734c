"""Training steps per second over workers × environments × population, and the ratios that matter.

Raw stepping of one environment by one process, the same learning in one process without messages (see
serial.py), and the swarm are measured in turn, so that a noisy moment hits all alike.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from functools import partial

from measuring import (
    interleaved,
    machine,
    ratio,
    ratios,
    raw_steps_per_second,
    summary,
    swarm_steps_per_second,
    table,
    training_of,
)
from serial import serial_steps_per_second

from swarmsim.components.main_job import n_workers
from swarmsim.config import Config

RAW = "raw stepping of one environment"
WHOLE_RUN = "five rounds of 20 episodes, preset {}"
EPISODES = {  # of a measurement that takes a second or two
    (20, 1): 300,
    (100, 1): 150,
    (200, 1): 120,
    (500, 1): 60,
    (1000, 1): 50,
    (20, 20): 1000,
    (100, 20): 400,
    (200, 20): 200,
    (1000, 20): 60,
}


def config_of(population: int, envs: int, workers: int | str, share: float) -> Config:
    """Return a training round of the preset `reference`; `share` makes it shorter."""
    episodes = max(round(share * EPISODES[population, envs]), envs)
    return training_of(population=population, envs=envs, workers=workers, episodes=episodes)


def comparison(repeats: int, share: float) -> str:
    """Return the table of ratios."""
    swarm = {key: config_of(*key, "auto", share) for key in ((20, 1), (200, 1), (1000, 1), (20, 20))}
    measures: dict[str, Callable[[], float]] = {RAW: raw_steps_per_second}
    for (population, envs), of_a_round in swarm.items():
        measures[_name(population, envs)] = partial(swarm_steps_per_second, of_a_round)
    for population in (20, 200):
        measures[f"{population} models, serial"] = partial(serial_steps_per_second, swarm[population, 1])
    for preset in ("default", "reference"):
        config = training_of(preset=preset, rounds=5, episodes=max(round(share * 20), 1))
        measures[WHOLE_RUN.format(preset)] = partial(swarm_steps_per_second, config)
    taken = interleaved(repeats, measures)
    of = partial(_row, taken)
    rows = [
        of("default: 20 models, 1 environment, against raw stepping", _name(20), RAW, as_percent=True),
        of("… against the same learning, serial, without messages", _name(20), "20 models, serial"),
        of("200 models against the same learning, serial", _name(200), "200 models, serial"),
        of("20 environments side by side against raw stepping", _name(20, 20), RAW, as_percent=True),
        of("a run of preset default against one of reference", *map(WHOLE_RUN.format, ("default", "reference"))),
        of("1,000 models against 20 models", _name(1000), _name(20)),
    ]
    steps = [[name, *summary(figures, "{:,.0f}".format)] for name, figures in taken.items()]
    return f"{table(['measured', 'steps/s', 'range'], steps)}\n\n{table(['ratio', 'median', 'range'], rows)}"


def _name(population: int, envs: int = 1) -> str:
    return f"{population} models" + (f", {envs} environments" if envs > 1 else "")


def _row(taken: dict[str, list[float]], told: str, of: str, to: str, *, as_percent: bool = False) -> list[str]:
    return [told, *summary(ratios(taken[of], taken[to]), ("{:.1%}" if as_percent else "{:.2f} ×").format)]


def grid(repeats: int, share: float) -> str:
    """Return the table of workers × environments × population, what `auto` takes, and what that costs."""
    cores = len(os.sched_getaffinity(0))
    choices = sorted({1, cores, 2 * cores})
    rows = []
    for population, envs in EPISODES:
        auto = n_workers(config_of(population, envs, "auto", share))
        configs = {str(w): config_of(population, envs, w, share) for w in {*choices, auto}}
        taken = interleaved(repeats, {w: partial(swarm_steps_per_second, config) for w, config in configs.items()})
        best = max(taken, key=lambda workers: statistics.median(taken[workers]))
        speeds = [f"{statistics.median(taken[str(w)]):,.0f}" for w in choices]
        rows.append([f"{population:,}", envs, *speeds, auto, f"{ratio(taken[str(auto)], taken[best]):.2f}"])
    header = ["models", "environments", *(f"{w} worker{'s' * (w > 1)}" for w in choices), "auto", "auto against best"]
    return table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Training steps per second of the swarm, against raw stepping and serial learning.",
        epilog="Example, half a minute: python benchmarks/speed.py --repeats 1 --share 0.3",
    )
    parser.add_argument("--repeats", type=int, default=5, help="how often all is measured in turn (5)")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of episodes (1)")
    parser.add_argument("--only", choices=("ratios", "grid"), help="the one table, not the other")
    options = parser.parse_args()
    print(machine(), flush=True)
    print(f"preset reference where no other is named; medians of {options.repeats} runs in turn\n", flush=True)
    if options.only != "grid":
        print(comparison(options.repeats, options.share), end="\n\n", flush=True)
    if options.only != "ratios":
        print(grid(options.repeats, options.share))


if __name__ == "__main__":
    main()
