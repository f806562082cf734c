import contextlib
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmsim.errors import MessageError
from swarmsim.messaging import codec
from swarmsim.messaging.codec import decode, encode
from swarmsim.messaging.message import validate


def test_decoding_inverts_encoding():
    message = {"TYPE": "DATA/CUSTOM", "A": [1, 2.5, None, True, "é"], "B": {"C": {"D": -1}}}
    assert decode(encode(message)) == message


def test_nested_arrays_keep_dtype_and_shape():
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


def test_numpy_scalars_become_python_numbers():
    back = decode(encode({"x": np.float32(0.1), "n": np.int64(3), "b": np.bool_(True)}))
    assert back == {"x": float(np.float32(0.1)), "n": 3, "b": True}
    assert type(back["n"]) is int


def test_floats_are_exact():
    values = np.random.default_rng(0).standard_normal(1000)
    assert decode(encode({"x": values.tolist()}))["x"] == values.tolist()


NOT_SENT = [object(), {1, 2}, lambda: 0, np.array([object()]), b"bytes", {(1, 2): 3}, {1: 2}, 2**70, "\ud800"]


@pytest.mark.parametrize("value", [*NOT_SENT, float("nan"), [1, {"x": float("-inf")}], np.float32("inf")])
def test_an_error_names_the_key_of_an_invalid_value(value):
    with pytest.raises(MessageError, match="the value of BAD cannot be sent"):
        encode({"GOOD": 1, "BAD": value})


def test_a_circular_message_cannot_be_sent():
    message = {}
    message["SELF"] = message
    with pytest.raises(MessageError, match="cannot be sent"):
        encode(message)


def body_of(text, arrays=b""):
    return struct.pack("<II", len(text), len(arrays) // 8) + text + arrays


def test_arrays_can_hold_nan_and_infinity():
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
        encode({"x": 1}) + b"more",
        encode({"x": np.arange(4)}) + b"more",
        struct.pack("<II", 2**32 - 1, 2**32 - 1) + b"{}",
        struct.pack("<II", 2, 2**32 - 1) + b"{}",
        body_of(b"[" * 10**5 + b"]" * 10**5),
        body_of(b'{"x": {"__array__": ["<f4", [1%s]]}}' % (b"0" * 30), b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f4", [18446744073709551615]]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f4", [9223372036854775807, 0]]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f4", [%s]]}}' % b", ".join([b"1"] * 100), b"x" * 8),
        body_of(b'{"x": {"__array__": [["<f4"], [1]]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": [{}, [1]]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f8", "1"]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f8", ""]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f8", [1], 0]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f8", [true]]}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f8", [1]], "y": 2}}', b"x" * 8),
        body_of(b'{"x": {"__array__": ["<f8", [%s1%s]]}}' % (b"[" * 900, b"]" * 900), b"x" * 8),
    ],
)
def test_an_invalid_body_is_an_error(body):
    tracemalloc.start()
    with pytest.raises(MessageError) as caught:
        decode(body)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
    assert len(str(caught.value)) < 300


def test_an_empty_array_can_have_any_shape():
    text = b'{"x": {"__array__": ["<f4", [0, 1000000000000000000]]}}'
    assert decode(struct.pack("<II", len(text), 1) + text)["x"].shape == (0, 10**18)


def test_a_message_that_is_too_long_is_its_senders_error(monkeypatch):
    monkeypatch.setattr(codec, "MAX_MESSAGE_BYTES", 100)
    with pytest.raises(MessageError, match=r"a message of 1,0\d\d bytes cannot be sent: 100 bytes at most"):
        encode({"x": np.zeros(125)})


def test_a_message_with_arrays_cannot_have_the_placeholder_key():
    alone = {"__array__": ["<f8", [1]], "TEXT": '{"__array__": 1}'}
    assert decode(encode(alone)) == alone
    beside = {"TEXT": '{"__array__": 1}', "x": np.arange(3)}
    assert decode(encode(beside))["TEXT"] == beside["TEXT"]
    with pytest.raises(MessageError, match="with arrays cannot have the key '__array__' itself"):
        encode({**alone, "x": np.arange(3)})


# --- arbitrary bytes and dicts

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)
DTYPES = st.sampled_from(["?", "<i8", "<f4", "<f8", "<u2"])
ARRAYS = st.builds(lambda dtype, shape: np.ones(shape, dtype), DTYPES, st.lists(st.integers(0, 3), max_size=3))
KEYS = st.sampled_from(["TYPE", "TO", "TO_ROOM", "ID", "ROOT_ID", "SENT_BY", "MODEL_STATUS", "DATA", "X", "__array__"])
MESSAGES = st.dictionaries(KEYS, VALUES | ARRAYS | st.sampled_from(["DATA/CUSTOM", "DATA/TEXT", "COMMAND/REGISTER"]))


def check(body):
    """Fail if a body is neither an error nor a valid message with comparable common keys."""
    try:
        message = decode(body)
        validate(message)
    except MessageError:
        return
    for key in ("ID", "ROOT_ID", "MODEL_STATUS"):
        assert message.get(key) == message.get(key)  # fails for an array
    assert all(isinstance(message.get(key, ""), str) for key in ("TYPE", "TO", "TO_ROOM", "SENT_BY"))


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=60), st.integers(0, 3))
def test_any_bytes_are_a_valid_message_or_an_error(body, text, n_arrays):
    check(body)
    check(struct.pack("<II", len(text), n_arrays) + text + body)


@settings(deadline=None)
@given(MESSAGES, st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=4), st.integers(0, 2**16))
def test_any_changed_body_is_a_valid_message_or_an_error(message, changes, length):
    with contextlib.suppress(MessageError):
        body = bytearray(encode({"TYPE": "DATA/CUSTOM", "TO": "x", "A": np.arange(3), **message}))
        for place, byte in changes:
            body[place % len(body)] = byte
        check(bytes(body))
        check(bytes(body[: length % len(body)]))


@settings(deadline=None)
@given(MESSAGES)
def test_any_message_that_can_be_encoded_is_decoded_unchanged(message):
    if any(isinstance(value, np.ndarray) for value in message.values()):
        message.pop("__array__", None)
    back = decode(encode(message))
    assert back.keys() == message.keys()
    for key, value in message.items():
        if isinstance(value, np.ndarray):
            assert (back[key].dtype, back[key].shape) == (value.dtype, value.shape)
            assert np.array_equal(back[key], value)
        else:
            assert back[key] == value


def test_what_a_signals_handler_raises_while_an_array_is_encoded_is_not_taken_for_the_arrays_fault(monkeypatch):
    class Interrupting(dict):
        def __getitem__(self, dtype):
            raise RuntimeError("chaos")

    monkeypatch.setattr(codec, "_DTYPES", Interrupting(codec._DTYPES))
    with pytest.raises(RuntimeError, match="chaos"):
        codec.encode({"X": np.zeros(2)})
