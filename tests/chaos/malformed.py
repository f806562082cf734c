"""Everything that a queue can be made to hold and that no component can use, drawn by hypothesis."""

import json
import struct

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from swarmsim.messaging.codec import encode
from swarmsim.messaging.queues.fragments import MAGIC, fragment, pieces_of

RUN, EVOLUTION = "the run", "the evolution"
N_INPUTS, N_WEIGHTS = 4, 755
MODELS = ["model0", "model1", "model2", "model3"]

# Messages that would do something, the room that they are said in, and for each key that they need what it cannot be.
# None stands for a key that is missing.
NO_FLAG = (None, 1, "yes", [True], {}, 0.5)
NO_NUMBER = (None, "1", {}, [], [[1], [1, 2]], {"x": [1]}, ["a"])
NO_STEP = (-1, "3", 2.0, [1], {}, True)
NO_NAMES = (None, 7, [], ["a", 7], {"a": 1}, "9" * 5000)
ARRAY = np.zeros(3)
TEMPLATES = [
    (
        "observation",
        {"OBSERVATION": [0.0] * N_INPUTS, "DETERMINISTIC": False, "STEP": 3, "ACTION": 1, "REWARD": 1.0, "DONE": False},
        {
            "OBSERVATION": (*NO_NUMBER, [0.0] * 3, [[0.0] * 5], 3),
            "DETERMINISTIC": NO_FLAG,
            "STEP": NO_STEP,
            "LAST": NO_FLAG[1:],
        },
    ),
    (
        "observation",
        {"OBSERVATION": [0.0] * N_INPUTS, "DETERMINISTIC": True, "STEP": 3},
        {"OBSERVATION": (*NO_NUMBER, [0.0] * 3, True), "DETERMINISTIC": NO_FLAG},
    ),
    (
        "logits",
        {"LOGITS": [[[0.0, 1.0]], [[0.0, 1.0]]], "COMPONENT_ID": ["model0", "model1"], "DETERMINISTIC": False},
        {
            "LOGITS": (*NO_NUMBER, [0.0, 1.0, 2.0], 3.0, True, np.full((2, 1, 2), np.nan), np.full(4, np.inf)),
            "COMPONENT_ID": NO_NAMES,
            "DETERMINISTIC": NO_FLAG,
            "STEP": NO_STEP,
            "ACTIVE": ([True, True], "yes", [1.0], {}),
        },
    ),
    ("action", {"ACTION": 1}, {"ACTION": (*NO_NUMBER, -1, 2, 2**63, 1.5, [0, 1], True), "STEP": NO_STEP}),
    (
        "control",
        {"NR_OF_EPISODE": 2, "DETERMINISTIC": False},
        {"NR_OF_EPISODE": (0, -3, "two", 1.5, [2], True, {}), "DETERMINISTIC": NO_FLAG[1:], "PROGRESS": (ARRAY, 1)},
    ),
    ("control", {"EVOLUTION": True}, {"EVOLUTION": (1, "yes", [True], {}, None, ARRAY)}),
    (
        "control",
        {"STATUS": "ENV_DONE", "RETURNS": [1.0], "LENGTHS": [1], "SECONDS": 0.5},
        {
            "STATUS": (ARRAY, 5, None),
            "RETURNS": (*NO_NUMBER, [1.0, 2.0], 1.0),
            "LENGTHS": (*NO_NUMBER, [1.0]),
            "SECONDS": (None, "long", [1.0], ARRAY),
        },
    ),
    ("to control", {"STATUS": "ENV_PROGRESS", "RETURNS": [], "STEPS": 3}, {"STEPS": NO_STEP}),
    ("control", {"CMD": "PAUSE"}, {"CMD": (["PAUSE"], 5, {"PAUSE": 1}, None, "pause", ARRAY)}),
    (
        "evolution",
        {"CMD": "SET", "WEIGHTS": {"model0": [0.0] * N_WEIGHTS}},
        {
            "CMD": (["SET"], 5, None, "set", ARRAY),
            "WEIGHTS": (
                None,
                5,
                [[0.0]],
                {"model0": "heavy"},
                {"model0": [0.0]},
                {"model1": [[0.0] * N_WEIGHTS]},
                {"model2": np.full(N_WEIGHTS, np.nan, np.float32)},
            ),
        },
    ),
    (
        "to evolution",
        {"ROOT_ID": EVOLUTION, "COMPONENT_ID": MODELS, "WEIGHTS": [[0.0] * N_WEIGHTS] * 4},
        {"WEIGHTS": (5, "x", [[0.0]] * 5, np.full((4, N_WEIGHTS), np.inf)), "COMPONENT_ID": NO_NAMES[1:]},
    ),
    (
        "to evolution",
        {"ROOT_ID": EVOLUTION, "CONTRIBUTION": {"model0": 1.0}, "DIVERSITY": 0.5},
        {"CONTRIBUTION": (5, [1.0], {"model0": "all"}, {"model0": [1.0]}), "DIVERSITY": ("much", [0.1], {})},
    ),
    (
        "to evolution",
        {"ROOT_ID": EVOLUTION, "STATUS": "SET_DONE", "COMPONENT_ID": MODELS},
        {"STATUS": (5, ["SET_DONE"], None, ARRAY), "COMPONENT_ID": NO_NAMES},
    ),
    (
        "_command",
        {"TYPE": "COMMAND/DISCONNECT", "COMPONENTS": MODELS},
        {"COMPONENTS": (5, "model0", [5], {"model0": 1})},
    ),
    ("_command", {"TYPE": "COMMAND/JOINROOM", "ROOM": "observation"}, {"ROOM": (5, ["observation"], {}, None, ARRAY)}),
    ("_command", {"TYPE": "COMMAND/CUSTOM", "CMD": "PING"}, {"CMD": (5, ["PING"], {}, None, ARRAY)}),
]

ANYTHING = st.recursive(
    st.just(ARRAY) | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@st.composite
def broken_messages(draw) -> dict:
    """A message of the main job's own, of which at least one needed key is missing or of a wrong type."""
    room, message, wrong = draw(st.sampled_from(TEMPLATES))
    to = {"TO": room.removeprefix("to ")} if room.startswith("to ") else {"TO_ROOM": room}
    base = {"TYPE": "DATA/CUSTOM", "ROOT_ID": RUN, "SENT_BY": "intruder", "ID": draw(st.text(max_size=5)), **to}
    broken = {**base, **message}
    for key in draw(st.lists(st.sampled_from(sorted(wrong)), min_size=1, max_size=3, unique=True)):
        value = draw(st.sampled_from(wrong[key]))
        if value is None:
            broken.pop(key, None)
        else:
            broken[key] = value
    return broken


@st.composite
def unusable_messages(draw) -> dict:
    """What has no type, no address, or names a room, a type or a sender that is not there."""
    keys = st.sampled_from(["TYPE", "TO_ROOM", "TO", "ROOT_ID", "ID", "SENT_BY", "MODEL_STATUS", "X"])
    message = draw(st.dictionaries(keys, ANYTHING, max_size=6))
    if draw(st.booleans()):
        message |= {"TYPE": "DATA/CUSTOM", "TO_ROOM": draw(st.text(min_size=1, max_size=8))}
    return message


def _json_body(value: object, n_arrays: int = 0, length: int | None = None) -> bytes:
    text = json.dumps(value, default=str).encode("utf-8", "surrogatepass")
    return struct.pack("<II", len(text) if length is None else length, n_arrays) + text


def _array(dtype: object, shape: object) -> dict:
    return {"TYPE": "DATA/CUSTOM", "TO_ROOM": "observation", "X": {"__array__": [dtype, shape]}}


DEEP = [b"[" * n + b"]" * n for n in (500, 5_000, 100_000)]
BODIES = st.one_of(
    st.binary(max_size=200),
    st.builds(_json_body, ANYTHING, st.sampled_from([0, 1, 2**32 - 1]), st.sampled_from([None, 0, 5, 2**32 - 1])),
    st.builds(lambda text: struct.pack("<II", len(text), 0) + text, st.sampled_from(DEEP) | st.binary(max_size=50)),
    st.builds(
        lambda dtype, shape: _json_body(_array(dtype, shape), 1),
        st.sampled_from(["<f4", "<f8", "|O", "<M8[s]", "x", 5, None, ["<f4"]]),
        st.lists(st.integers(-(10**30), 10**30), max_size=4) | st.sampled_from([None, "x", [0, 2**62], {"a": 1}]),
    ),
    st.builds(lambda size: _json_body({"TYPE": "DATA/TEXT", "TO_ROOM": "hall", "DATA": "x" * size}), st.just(300_000)),
)


@st.composite
def broken_fragments(draw, sender: int) -> bytes:
    """A fragment that was cut short, has a flipped bit, claims too much, or is but noise."""
    (whole, *_) = fragments_of(_json_body({"TYPE": "DATA/CUSTOM", "TO_ROOM": "observation"}), sender)
    way = draw(st.sampled_from(["noise", "cut", "flip", "magic", "twice"]))
    if way == "noise":
        return draw(st.binary(min_size=1, max_size=3000))
    if way == "cut":
        return whole[: draw(st.integers(1, len(whole) - 1))]
    if way == "flip":
        flipped = bytearray(whole)
        flipped[draw(st.integers(0, len(whole) - 1))] ^= 1 << draw(st.integers(0, 7))
        return bytes(flipped)
    if way == "magic":
        return MAGIC + draw(st.binary(max_size=60))
    return whole[: draw(st.integers(4, len(whole)))] + MAGIC + whole[:20]


def fragments_of(body: bytes, sender: int) -> list[bytes]:
    return [fragment(piece, sender, 0, 0) for piece in pieces_of(body)]


def drawn(number: int, sender: int) -> list[tuple[str, list[bytes]]]:
    """Return so many malformed messages and frames, each as the room or component that it is for, and its fragments."""
    found: list[tuple[str, list[bytes]]] = []

    def of_message(message: dict) -> tuple[str, list[bytes]]:
        to = message.get("TO_ROOM", message.get("TO"))
        try:
            body = encode(message)
        except Exception:
            body = _json_body(message)
        return to if isinstance(to, str) else "", fragments_of(body, sender)

    messages = (broken_messages() | unusable_messages()).map(of_message)
    bodies = BODIES.map(lambda body: ("", fragments_of(body, sender)))
    frames = broken_fragments(sender).map(lambda data: ("", [data]))

    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(messages | bodies | frames)
    def collect(example: tuple[str, list[bytes]]) -> None:
        found.append(example)

    while len(found) < number:
        collect()
    return found[:number]
