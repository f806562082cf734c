import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsim.finite import are_finite

NUMBERS = st.lists(st.floats(width=32), max_size=70)


@given(NUMBERS, st.sampled_from([np.float16, np.float32, np.float64]))
def test_tells_what_numpy_tells_number_by_number(numbers, dtype):
    with np.errstate(over="ignore"):
        array = np.array(numbers, dtype)
    assert are_finite(array) == bool(np.isfinite(array).all())


@pytest.mark.parametrize(
    "array", [np.ones((2, 3), np.float32).T, np.ones((4, 4))[::2, ::3], np.zeros((0, 3)), np.ones(())]
)
def test_takes_arrays_of_any_layout_and_size(array):
    assert are_finite(array)
    if array.size:
        array = array.copy()
        array[(-1,) * array.ndim] = np.nan
        assert not are_finite(array)


@pytest.mark.parametrize("array", [np.array([True, False]), np.array([0, -(2**63)]), np.array([255], np.uint8)])
def test_whole_numbers_are_finite(array):
    assert are_finite(array)


def test_large_numbers_are_finite_and_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert are_finite(np.full(1000, np.finfo(np.float32).max))
        assert are_finite(np.full(1000, np.finfo(np.float64).max))
