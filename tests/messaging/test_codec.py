import struct

import numpy as np
import pytest

from swarmsim.errors import MessageError
from swarmsim.messaging.codec import decode, encode


def test_a_message_comes_back_as_it_was():
    message = {"TYPE": "DATA/CUSTOM", "A": [1, 2.5, None, True, "é"], "B": {"C": {"D": -1}}}
    assert decode(encode(message)) == message


def test_arrays_come_back_with_type_and_shape_wherever_they_were():
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": [np.array([True, False]), np.array(7, np.int64)],
        "c": {"d": np.zeros((0, 4), np.float64)},
    }
    back = decode(encode(arrays))
    for sent, got in ((arrays["a"], back["a"]), (arrays["b"][0], back["b"][0]), (arrays["c"]["d"], back["c"]["d"])):
        assert got.dtype == sent.dtype
        assert np.array_equal(got, sent)
    assert back["b"][1].shape == ()


def test_single_numbers_of_numpy_become_python_numbers():
    back = decode(encode({"x": np.float32(0.1), "n": np.int64(3), "b": np.bool_(True)}))
    assert back == {"x": float(np.float32(0.1)), "n": 3, "b": True}
    assert type(back["n"]) is int


def test_floats_come_back_to_the_last_bit():
    values = np.random.default_rng(0).standard_normal(1000)
    assert decode(encode({"x": values.tolist()}))["x"] == values.tolist()


NOT_SENT = [object(), {1, 2}, lambda: 0, np.array([object()]), b"bytes", {(1, 2): 3}, {1: 2}, 2**70, "\ud800"]


@pytest.mark.parametrize("value", [*NOT_SENT, float("nan"), [1, {"x": float("-inf")}], np.float32("inf")])
def test_what_cannot_be_sent_is_named_by_its_key(value):
    with pytest.raises(MessageError, match="the value of BAD cannot be sent"):
        encode({"GOOD": 1, "BAD": value})


def test_a_loop_cannot_be_sent():
    message = {}
    message["SELF"] = message
    with pytest.raises(MessageError, match="cannot be sent"):
        encode(message)


def body_of(text, arrays=b""):
    return struct.pack("<II", len(text), len(arrays) // 8) + text + arrays


def test_arrays_hold_what_is_not_finite():
    back = decode(encode({"x": np.array([np.nan, np.inf]), "none": None}))
    assert np.array_equal(back["x"], [np.nan, np.inf], equal_nan=True)
    assert back["none"] is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01",
        body_of(b"{}")[:-1],
        body_of(b"[]"),
        body_of(b"oops"),
        body_of(b"\xff\xfe"),
        encode({"x": np.arange(4)})[:-1],
        body_of(b'{"x": {"__array__": ["O", [1]]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f4", [-1]]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f4", [99999999999]]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f4"]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": 3}}', b"x" * 8),
        body_of(b'{"x": 1}', b"x" * 8),
    ],
)
def test_what_is_no_body_is_told_as_such(body):
    with pytest.raises(MessageError):
        decode(body)
