import hashlib
import json
import math
import os
import pickle
import random
import resource
import zipfile

import numpy as np
import pytest

from swarmsim.errors import SettingsError
from swarmsim.results import checkpoint
from swarmsim.results.checkpoint import CheckpointDamaged, Checkpoints, read_weights
from tests.conftest import long_after
from tests.results.rounds import output_of_child

SMALL = {"round": 3, "models": {"weights": np.arange(6, dtype=np.float32).reshape(2, 3)}, "rng": [2**127, "x"]}
DIGEST = 64  # characters at a file's end


def same(one: object, other: object) -> bool:
    """Whether two states are equal to the last bit, their types included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return math.isnan(one) == math.isnan(other) and (math.isnan(one) or one.hex() == other.hex())
    return one == other


def resealed(content: bytes) -> bytes:
    """Return a file of which somebody saw to it that its checksum fits."""
    return content[:-DIGEST] + hashlib.sha256(content[:-DIGEST]).hexdigest().encode()


def names_in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- one file


@pytest.mark.parametrize(
    "state",
    [
        {},
        SMALL,
        {"values": [None, True, False, 0, -1, 2**64, -(2**4000), 0.1, -0.0, 5e-324, 1e308, "", "ä\0\ud800\u2028"]},
        {"not finite": [math.nan, math.inf, -math.inf]},
        {"empty": [[], {}, {"": {}}, np.zeros((0, 3)), np.array(7.0)]},
        {"kinds": [np.arange(2).astype(kind) for kind in "?bhilqBHILQefdFD"] + [np.arange(2, dtype=">i4")]},
        {"orders": [np.asfortranarray(np.eye(3)), np.arange(9)[::-2], np.broadcast_to(np.float32(1), (2, 2)).copy()]},
        {"state": np.arange(3), "state%": np.arange(4), "format": np.arange(5)},
        {"a": {"b": np.arange(1)}, "a/b": np.arange(2), "a%2Fb": np.arange(3), "a/b.npy": np.arange(4)},
        {"": np.arange(1), "/": np.arange(2), "\0": np.arange(3), "..": {"x": np.arange(4)}, "\ud800": np.arange(5)},
        {"@array": "a", "@array@array": {"@array": np.arange(3), "@arrays": 2}, "x": {"@array": ["x"]}},
    ],
    ids=lambda state: next(iter(state), "nothing").replace("\0", "0"),
)
def test_a_state_comes_back_to_the_last_bit(tmp_path, state):
    checkpoint.write_checkpoint(tmp_path / "file.npz", state)
    assert same(checkpoint.read_checkpoint(tmp_path / "file.npz"), state)


KEYS = ["state", "a", "a/b", "b", "@array", "%", "x.npy", "ä", ""]


def random_state(draw: random.Random, depth: int = 0) -> dict:
    return {key: random_value(draw, depth + 1) for key in draw.sample(KEYS, draw.randrange(5))}


def random_value(draw: random.Random, depth: int) -> object:
    kind = draw.choice(["array", "value"] if depth > 4 else ["array", "value", "list", "dict"])
    if kind == "dict":
        return random_state(draw, depth)
    if kind == "list":
        return [random_value(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == "array":
        shape = [draw.randrange(4) for _ in range(draw.randrange(4))]
        return np.frombuffer(draw.randbytes(8 * math.prod(shape)), draw.choice(["<f8", ">i8", "<c8"])).reshape(shape)
    return draw.choice([None, True, draw.getrandbits(200), draw.gauss(), draw.choice(KEYS), math.nan])


def test_any_state_comes_back(tmp_path):
    draw = random.Random(0)
    for _ in range(300):
        state = random_state(draw)
        checkpoint.write_checkpoint(tmp_path / "file.npz", state)
        assert same(checkpoint.read_checkpoint(tmp_path / "file.npz"), state), state


def test_arrays_that_come_back_can_be_changed_and_tuples_are_lists(tmp_path):
    given = np.arange(3)
    given.flags.writeable = False
    checkpoint.write_checkpoint(tmp_path / "file.npz", {"array": given, "pair": (1, (2,))})
    found = checkpoint.read_checkpoint(tmp_path / "file.npz")
    found["array"] += 1
    assert found["pair"] == [1, [2]]


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"a": {"b": [1, {2}]}}, r"^a/b/1: set '\{2\}' is no JSON value and no array of numbers$"),
        ({"a": {1: 2}}, r"^a: dict '\{1: 2\}' is no JSON value"),
        ({"a": np.array(["x"])}, "^a: ndarray "),
        ({"a": np.array([object()])}, "^a: ndarray "),
        ({"a": np.int64(3)}, "^a: int64 '3'"),
        ({"a": b"x"}, "^a: bytes "),
    ],
)
def test_what_is_no_state_is_refused_with_its_place_and_nothing_is_written(tmp_path, state, sentence):
    with pytest.raises(TypeError, match=sentence):
        checkpoint.write_checkpoint(tmp_path / "file.npz", state)
    assert names_in(tmp_path) == []


def test_plain_numpy_opens_a_checkpoint_and_finds_each_array_by_its_place(tmp_path):
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    state = {"components": {"models0-9": {"weights": weights}, "x": [1, np.arange(2)]}}
    checkpoint.write_checkpoint(tmp_path / "file.npz", state)
    with np.load(tmp_path / "file.npz", allow_pickle=False) as found:
        assert found.files == ["state", "components/models0-9/weights", "components/x/1"]
        assert same(found["components/models0-9/weights"], weights)
        assert json.loads(found["state"].tobytes()) == {
            "components": {
                "models0-9": {"weights": {"@array": "components/models0-9/weights"}},
                "x": [1, {"@array": "components/x/1"}],
            }
        }
    with zipfile.ZipFile(tmp_path / "file.npz") as archive:
        assert archive.testzip() is None


def test_the_same_state_is_the_same_file(tmp_path):
    for name in ("one.npz", "other.npz"):
        checkpoint.write_checkpoint(tmp_path / name, SMALL)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


# --- damage


@pytest.mark.parametrize("bits", long_after(1, [[5], [*range(8)]]), ids=str)
def test_every_flipped_bit_and_every_cut_is_found(tmp_path, bits):
    path = tmp_path / "file.npz"
    checkpoint.write_checkpoint(path, SMALL)
    content = path.read_bytes()
    flipped = (
        content[:i] + bytes([content[i] ^ 1 << bit]) + content[i + 1 :] for i in range(len(content)) for bit in bits
    )
    longer = (content + more for more in (b"\0", b"\n", content))
    for damaged in (*flipped, *(content[:end] for end in range(len(content))), *longer):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointDamaged, match=f"^{path} is "):
            checkpoint.read_checkpoint(path)
    path.write_bytes(content)
    assert same(checkpoint.read_checkpoint(path), SMALL)


def test_damage_that_its_checksum_does_not_show_is_told_the_same_way(tmp_path):
    path = tmp_path / "file.npz"
    checkpoint.write_checkpoint(path, SMALL)
    content, draw = path.read_bytes(), random.Random(0)
    found = 0
    for i in range(len(content) - DIGEST):
        path.write_bytes(resealed(content[:i] + bytes([content[i] ^ draw.randrange(1, 256)]) + content[i + 1 :]))
        try:
            checkpoint.read_checkpoint(path)
        except CheckpointDamaged:
            found += 1
    assert found > len(content) / 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is cut short, or no checkpoint: its checksum is missing"),
        (b"round 3: all is well\n", "is no checkpoint"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_checkpoint_is_told_so(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "file.npz").write_bytes(content)
    with pytest.raises(CheckpointDamaged, match=f"^{tmp_path / 'file.npz'} {sentence}$"):
        checkpoint.read_checkpoint(tmp_path / "file.npz")


def test_the_sentence_tells_what_is_wrong(tmp_path):
    path = tmp_path / "file.npz"
    checkpoint.write_checkpoint(path, SMALL)
    content = path.read_bytes()
    for damaged, sentence in (
        (content[:-1], "is cut short, or no checkpoint: its checksum is missing"),
        (content[:50] + b"?" + content[51:], "is damaged: its checksum does not fit"),
        (
            resealed(content.replace(b"checkpoint 0001", b"checkpoint 0012")),
            "is of format 12: this version of swarmsim knows none after 1",
        ),
    ):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointDamaged) as raised:
            checkpoint.read_checkpoint(path)
        assert str(raised.value) == f"{path} {sentence}"
    np.savez(path, state=np.arange(3))
    with pytest.raises(CheckpointDamaged, match="or no checkpoint"):
        checkpoint.read_checkpoint(path)


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("evil",)


@pytest.mark.parametrize("name", ["state", "a"])
def test_no_code_of_a_file_is_run(in_tmp_path, name):
    path = in_tmp_path / "file.npz"
    text = np.frombuffer(b'{"a": {"@array": "a"}}', np.uint8)
    end = b"swarmsim checkpoint 0001, SHA-256 " + bytes(DIGEST)
    np.savez(path, **{"state": text, name: np.array([Evil()])})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = end
    path.write_bytes(resealed(path.read_bytes()))
    with pytest.raises(CheckpointDamaged, match="is no checkpoint: .*allow_pickle"):
        checkpoint.read_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointDamaged, match="is no checkpoint$"):
        checkpoint.read_checkpoint(path)
    assert names_in(in_tmp_path) == ["file.npz"]


# --- weights


def test_every_models_weights_are_found_by_name_in_the_order_of_their_numbers(tmp_path):
    def models(*numbers: int) -> dict:
        weights = np.repeat(np.array(numbers, np.float32)[:, None], 5, axis=1)
        return {"components": [f"model{i}" for i in numbers], "weights": weights, "step": 3}

    components = {"models10-11": models(10, 11), "environment": {"step": 3}, "models0-9": models(*range(10))}
    checkpoint.write_checkpoint(tmp_path / "file.npz", {"components": components})
    weights = read_weights(tmp_path / "file.npz")
    assert list(weights) == [f"model{i}" for i in range(12)]
    assert all(same(weights[f"model{i}"], np.full(5, i, np.float32)) for i in range(12))


def test_a_checkpoint_of_something_else_has_no_weights(tmp_path):
    checkpoint.write_checkpoint(tmp_path / "file.npz", SMALL)
    with pytest.raises(CheckpointDamaged, match="holds no components"):
        read_weights(tmp_path / "file.npz")


# --- the last few of a run


def refuse(damage: CheckpointDamaged) -> None:
    raise AssertionError(damage)


def test_the_newest_few_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for number, complete in ((1, True), (2, False), (2, True), (3, False), (9999, True), (10000, False), (10000, True)):
        path = checkpoints.write(number, {"round": number}, complete)
        assert checkpoints.read_newest(refuse) == (path, {"round": number})
    assert names_in(tmp_path) == ["round-10000-begun.npz", "round-10000.npz", "round-9999.npz"]


def test_what_killed_writers_left_goes_and_what_others_put_there_stays(tmp_path):
    for name in ("round-0001.npz.new", "round-0007-begun.npz.new", "notes.txt", "round-best.npz"):
        (tmp_path / name).write_text("x")
    Checkpoints(tmp_path, keep=1).write(2, SMALL, complete=True)
    assert names_in(tmp_path) == ["notes.txt", "round-0002.npz", "round-best.npz"]


def test_the_newest_sound_one_is_found_and_each_damaged_one_passed_over_is_told(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=9)
    paths = [checkpoints.write(number, {"round": number}, complete=True) for number in range(1, 6)]
    paths[4].write_bytes(paths[4].read_bytes()[:-100])
    paths[3].unlink()
    paths[3].mkdir()
    paths[1].write_bytes(b"")
    told = []
    assert checkpoints.read_newest(told.append) == (paths[2], {"round": 3})
    assert [str(damage) for damage in told] == [
        f"{paths[4]} is cut short, or no checkpoint: its checksum is missing",
        f"{paths[3]} cannot be read: Is a directory",
    ]


def test_who_goes_on_from_an_earlier_one_keeps_what_he_writes(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for number in (1, 2):
        damaged = checkpoints.write(number, {"round": number}, complete=True)
    damaged.write_bytes(b"")
    path = checkpoints.write(2, {}, complete=False)
    assert names_in(tmp_path) == ["round-0001.npz", "round-0002-begun.npz"]
    assert checkpoints.read_newest(refuse) == (path, {})


def test_no_checkpoint_is_none_and_none_that_is_sound_is_an_error(tmp_path):
    told = []
    checkpoints = Checkpoints(tmp_path / "checkpoint", keep=1)
    assert checkpoints.read_newest(told.append) is None
    checkpoints.folder.mkdir()
    assert checkpoints.read_newest(told.append) is None
    for name in ("round-0001.npz", "round-0002.npz"):
        (checkpoints.folder / name).write_bytes(b"x")
    with pytest.raises(SettingsError, match=f"^{checkpoints.folder} has no sound checkpoint: all 2 are damaged$"):
        checkpoints.read_newest(told.append)
    assert len(told) == 2


def test_a_full_disk_leaves_the_older_ones(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    older = checkpoints.write(1, {"round": 1}, complete=True)
    (tmp_path / "round-0002.npz.new").symlink_to("/dev/full")
    with pytest.raises(SettingsError, match=f"^{tmp_path}/round-0002.npz cannot be written: No space left on device$"):
        checkpoints.write(2, {"round": 2}, complete=True)
    assert names_in(tmp_path) == ["round-0001.npz"]
    assert checkpoints.read_newest(refuse) == (older, {"round": 1})


def test_a_file_that_the_system_lets_grow_no_further_leaves_the_older_ones(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    older = checkpoints.write(1, {"round": 1}, complete=True)

    def work(tell) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            checkpoints.write(2, {"array": np.zeros(100_000)}, complete=True)
        except SettingsError as error:
            tell(str(error))

    assert output_of_child(work) == [f"{tmp_path}/round-0002.npz cannot be written: File too large"]
    assert names_in(tmp_path) == ["round-0001.npz"]
    assert checkpoints.read_newest(refuse) == (older, {"round": 1})


def test_whoever_is_killed_while_saving_leaves_all_but_the_last_one_sound(tmp_path):
    checkpoints, draw = Checkpoints(tmp_path, keep=2), random.Random(0)
    first, n_cut_short = 1, 0

    def state(number: int) -> dict:
        return {"round": number, "weights": np.full(20_000, number)}

    def work(tell) -> None:
        number = first
        while True:
            checkpoints.write(number, state(number), complete=True)
            tell(str(number))
            number += 1

    for _ in range(60):
        saved = int(output_of_child(work, kill_after=draw.uniform(0, 0.02))[-1])
        n_cut_short += any(tmp_path.glob("*.new"))
        found = checkpoints.read_newest(refuse)[1]
        assert found["round"] in (saved, saved + 1)
        assert all(same(checkpoint.read_checkpoint(path), state(int(path.stem[6:]))) for path in tmp_path.glob("*.npz"))
        first = found["round"] + 1
    assert n_cut_short > 0
    checkpoints.write(first, state(first), complete=True)
    assert names_in(tmp_path) == [f"round-{number:04d}.npz" for number in (first - 1, first)]
