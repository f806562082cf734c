"""How well and how fast swarms learn, and what twenty are worth over one: environments × variants × seeds.

Trials run in parallel processes, and each is kept as it ends, in OUT/learning.jsonl: the same command goes on where it
was left. It prints a table of all seeds, and what the swarm is worth over each variant, and draws the learning curves,
OUT/learning.png.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, table
from members import play_member
from numpy.typing import NDArray
from singles import SINGLES, ZOO, play_single
from trials import TASKS, Outcome, Trial, outcomes, play, printed, seeds, trial_of

from swarmsim.config import make_config, merged
from swarmsim.envs.make import shape_of

SWARM, MEMBER = "swarm", "best member alone"
NO_EVOLUTION: Mapping[str, Any] = {"kind": "none"}
NOBODY_LEADS: Mapping[str, Any] = {"kind": "none", "spread": 0.0, "led_fraction": 0.0}

# Over the settings of the swarm.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    SWARM: {},
    "one model": {"population": 1, "evolution": NOBODY_LEADS},
    "credit: own": {"ppo": {"credit": "own"}},
    "without evolution": {"evolution": NO_EVOLUTION},
    "without evolution, and nobody leads": {"evolution": NOBODY_LEADS},
    "genetic evolution": {"evolution": {"kind": "genetic"}},
    "unknown rate": {"evolution": {"spread": 2.0}},
    "unknown rate, without evolution": {"evolution": {**NO_EVOLUTION, "spread": 2.0}},
    "drawn evaluations": {"eval_deterministic": False},
    "leaders by Thompson sampling": {"evolution": {"leader": "thompson"}},
    "aggregation: product": {"aggregation": "product"},
    "aggregation: majority": {"aggregation": "majority"},
    "aggregation: rank": {"aggregation": "rank"},
    "aggregation: weighted": {"aggregation": "weighted"},
    "preset: reference": {"preset": "reference"},
}
ONE_MODEL: Mapping[str, float] = {"one model, rate / 3": 1 / 3, "one model, rate x 3": 3.0}
N_RESAMPLES = 10_000


def player(trial: Trial) -> Outcome:
    """Return the outcome of a trial, whoever learns in it."""
    if trial.variant in SINGLES:
        return play_single(trial)
    return play_member(trial) if trial.variant == MEMBER else play(trial)


def trials_of(env: str, variant: str, seed: int, options: argparse.Namespace) -> list[Trial]:
    """Return the trial of a variant in an environment; none where the zoo has no such learner for it."""
    is_one = variant in ONE_MODEL
    changed = {"population": options.population, **VARIANTS.get("one model" if is_one else variant, {})}
    trial = replace(trial_of(env, variant, seed, changed, options.steps), episodes=options.episodes)
    if variant in SINGLES:
        return [replace(trial, settings=ZOO[variant][env])] if env in ZOO[variant] else []
    if is_one:
        config = make_config({"env": env, **trial.settings}, variant)
        config = config.with_learner(continuous=shape_of(env).continuous)
        rate: dict[str, Any] = {config.learner: {"learning_rate": config.learning.learning_rate * ONE_MODEL[variant]}}
        trial = replace(trial, settings=merged(trial.settings, rate))
    return [trial]


# --- what the swarm is worth over others


def iqm(areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the interquartile mean along the last axis (Agarwal et al. 2021, arXiv 2108.13264, section 4.3)."""
    quarter = areas.shape[-1] // 4
    ordered = np.sort(areas, axis=-1)
    return ordered[..., quarter : areas.shape[-1] - quarter].mean(axis=-1)


def interval(ours: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the ratio of two IQMs over environments and seeds, and its 95 % interval.

    Seeds are drawn anew in each environment (a stratified bootstrap; Agarwal et al. 2021, section 4.1).

    Args:
        ours, others: areas, (environments, seeds).
    """
    n_envs, n_seeds = ours.shape
    drawn = np.random.default_rng(0).integers(n_seeds, size=(N_RESAMPLES, n_envs, n_seeds))
    rows = np.arange(n_envs)[:, None]
    resampled = [iqm(areas[rows, drawn].reshape(N_RESAMPLES, -1)) for areas in (ours, others)]
    low, high = np.percentile(resampled[0] / resampled[1], (2.5, 97.5))
    return float(iqm(ours.reshape(-1)) / iqm(others.reshape(-1))), float(low), float(high)


def worth(found: Sequence[Outcome], variants: Sequence[str]) -> str:
    """Return the table of the swarm's areas against those of the variants, by environment and over all of them."""
    by_name: dict[str, dict[str, dict[int, Outcome]]] = {}
    for outcome in found:
        by_name.setdefault(outcome.variant, {}).setdefault(outcome.env, {})[outcome.seed] = outcome
    swarms, rows = by_name[SWARM], []
    for variant in variants:
        others = by_name.get(variant, {})
        groups = [[env] for env in others] + ([list(others)] if len(others) > 1 else [])
        for envs in groups if variant != SWARM else []:
            pairs = [[(swarms[env][seed], other) for seed, other in others[env].items()] for env in envs]
            until = [[min(a.steps[-1], b.steps[-1]) for a, b in each] for each in pairs]
            ours, theirs = (
                np.array(
                    [
                        [pair[i].area(end) for pair, end in zip(each, ends, strict=True)]
                        for each, ends in zip(pairs, until, strict=True)
                    ]
                )
                for i in (0, 1)
            )
            ratio, low, high = interval(ours, theirs)
            name = envs[0] if len(envs) == 1 else f"all {len(envs)}"
            rows.append([name, variant, f"{iqm(ours.reshape(-1)):.3f}", f"{iqm(theirs.reshape(-1)):.3f}"])
            rows[-1] += [f"{ratio:.2f} x", f"{low:.2f} to {high:.2f}"]
    return table(["environment", "variant", "IQM of the swarm's area", "its own", "ratio", "95 % interval"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure how well and how fast swarms learn, and what they are worth over other learners.",
        epilog='Example: python benchmarks/learning.py --envs CartPole-v1 --variants "one model" --seeds 0-9',
    )
    names = [*VARIANTS, *ONE_MODEL, MEMBER, *SINGLES]
    parser.add_argument("--envs", nargs="+", choices=list(TASKS), default=list(TASKS), help="environments (all)")
    parser.add_argument("--variants", nargs="*", choices=names, default=[], metavar="NAME", help="beside the swarm")
    parser.add_argument("--list", action="store_true", help="print the names of all variants")
    parser.add_argument("--seeds", default="0-9", help="FIRST-LAST (0-9)")
    parser.add_argument("--steps", type=int, help="of training in each trial (10,000 to 300,000, by environment)")
    parser.add_argument("--episodes", type=int, default=20, help="of a round (20)")
    parser.add_argument("--population", type=int, default=20, help="models (20)")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (2)")
    parser.add_argument("--out", type=Path, default=Path("learning"), help="folder of the results (learning)")
    options = parser.parse_args()
    if options.list:
        print("\n".join(names))
        return
    variants = list(dict.fromkeys([SWARM, *options.variants]))
    trials = [
        trial
        for env in options.envs
        for variant in variants
        for seed in seeds(options.seeds)
        for trial in trials_of(env, variant, seed, options)
    ]
    print(machine(), flush=True)
    found = outcomes(trials, options.out / "learning.jsonl", options.jobs, player)
    print(printed(found, options.out / "learning.png"))
    if len(variants) > 1:
        print()
        print(worth(found, variants))
    print(options.out / "learning.png")


if __name__ == "__main__":
    main()
