"""What each idea of the swarm is worth: the default, with one thing changed at a time, and single learners beside it.

Trials run in parallel processes, and each is kept as it ends, in OUT/ablation.jsonl: the same command goes on where it
was left. Single learners of Stable-Baselines3 get as many training steps as the swarm of the same seed had, and are
evaluated after as many as it was.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import SyncVectorEnv
from measuring import machine, table
from trials import EVAL_EPISODES, TASKS, Outcome, Trial, by_variant, outcomes, play, printed, seeds

from swarmsim.components.main_job import architecture_of
from swarmsim.config import make_config, merged
from swarmsim.envs.make import make_env, shape_of
from swarmsim.learning.decision import decide
from swarmsim.learning.networks import ACTORS, Activations, Architecture, Floats, Networks, forward
from swarmsim.learning.rules import RULES
from swarmsim.results.checkpoint import read_weights

SWARM = "swarm"

# Over the default settings.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    SWARM: {},
    "credit: own": {"ppo": {"credit": "own"}},
    "without evolution": {"evolution": {"kind": "none"}},
    "without evolution, and nobody leads": {"evolution": {"kind": "none", "spread": 0.0, "led_fraction": 0.0}},
    "genetic evolution": {"evolution": {"kind": "genetic"}},
    "evolution without gradients": {
        "ppo": {"learning_rate": 0},
        "evolution": {
            "kind": "genetic",
            "fitness": "return",
            "led_fraction": 0.5,
            "elite_fraction": 0.5,
            "crossover_probability": 0.5,
        },
    },
    "one model": {"population": 1, "evolution": {"kind": "none", "spread": 0.0}},
    "leaders by Thompson sampling": {"evolution": {"leader": "thompson"}},
    "aggregation: product": {"aggregation": "product"},
    "aggregation: majority": {"aggregation": "majority"},
    "aggregation: rank": {"aggregation": "rank"},
    "aggregation: weighted": {"aggregation": "weighted"},
}

# As tuned by the authors of RL Baselines3 Zoo 2.9.2; what is missing is Stable-Baselines3's default.
SINGLE: Mapping[str, Mapping[str, Any]] = {
    "single A2C": {"n_envs": 8, "ent_coef": 0.0},
    "single PPO": {
        "n_envs": 8,
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "ent_coef": 0.0,
        "learning_rate": 0.001,
        "clip_range": 0.2,
    },
}
FALLING = "learning_rate", "clip_range"  # to 0 at the last step, where the settings name them
MEMBER = "best member alone"


def player(trial: Trial) -> Outcome:
    """Return the outcome of a trial, whoever learns in it."""
    if trial.variant in SINGLE:
        return play_single(trial)
    return play_member(trial) if trial.variant == MEMBER else play(trial)


def play_single(trial: Trial) -> Outcome:
    """Return the outcome of one learner of Stable-Baselines3, evaluated after each of the trial's `steps`."""
    import torch
    from stable_baselines3 import A2C, PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    torch.set_num_threads(1)
    scores: list[float] = []
    seconds_of_evaluation = 0.0

    class Evaluation(BaseCallback):
        def _on_step(self) -> bool:
            nonlocal seconds_of_evaluation
            began = time.perf_counter()
            while len(scores) < len(trial.steps) and self.num_timesteps >= trial.steps[len(scores)]:
                env = make_vec_env(trial.env, seed=_evaluation_seed(trial.seed, len(scores)))
                mean, _ = evaluate_policy(self.model, env, EVAL_EPISODES)
                scores.append(float(np.mean(mean)))
            seconds_of_evaluation += time.perf_counter() - began
            return True

    settings = dict(trial.settings)
    env = make_vec_env(trial.env, n_envs=settings.pop("n_envs"), seed=trial.seed)
    settings |= {key: _falling(settings[key]) for key in FALLING if key in settings}
    learner = {"single A2C": A2C, "single PPO": PPO}[trial.variant]("MlpPolicy", env, seed=trial.seed, **settings)
    began = time.perf_counter()
    learner.learn(trial.steps[-1], Evaluation())
    seconds = time.perf_counter() - began - seconds_of_evaluation
    told = tuple(scores)
    return Outcome(trial.env, trial.variant, trial.seed, trial.steps, told, told, told, trial.steps[-1] / seconds)


def _falling(start: float) -> Callable[[float], float]:
    return lambda progress_remaining: progress_remaining * start


def _evaluation_seed(seed: int, number: int) -> int:
    return 1_000_000 + 1000 * seed + number


def play_member(trial: Trial) -> Outcome:
    """Return what the best member of each round's swarm gets, when it acts alone.

    Every member plays 20 episodes; who does best in them is evaluated in 20 others.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        swarm = play(replace(trial, settings={**trial.settings, "checkpoints": trial.rounds}), out)
        genomes = [list(read_weights(path).values()) for path in sorted((out / "checkpoint").glob("round-????.npz"))]
    architecture = architecture_of(
        make_config({"env": trial.env, **trial.settings}, trial.variant), shape_of(trial.env)
    )
    scores = []
    for number, weights in enumerate(genomes):
        chosen_by, evaluated_by = (_evaluation_seed(trial.seed, 2 * number + i) for i in (0, 1))
        best = int(np.argmax([_score(trial.env, architecture, genome, chosen_by) for genome in weights]))
        scores.append(_score(trial.env, architecture, weights[best], evaluated_by))
    return replace(swarm, before=tuple(scores), after=tuple(scores))


def _score(env_id: str, architecture: Architecture, genome: Floats, seed: int) -> float:
    """Return the mean return of one model that always takes the action it likes best."""
    networks = Networks(architecture, genome[None].copy())
    activations = Activations.empty(architecture, 1, EVAL_EPISODES)
    envs = SyncVectorEnv([partial(make_env, env_id)] * EVAL_EPISODES)
    observations, _ = envs.reset(seed=seed)
    returns, playing = np.zeros(EVAL_EPISODES), np.ones(EVAL_EPISODES, np.bool_)
    while playing.any():
        activations.outputs[0][:] = observations
        forward(ACTORS, networks, activations)
        actions = decide(activations.logits.astype(np.float64), architecture.distribution, RULES["sum"], None).actions
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        returns += rewards * playing
        playing &= ~(terminated | truncated)
    envs.close()
    return float(returns.mean())


def ratios(found: Sequence[Outcome]) -> str:
    """Return the table of areas under the curve against the swarm's, seed by seed, over equally many steps."""
    swarm = {(outcome.env, outcome.seed): outcome for outcome in found if outcome.variant == SWARM}
    rows = []
    for (env, variant), members in by_variant(found).items():
        pairs = [(swarm[env, outcome.seed], outcome) for outcome in members if variant != SWARM]
        if pairs:
            until = [min(ours.steps[-1], other.steps[-1]) for ours, other in pairs]
            ours, others = (
                statistics.median(pair[i].area(end) for pair, end in zip(pairs, until, strict=True)) for i in (0, 1)
            )
            rows.append([env, variant, f"{ours:.3f}", f"{others:.3f}", f"{ours / max(others, 1e-9):.2f} x"])
    return table(["environment", "variant", "area of the swarm", "its area", "swarm / variant"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measure what each idea of the swarm is worth, and single learners beside it.",
        epilog="Example, an hour: python benchmarks/ablation.py --envs CartPole-v1 Acrobot-v1 --seeds 0-9",
    )
    names = [*VARIANTS, MEMBER, *SINGLE]
    parser.add_argument("--envs", nargs="+", choices=list(TASKS), default=["CartPole-v1"], help="(CartPole-v1)")
    parser.add_argument("--variants", nargs="+", choices=names, default=names, metavar="NAME", help="beside the swarm")
    parser.add_argument("--seeds", default="0-9", help="FIRST-LAST (0-9)")
    parser.add_argument("--rounds", type=int, help="of each trial (5 to 50, by environment)")
    parser.add_argument("--episodes", type=int, default=20, help="of a round (20)")
    parser.add_argument("--population", type=int, default=20, help="models (20)")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (2)")
    parser.add_argument("--out", type=Path, default=Path("ablation"), help="folder of the results (ablation)")
    options = parser.parse_args()

    def trial(env: str, variant: str, seed: int) -> Trial:
        rounds = TASKS[env].rounds if options.rounds is None else options.rounds
        changed = {"population": options.population, **VARIANTS.get(variant, {})}
        settings = merged(TASKS[env].settings, changed)
        return Trial(env, variant, seed, rounds, options.episodes, settings)

    grid = [(env, seed) for env in options.envs for seed in seeds(options.seeds)]
    swarms = [trial(env, SWARM, seed) for env, seed in grid]
    print(machine(), flush=True)
    path = options.out / "ablation.jsonl"
    found = outcomes(swarms, path, options.jobs, player)
    others: list[Trial] = []
    for name in dict.fromkeys(options.variants):
        for swarm, outcome in zip(swarms, found[: len(swarms)], strict=True):
            if name in SINGLE:
                others.append(replace(swarm, variant=name, settings=SINGLE[name], steps=outcome.steps))
            elif name != SWARM:
                others.append(trial(swarm.env, name, swarm.seed))
    found += outcomes(others, path, options.jobs, player)
    print(printed(found, options.out / "ablation.png"))
    print()
    print(ratios(found))
    print(options.out / "ablation.png")


if __name__ == "__main__":
    main()
