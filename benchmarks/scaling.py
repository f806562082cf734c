"""How the cost of a training step grows with the population: 5 to 2,000 models, a table, an exponent, a picture."""

import argparse
import statistics
from pathlib import Path

import numpy as np
from measuring import interleaved, machine, swarm_steps_per_second, table, training_of
from serial import serial_steps_per_second

from swarmsim.config import Config

POPULATIONS = 5, 10, 20, 50, 100, 200, 500, 1000, 2000
EPISODES = 150
LARGE = 200  # from here on learning, not messages, is most of a step


def config_of(population: int, share: float) -> Config:
    """Return a training round of the preset `reference`, shorter for large populations."""
    episodes = max(4, round(share * EPISODES * min(1.0, (LARGE / population) ** 0.5)))
    return training_of(population=population, episodes=episodes)


def costs(population: int, repeats: int, share: float) -> dict[str, float]:
    """Return the µs of a step in the swarm and serially, medians of `repeats` in turn."""
    config = config_of(population, share)
    taken = interleaved(
        repeats,
        {
            "swarm": lambda: 1e6 / swarm_steps_per_second(config),
            "serial": lambda: 1e6 / serial_steps_per_second(config),
        },
    )
    return {name: statistics.median(figures) for name, figures in taken.items()}


def exponent(populations: np.ndarray, microseconds: np.ndarray) -> float:
    """Return b of the fit cost = a · population^b, by least squares of the logarithms."""
    return float(np.polyfit(np.log(populations), np.log(microseconds), 1)[0])


def growth(populations: np.ndarray, microseconds: np.ndarray) -> str:
    """Return the exponents over all populations and, where there are several, over the large ones."""
    told = f"cost grows with population^{exponent(populations, microseconds):.2f}"
    large = populations >= LARGE
    if large.sum() > 1:
        told += f", {exponent(populations[large], microseconds[large]):.2f} from {LARGE} on"
    return told


def draw(path: Path, populations: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    """Write the picture: both costs by population, on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for (name, microseconds), marker in zip(columns.items(), "os", strict=True):
        axes.loglog(populations, microseconds, marker=marker, label=f"{name}: {growth(populations, microseconds)}")
    axes.set_title("Cost of a training step, CartPole-v1, preset reference")
    axes.set_xlabel("population (models)")
    axes.set_ylabel("µs a step")
    axes.set_xticks(populations, [f"{p:,}" for p in populations])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure and plot what a training step costs, by population.",
        epilog="Example, some seconds: python benchmarks/scaling.py --repeats 1 --share 0.2 --largest 200",
    )
    parser.add_argument("--repeats", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of episodes (1)")
    parser.add_argument("--largest", type=int, default=max(POPULATIONS), help="population to end with (2000)")
    parser.add_argument("--out", type=Path, default=Path("scaling.png"), help="the picture (scaling.png)")
    options = parser.parse_args()
    populations = np.array([p for p in POPULATIONS if p <= options.largest])
    print(machine(), flush=True)
    measured = [costs(int(p), options.repeats, options.share) for p in populations]
    rows = [
        [f"{p:,}", f"{cost['swarm']:,.0f}", f"{cost['serial']:,.0f}", f"{1e6 / cost['swarm']:,.0f}"]
        for p, cost in zip(populations, measured, strict=True)
    ]
    print(table(["models", "µs a step", "serial, without messages", "steps/s"], rows))
    columns = {name: np.array([cost[name] for cost in measured]) for name in ("swarm", "serial")}
    for name, microseconds in columns.items():
        print(f"{name}: {growth(populations, microseconds)}")
    draw(options.out, populations, columns)
    print(options.out)


if __name__ == "__main__":
    main()
