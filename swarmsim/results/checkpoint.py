"""Checkpoints: all that a run is at one moment, in a file of which any damage shows.

A file is an `.npz` that `numpy.load(path, allow_pickle=False)` opens. Each array of the state is a member, named by its
place: `components/models0-9/weights`. The member `state` is all the rest, JSON as bytes, in which `{"@array": name}`
stands for an array. The archive's comment, at the file's very end, tells the format and the SHA-256 of all before it.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from swarmsim.errors import SettingsError
from swarmsim.files import UNFINISHED, write_whole, writing
from swarmsim.names import by_number

FORMAT = 1
State = dict[str, Any]

_STATE = "state"
_ARRAY = "@array"
_SEAL = b"swarmsim checkpoint %04d, SHA-256 "
_DIGEST_SIZE = 2 * sha256().digest_size
_END = re.compile(rb"swarmsim checkpoint (\d{4}), SHA-256 ([0-9a-f]{64})")
_END_SIZE = len(_SEAL % FORMAT) + _DIGEST_SIZE
_ARCHIVE = b"PK\x03\x04"
_NAME = re.compile(r"round-(\d{4,})(-begun)?\.npz")


class CheckpointDamaged(SettingsError):
    """A file that is no checkpoint, or not one as it was written."""


def write(path: Path, state: State) -> None:
    """Put a checkpoint of `state` at `path`, whole or not at all.

    Args:
        state: JSON values, with text for keys, and arrays of numbers anywhere among them; tuples come back as lists.

    Raises:
        SettingsError: it cannot be written.
        TypeError: the state holds something else.
    """
    write_whole(path, _packed(state))


def read(path: Path) -> State:
    """Return the state that a checkpoint holds; no code of the file is run.

    Raises:
        CheckpointDamaged: it cannot be read, was cut short or changed, is of a later format or is no checkpoint.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointDamaged(f"{path} cannot be read: {error.strerror}") from None
    wrong = _what_is_wrong(content)
    if wrong is not None:
        raise CheckpointDamaged(f"{path} {wrong}")
    try:
        return _unpacked(content)
    except Exception as error:  # a foreign file has numpy and zipfile raise whatever they will
        raise CheckpointDamaged(f"{path} is no checkpoint: {error}") from None


def load_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return every model's weights (G,) in a checkpoint, by its name, model2 before model10.

    Raises:
        CheckpointDamaged: as `read`, or it is of no run.
    """
    return weights_in(read(path), path)


def weights_in(state: State, path: Path) -> dict[str, NDArray[np.float32]]:
    """Return what `load_weights` does, of a state that was read from `path`."""
    components = state.get("components")
    if not isinstance(components, dict):
        raise CheckpointDamaged(f"{path} holds no components, so no weights")
    found: dict[str, NDArray[np.float32]] = {}
    for component in components.values():
        if isinstance(component, dict) and {"components", "weights"} <= component.keys():
            found.update(zip(component["components"], component["weights"], strict=True))
    return {name: found[name] for name in sorted(found, key=by_number)}


class Checkpoints:
    """The checkpoints of one run, of which the last few are kept; one process at a time writes them.

    Args:
        keep: how many, at least 1.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, round_number: int, state: State, complete: bool) -> Path:
        """Write a checkpoint taken after a `complete` round, or within it, and remove what it makes superfluous.

        Those of later moments are superfluous too: it was taken by a run that has gone on from an earlier one.

        Raises:
            SettingsError: it cannot be written; those before it are still there.
            TypeError: as `write`.
        """
        path = self.folder / f"round-{round_number:04d}{'' if complete else '-begun'}.npz"
        write(path, state)
        found = self.in_order()
        last = found.index(path) + 1
        superfluous = [*found[: max(0, last - self.keep)], *found[last:], *self.folder.glob(f"*{UNFINISHED}")]
        with writing(self.folder):
            for other in superfluous:
                other.unlink(missing_ok=True)
        return path

    def newest(self, on_damaged: Callable[[CheckpointDamaged], None]) -> tuple[Path, State] | None:
        """Return the last checkpoint that is sound, and its state; None where there has never been one.

        Args:
            on_damaged: is told of each later one that is not.

        Raises:
            SettingsError: there are checkpoints, but none is sound.
        """
        found = self.in_order()
        for path in reversed(found):
            try:
                return path, read(path)
            except CheckpointDamaged as damage:
                on_damaged(damage)
        if found:
            raise SettingsError(f"{self.folder} has no sound checkpoint: all {len(found)} are damaged")
        return None

    def in_order(self) -> list[Path]:
        """Return all checkpoints, sound or not, from the first to the last."""
        moments = {path: moment for path in self.folder.glob("round-*.npz") if (moment := moment_of(path))}
        return sorted(moments, key=moments.__getitem__)


def moment_of(path: Path) -> tuple[int, bool] | None:
    """Return the round of a checkpoint, and whether it is a complete one, by the file's name; None if it has none."""
    name = _NAME.fullmatch(path.name)
    return None if name is None else (int(name[1]), name[2] is None)


def _packed(state: State) -> bytes:
    arrays: dict[str, NDArray] = {}
    text = json.dumps(_told(state, (), arrays)).encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in {_STATE: np.frombuffer(text, np.uint8), **arrays}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = bytes(_END_SIZE)
    sealed = content.getvalue()[:-_END_SIZE] + _SEAL % FORMAT
    return sealed + sha256(sealed).hexdigest().encode()


def _told(value: object, place: tuple[str, ...], arrays: dict[str, NDArray]) -> object:
    """Return `value`, which has this place in the state, with its arrays moved out into `arrays`."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        name = _member(place)
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {_safe_key(key): _told(item, (*place, key), arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_told(item, (*place, str(index)), arrays) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    where = "/".join(place) or "a state"
    raise TypeError(f"{where}: {type(value).__name__} {str(value)[:40]!r} is no JSON value and no array of numbers")


def _member(place: tuple[str, ...]) -> str:
    name = "/".join(quote(part, safe="", errors="surrogatepass") for part in place)
    return f"{_STATE}%" if name == _STATE else name  # no quoted name ends so


def _safe_key(key: str) -> str:
    """Return a key that nobody takes for the mark of an array; `removeprefix` undoes it."""
    return f"{_ARRAY}{key}" if key.startswith(_ARRAY) else key


def _what_is_wrong(content: bytes) -> str | None:
    """Return what tells this from a file that `write` wrote, as the end of a sentence; None where nothing does."""
    if not _ARCHIVE.startswith(content[: len(_ARCHIVE)]):
        return "is no checkpoint"
    end = _END.fullmatch(content, max(0, len(content) - _END_SIZE))
    if end is None:
        return "is cut short, or no checkpoint: its checksum is missing"
    if sha256(memoryview(content)[:-_DIGEST_SIZE]).hexdigest().encode() != end[2]:
        return "is damaged: its checksum does not fit"
    if int(end[1]) > FORMAT:
        return f"is of format {int(end[1])}: this version of swarmsim knows none after {FORMAT}"
    return None


def _unpacked(content: bytes) -> State:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:

        def array(name: str) -> NDArray:
            with archive.open(f"{name}.npy") as member:
                return np.lib.format.read_array(member, allow_pickle=False)

        def value(told: dict[str, Any]) -> object:
            if _ARRAY in told:
                return array(told[_ARRAY])
            return {key.removeprefix(_ARRAY): item for key, item in told.items()}

        state = json.loads(array(_STATE).tobytes(), object_hook=value)
    if not isinstance(state, dict):
        raise TypeError("its state is no mapping")
    return state
