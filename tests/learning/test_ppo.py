"""Learning from replayed experience: V-trace by its definition, and the same results for every packing and restart."""

import numpy as np
import pytest

from swarmsim.learning.hyperparameters import PPOSettings
from swarmsim.learning.policy import Architecture
from swarmsim.learning.ppo import PPO
from swarmsim.learning.rollout import Transition, advantages_and_returns
from swarmsim.learning.seeding import generator
from swarmsim.learning.vtrace import vtrace

CARTPOLE = Architecture(n_inputs=4, n_actions=2, hidden=(8, 8))
NAMES = [f"model{i}" for i in range(5)]


def learner(names=NAMES, architecture=CARTPOLE):
    settings = PPOSettings(hidden=(8, 8), n_steps=8, replay_size=64, batch_size=16, n_batches=4)
    return PPO(architecture, settings, [generator(0, name) for name in names])


def played(models, steps, n_envs=3, restarted_at=None):
    rng = np.random.default_rng(1)
    for step in range(steps):
        models.act(rng.standard_normal((n_envs, 4)).astype(np.float32))
        models.learn()
        if step == restarted_at:
            state, models = models.state(), learner()
            models.restore(state)
        truncated = rng.random(n_envs) < 0.1
        models.record(
            Transition(
                rng.integers(2, size=n_envs),
                rng.standard_normal(n_envs).astype(np.float32),
                ~truncated & (rng.random(n_envs) < 0.1),
                truncated,
                rng.standard_normal((n_envs, 4)).astype(np.float32) if truncated.any() else None,
                rng.random(n_envs) < 0.9,
                np.full(n_envs, -0.7, np.float32),
            )
        )
    return vars(models.memory)


def test_models_learn_the_same_however_they_are_packed():
    together, alone = played(learner(), 60), [played(learner([name]), 60) for name in NAMES]
    for key in ("weights", "first_moment", "second_moment", "spreads", "merits"):
        assert np.array_equal(together[key], np.concatenate([memory[key] for memory in alone])), key
    assert not np.array_equal(together["weights"], learner().weights)


@pytest.mark.parametrize("step", [3, 8, 30, 55])
def test_models_go_on_exactly_where_they_were_saved(step):
    whole, restarted = played(learner(), 60), played(learner(), 60, restarted_at=step)
    assert all(np.array_equal(whole[key], restarted[key]) for key in whole)


@pytest.fixture
def experience():
    rng = np.random.default_rng(0)
    rewards, ends = rng.standard_normal((11, 2)), rng.random((11, 2)) < 0.2
    values, next_values = rng.standard_normal((2, 3, 11, 2))
    next_values[:, :-1] = values[:, 1:]
    next_values[:, ends] = 0
    return [array.astype(np.float32) for array in (rewards, values, next_values)], ends


def test_on_policy_vtrace_is_generalised_advantage_estimation(experience):
    (rewards, values, next_values), ends = experience
    ratios = np.ones_like(values)
    advantages, targets = vtrace(rewards, values, next_values, ends, ratios, 0.9, 0.8, 1.0)
    expected, returns = advantages_and_returns(rewards, values, ends, next_values[:, -1], 0.9, 0.8)
    assert np.allclose(advantages, expected, atol=1e-5)
    assert np.allclose(targets, returns, atol=1e-5)


def test_vtrace_targets_follow_their_definition(experience):
    (rewards, values, next_values), ends = experience
    ratios = np.exp(np.random.default_rng(1).standard_normal(values.shape)).astype(np.float32)
    _, targets = vtrace(rewards, values, next_values, ends, ratios, 0.9, 0.8, 1.5)
    following = np.zeros_like(values[:, 0])
    for t in reversed(range(11)):
        error = np.minimum(ratios[:, t], 1.5) * (rewards[t] + 0.9 * next_values[:, t] - values[:, t])
        following = error + 0.9 * 0.8 * np.minimum(ratios[:, t], 1) * ~ends[t] * following
        assert np.allclose(targets[:, t], values[:, t] + following, atol=1e-4)
