"""Spaces of all kinds, as JSON."""

import json
from collections import OrderedDict

import numpy as np
import pytest
from gymnasium import spaces

from swarmsim.envs.encoding import decode_space, encode_space
from tests.envs.test_actions import SPACES as ACTION_SPACES

PICTURE = spaces.Box(0, 255, (210, 160, 3), np.uint8)
SPACES = [
    *ACTION_SPACES,
    PICTURE,
    spaces.Discrete(5, dtype=np.int32),
    spaces.Box(-1, 1, ()),
    spaces.Box(0, 1, (2,), np.bool_),
    spaces.Text(5, min_length=0, charset="zab"),
    spaces.Tuple((spaces.Discrete(2), spaces.Tuple((spaces.MultiBinary(2), spaces.Text(3))))),
    spaces.Dict(OrderedDict(z=spaces.Discrete(2), a=spaces.Dict({"b": spaces.Box(0, 1, (2, 2)), "c": PICTURE}))),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_an_encoded_space_is_decoded_to_the_same_space(space):
    for decoded in decode_space(encode_space(space)), decode_space(json.loads(json.dumps(encode_space(space)))):
        assert decoded == space
        assert decoded.dtype == space.dtype
        for part in (space, decoded):
            part.seed(0)
        sample = space.sample()
        assert decoded.contains(sample)
        assert np.array_equal(spaces.flatten(decoded, sample), spaces.flatten(space, sample))  # in the same order


def test_the_bounds_of_a_picture_take_little_room():
    assert len(json.dumps(encode_space(PICTURE))) < 200


def test_bounds_that_format_1_wrote_one_by_one_are_read():
    space = decode_space({"space": "Box", "low": [0.0, 0.0], "high": [1.0, 1.0], "dtype": "float32"})
    assert space == spaces.Box(0, 1, (2,))


def test_what_was_not_encoded_is_refused():
    for encoded in ({}, {"space": "Mood"}, {"space": "Discrete", "m": 3}, {"space": "Box", "low": [0], "high": [1]}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            decode_space(encoded)


def test_a_space_of_unknown_kind_is_refused():
    with pytest.raises(TypeError, match="cannot be written to a file"):
        encode_space(spaces.Dict({"many": spaces.Sequence(spaces.Discrete(2))}))
