"""Checkpoints: the whole state of a run in one file, in which any damage is detected.

A file is an `.npz` that `numpy.load(path, allow_pickle=False)` opens. Each array of the state is a member, named by its
path in the state: `components/models0-9/weights`. The member `state` is everything else, JSON as bytes, in which
`{"@array": name}` refers to an array. The archive's comment, at the very end of the file, holds the format and the
SHA-256 of all bytes before it.
"""

import json
import mmap
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from swarmsim.errors import SettingsError
from swarmsim.files import UNFINISHED, write_atomically, writing
from swarmsim.finite import are_finite
from swarmsim.names import natural_key

FORMAT = 1
BEST = "best.npz"
State = dict[str, Any]

_STATE = "state"
_MAY_BE_UNKNOWN = "log_probs"  # of a replay: not a number where unknown
_ARRAY = "@array"
_SEAL = b"swarmsim checkpoint %04d, SHA-256 "
_DIGEST_SIZE = 2 * sha256().digest_size
_END = re.compile(rb"swarmsim checkpoint (\d{4}), SHA-256 ([0-9a-f]{64})")
_END_SIZE = len(_SEAL % FORMAT) + _DIGEST_SIZE
_ARCHIVE = b"PK\x03\x04"
_NAME = re.compile(r"round-(\d{4,})(-begun)?\.npz")


class CheckpointDamaged(SettingsError):
    """A file is no checkpoint, has changed since it was written, or holds numbers that are not finite."""


def write_checkpoint(path: Path, state: State) -> None:
    """Write a checkpoint of `state` to `path` atomically.

    Args:
        state: JSON values with strings as keys, and arrays of numbers anywhere in it; tuples come back as lists.

    Raises:
        SettingsError: the file cannot be written.
        TypeError: the state holds a value of another type.
    """
    arrays: dict[str, NDArray] = {}
    text = json.dumps(_move_arrays_out(state, (), arrays)).encode()
    write_atomically(path, partial(_write, {_STATE: np.frombuffer(text, np.uint8), **arrays}))


def read_checkpoint(path: Path) -> State:
    """Return a checkpoint's state, executing no code in it; raises CheckpointDamaged if it is none, or has changed."""
    try:
        with path.open("rb") as file:
            damage = _find_damage(_mapped(file))
            if damage is not None:
                raise CheckpointDamaged(f"{path} {damage}")
            return _decode(file)
    except CheckpointDamaged:
        raise
    except OSError as error:
        raise CheckpointDamaged(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # numpy and zipfile raise almost anything for a foreign file
        raise CheckpointDamaged(f"{path} is no checkpoint: {error}") from None


def read_finite_checkpoint(path: Path) -> State:
    """Return a checkpoint's state; raises as `read_checkpoint`, and CheckpointDamaged if a number is not finite."""
    state = read_checkpoint(path)
    place = find_not_finite(state)
    if place is not None:
        raise CheckpointDamaged(f"{path} cannot be continued: {place} is not finite")
    return state


def find_not_finite(value: object, place: tuple[str, ...] = ()) -> str | None:
    """Return where a state, or the `value` at `place` in it, has an array that is not finite; None without any."""
    if isinstance(value, np.ndarray):
        is_checked = value.dtype.kind in "fc" and place[-1:] != (_MAY_BE_UNKNOWN,)
        return "/".join(place) if is_checked and not are_finite(value) else None
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return next((found for key, item in items if (found := find_not_finite(item, (*place, str(key))))), None)


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return `weights_in` the checkpoint at `path`; raises as `read_checkpoint`, too."""
    return weights_in(read_checkpoint(path), path)


def weights_in(state: State, path: Path) -> dict[str, NDArray[np.float32]]:
    """Return each model's weights (G,) by name, model2 before model10; raises CheckpointDamaged without components."""
    components = state.get("components")
    if not isinstance(components, dict):
        raise CheckpointDamaged(f"{path} holds no components, so no weights")
    weights: dict[str, NDArray[np.float32]] = {}
    for component in components.values():
        if isinstance(component, dict) and {"components", "weights"} <= component.keys():
            weights.update(zip(component["components"], component["weights"], strict=True))
    return {name: weights[name] for name in sorted(weights, key=natural_key)}


class Checkpoints:
    """The `keep` (at least 1) newest checkpoints of one run, and the best one; one process at a time may write them."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def write(self, round_number: int, state: State, complete: bool) -> Path:
        """Write a checkpoint taken after a `complete` round, or within it, then remove superfluous ones.

        Later checkpoints are superfluous too, because the run has continued from an earlier one.

        Raises:
            SettingsError: it cannot be written, or holds numbers that are not finite; the older ones are still there.
            TypeError: as `write_checkpoint`.
        """
        path = self.folder / f"round-{round_number:04d}{'' if complete else '-begun'}.npz"
        _write_finite(path, state)
        paths = self.paths()
        end = paths.index(path) + 1
        superfluous = [*paths[: max(0, end - self.keep)], *paths[end:], *self.folder.glob(f"*{UNFINISHED}")]
        with writing(self.folder):
            for other in superfluous:
                other.unlink(missing_ok=True)
        return path

    def read_newest(self, on_damaged: Callable[[CheckpointDamaged], None]) -> tuple[Path, State] | None:
        """Return the newest sound checkpoint and its state, or None; `on_damaged` gets the error of each newer one.

        Raises:
            SettingsError: there are checkpoints, but all are damaged.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                return path, read_finite_checkpoint(path)
            except CheckpointDamaged as damage:
                on_damaged(damage)
        if paths:
            raise SettingsError(f"{self.folder} has no sound checkpoint: all {len(paths)} are damaged")
        return None

    def write_best(self, state: State) -> None:
        """Write the checkpoint of the swarm with the best evaluation so far; raises as `write`."""
        _write_finite(self.folder / BEST, state)

    def read_best(self, on_damaged: Callable[[CheckpointDamaged], None]) -> State | None:
        """Return the state of the best checkpoint; None without one, or if it is damaged, which `on_damaged` gets."""
        path = self.folder / BEST
        try:
            return read_finite_checkpoint(path) if path.exists() else None
        except CheckpointDamaged as damage:
            on_damaged(damage)
            return None

    def paths(self) -> list[Path]:
        """Return all checkpoints but the best one, sound or damaged, from the oldest to the newest."""
        moments = {path: moment for path in self.folder.glob("round-*.npz") if (moment := moment_of(path))}
        return sorted(moments, key=moments.__getitem__)


def moment_of(path: Path) -> tuple[int, bool] | None:
    """Return a checkpoint's round and whether that is complete, by the file's name; None for other names."""
    name = _NAME.fullmatch(path.name)
    return None if name is None else (int(name[1]), name[2] is None)


def _write_finite(path: Path, state: State) -> None:
    place = find_not_finite(state)
    if place is not None:
        raise SettingsError(f"{path} is not written: {place} is not finite")
    write_checkpoint(path, state)


def _write(arrays: Mapping[str, NDArray], file: BinaryIO) -> None:
    """Write the archive and its seal into an empty file, without another copy of the arrays in memory."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = bytes(_END_SIZE)
    file.seek(-_END_SIZE, os.SEEK_END)
    file.write(_SEAL % FORMAT)
    digest = _digest(_mapped(file))
    file.write(digest)


def _mapped(file: BinaryIO) -> mmap.mmap | bytes:
    """Return what a file holds, without reading it into memory at once."""
    file.flush()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b""


def _digest(content: mmap.mmap | bytes) -> bytes:
    """Return the checksum of a whole file, which ends in room for it."""
    return sha256(memoryview(content)[:-_DIGEST_SIZE]).hexdigest().encode()


def _move_arrays_out(value: object, place: tuple[str, ...], arrays: dict[str, NDArray]) -> object:
    """Return `value`, found at `place` in the state, with its arrays replaced by references and added to `arrays`."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        name = _member_name(place)
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {_escape_key(key): _move_arrays_out(item, (*place, key), arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_move_arrays_out(item, (*place, str(index)), arrays) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    where = "/".join(place) or "a state"
    raise TypeError(f"{where}: {type(value).__name__} {str(value)[:40]!r} is no JSON value and no array of numbers")


def _member_name(place: tuple[str, ...]) -> str:
    name = "/".join(quote(part, safe="", errors="surrogatepass") for part in place)
    return f"{_STATE}%" if name == _STATE else name  # no quoted name ends like this


def _escape_key(key: str) -> str:
    """Return a key that cannot be mistaken for a reference to an array; `removeprefix` undoes it."""
    return f"{_ARRAY}{key}" if key.startswith(_ARRAY) else key


def _find_damage(content: mmap.mmap | bytes) -> str | None:
    """Return why this is no file that `write_checkpoint` wrote, as the end of a sentence; None if it is one."""
    if not _ARCHIVE.startswith(content[: len(_ARCHIVE)]):
        return "is no checkpoint"
    end = _END.fullmatch(content, max(0, len(content) - _END_SIZE))
    if end is None:
        return "is cut short, or no checkpoint: its checksum is missing"
    if _digest(content) != end[2]:
        return "is damaged: its checksum does not fit"
    if int(end[1]) > FORMAT:
        return f"is of format {int(end[1])}: this version of swarmsim knows none after {FORMAT}"
    return None


def _decode(file: BinaryIO) -> State:
    with zipfile.ZipFile(file) as archive:

        def read_array(name: str) -> NDArray:
            with archive.open(f"{name}.npy") as member:
                return np.lib.format.read_array(member, allow_pickle=False)

        def decode_mapping(encoded: dict[str, Any]) -> object:
            if _ARRAY in encoded:
                return read_array(encoded[_ARRAY])
            return {key.removeprefix(_ARRAY): item for key, item in encoded.items()}

        state = json.loads(read_array(_STATE).tobytes(), object_hook=decode_mapping)
    if not isinstance(state, dict):
        raise TypeError("its state is no mapping")
    return state
