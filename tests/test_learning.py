"""Swarms learn what has a known answer: every seed of ten, on the queues' own code in one process."""

import numpy as np
import pytest

import swarmsim
from tests.conftest import long_after
from tests.environments import Corridor

SEEDS = range(10)
LITTLE = {"n_batches": 8, "batch_size": 64}  # learning at a time, which does for tasks as small as these


def last_round(env: str, seed: int, **settings):
    history = swarmsim.run(
        env=f"tests.environments:{env}-v0", seed=seed, population=5, link="inprocess", out=None, **settings
    )
    return history[-1]


@pytest.mark.parametrize("seeds", long_after(1, [SEEDS[:2], SEEDS[2:]]), ids=str)
def test_on_a_bandit_every_seed_finds_the_better_arm(seeds):
    """Arm 1 pays in 9 of 10 pulls, arm 0 in 1 of 10; a deterministic swarm always pulls the same one."""
    settings = {"rounds": 2, "episodes": 500, "eval_episodes": 100, "ppo": LITTLE}
    scores = [last_round("Bandit", seed, **settings).eval_score_evolved for seed in seeds]
    assert min(scores) > 0.75, scores


@pytest.mark.long
def test_without_learning_the_better_arm_is_found_by_luck_alone():
    settings = {"rounds": 1, "episodes": 50, "eval_episodes": 50, "ppo": {"learning_rate": 0}}
    scores = [last_round("Bandit", seed, **settings).eval_score for seed in SEEDS]
    assert min(scores) < 0.25, scores


@pytest.mark.long
@pytest.mark.parametrize("envs", [1, 4])
def test_in_a_corridor_every_seed_walks_straight_to_the_end(envs):
    settings = {"rounds": 3, "episodes": 100, "envs": envs, "ppo": LITTLE}
    scores = [last_round("Corridor", seed, **settings).eval_score_evolved for seed in SEEDS]
    assert np.allclose(scores, Corridor.OPTIMUM), scores


@pytest.mark.long
def test_on_cartpole_the_default_settings_play_far_better_than_chance():
    """Chance gets 22 of 500, and pushing to one side 9; the worst of the seeds 0 to 9 and 100 to 109 gets 200."""
    history = swarmsim.run(rounds=3, eval_episodes=10, seed=0, link="inprocess", out=None)
    assert history[-1].eval_score_evolved > 100


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_five_models_swing_a_pendulum_up_within_4000_steps_by_soft_actor_critic(seed):
    """Chance gets about -1,200, and the best controllers about -150; these two seeds get -154 and -161."""
    settings = {"env": "Pendulum-v1", "learner": "sac", "population": 5, "rounds": 1, "episodes": 20}
    history = swarmsim.run(**settings, eval_episodes=10, seed=seed, link="inprocess", out=None)
    assert history[-1].eval_score_evolved > -300
