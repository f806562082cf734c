"""What the best member of a swarm gets when it acts alone, found by episodes that count."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from singles import evaluation_seed
from trials import EVAL_EPISODES, Outcome, Trial, play

from swarmsim import SwarmPolicy, load_policy

SELECTION_EPISODES = 5  # of each member, to find the best one


def play_member(trial: Trial) -> Outcome:
    """Return what the best member gets alone at each look, after the steps that it takes to find it.

    Every member of the swarm at the end of a round plays 5 episodes, whose steps are added to those of the training;
    who does best in them is evaluated in 20 others.
    """
    steps, scores = [], []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        swarm = play(replace(trial, settings={**trial.settings, "checkpoints": trial.steps}), out)
        ends = [json.loads(line)["env_steps"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        if not ends:
            raise SystemExit(f"best member alone: no round has ended after {trial.steps} steps; give more --steps")
        rounds = dict(zip(ends, sorted((out / "checkpoint").glob("round-????.npz")), strict=True))
        looks = dict.fromkeys(min((end for end in ends if end >= look), default=ends[-1]) for look in trial.looks)
        for number, end in enumerate(looks):
            policy = load_policy(rounds[end])
            chosen_by, evaluated_by = (evaluation_seed(trial.seed, 2 * number + i) for i in (0, 1))
            members = [policy.member(name) for name in policy.names]
            tried = [_play(trial.env, member, chosen_by, SELECTION_EPISODES) for member in members]
            best = int(np.argmax([score for score, _ in tried]))
            steps.append(end + sum(n_steps for _, n_steps in tried))
            scores.append(_play(trial.env, members[best], evaluated_by, EVAL_EPISODES)[0])
    return replace(swarm, steps=tuple(steps), scores=tuple(scores))


def _play(env_id: str, policy: SwarmPolicy, seed: int, n_episodes: int) -> tuple[float, int]:
    """Return the mean return and the steps of episodes in which a policy takes its best actions."""
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    env = make_vec_env(env_id, n_envs=n_episodes, seed=seed)
    returns, lengths = evaluate_policy(policy, env, n_episodes, return_episode_rewards=True)
    env.close()
    return float(np.mean(returns)), int(np.sum(lengths))
