"""The models' actions in action spaces of all kinds."""

import numpy as np
import pytest
from gymnasium import spaces

from swarmsim.envs.actions import to_model_space

SPACES = [
    spaces.Discrete(3),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([2, 3], start=[0, 1]),
    spaces.MultiDiscrete(np.array([[2, 2], [3, 1]])),
    spaces.MultiBinary(3),
    spaces.MultiBinary((2, 2)),
    spaces.Box(-2.0, 2.0, (1,), np.float32),
    spaces.Box(np.array([[0, 10], [3, -1]], np.float64), np.array([[1, 31.7], [4, 1]], np.float64), dtype=np.float64),
    spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    spaces.Box(np.array([0, -np.inf], np.float32), np.array([np.inf, 1], np.float32)),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_action_of_models_becomes_one_of_the_space_itself(space):
    simple, to_env_action = to_model_space(space)
    if isinstance(simple, spaces.Discrete):
        assert simple.start == 0
        taken = {str(to_env_action(np.int64(action))) for action in range(int(simple.n))}
        assert len(taken) == simple.n
        actions = np.arange(simple.n)
    else:
        actions = np.random.default_rng(0).normal(scale=2, size=(500, *simple.shape)).astype(np.float32)
    for action in actions:
        assert space.contains(to_env_action(action)), action


def test_numbers_are_rescaled_from_bound_to_bound():
    _, to_env_action = to_model_space(SPACES[7])
    assert np.allclose(to_env_action(np.float32([-1, 1, 0, -9])), [[0, 31.7], [3.5, -1]])


def test_numbers_without_bounds_stay_what_they_are():
    _, to_env_action = to_model_space(SPACES[8])
    assert np.array_equal(to_env_action(np.float32([-7, 1, 0, 1e6])), [[-7, 1], [0, 1e6]])


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Box(0, 9, (2,), np.int64), spaces.MultiDiscrete([5000])])
def test_spaces_that_models_cannot_act_in_are_refused(space):
    with pytest.raises(ValueError, match=r"; supported: (Discrete, Multi|at most 4096)"):
        to_model_space(space)
