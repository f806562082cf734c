"""What becomes of models' actions in spaces of all kinds."""

import json

import numpy as np
import pytest
from gymnasium import spaces

from swarmsim.envs.actions import read, simplified, told

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
def test_a_space_that_was_told_is_read_again(space):
    assert read(told(space)) == space
    assert read(json.loads(json.dumps(told(space)))).contains(space.sample())


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_action_of_models_becomes_one_of_the_space_itself(space):
    simple, to_own = simplified(space)
    if isinstance(simple, spaces.Discrete):
        assert simple.start == 0
        taken = {str(to_own(np.int64(action))) for action in range(int(simple.n))}
        assert len(taken) == simple.n
        actions = np.arange(simple.n)
    else:
        actions = np.random.default_rng(0).normal(scale=2, size=(500, *simple.shape)).astype(np.float32)
    for action in actions:
        assert space.contains(to_own(action)), action


def test_numbers_are_stretched_from_end_to_end():
    _, to_own = simplified(SPACES[7])
    assert np.allclose(to_own(np.float32([-1, 1, 0, -9])), [[0, 31.7], [3.5, -1]])


def test_numbers_without_bounds_stay_what_they_are():
    _, to_own = simplified(SPACES[8])
    assert np.array_equal(to_own(np.float32([-7, 1, 0, 1e6])), [[-7, 1], [0, 1e6]])


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Box(0, 9, (2,), np.int64), spaces.MultiDiscrete([5000])])
def test_spaces_that_models_cannot_act_in_are_told(space):
    with pytest.raises(ValueError, match=r"as actions; (Discrete, Multi|at most 4096)"):
        simplified(space)


def test_what_was_not_told_is_not_read():
    for facts in ({}, {"space": "Text"}, {"space": "Discrete", "m": 3}, {"space": "Box", "low": [0], "high": [1]}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            read(facts)
