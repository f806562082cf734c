"""Large arrays between components: genomes go in several messages, and a state's arrays in files or in parts.

A state's large arrays go through files where asker and asked share the swarm's directory, and else in parts before the
message that holds the rest.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import Fields, integer, invalid_field, numbers, text
from swarmsim.messaging.client import Client
from swarmsim.messaging.links import private_directory
from swarmsim.messaging.message import MESSAGE_TYPE, Message, MessageType, root_id

PART_BYTES = 1 << 25  # of arrays in one message, unless a single model has more
LARGE_BYTES = 1 << 22  # of an array that does not go in the message of its state

_LARGE = "@large"  # stands for a large array: its file or the number of its parts, its dtype and its shape
STATE_PART = "STATE_PART"  # the number of a part within its answer


def in_groups(number: int, bytes_of_one: int) -> Iterator[slice]:
    """Return `number` items in groups of at most PART_BYTES, or of one item where that has more."""
    size = max(1, PART_BYTES // max(bytes_of_one, 1))
    return (slice(start, start + size) for start in range(0, number, size))


def by_rows(fields: Mapping[str, Sequence[Any] | NDArray[Any]]) -> Iterator[Fields]:
    """Return fields that each have a row for the same models in groups of models, as `in_groups`."""
    number = len(next(iter(fields.values())))
    n_bytes = sum(value.nbytes for value in fields.values() if isinstance(value, np.ndarray))
    for rows in in_groups(number, n_bytes // number):
        yield {key: value[rows] for key, value in fields.items()}


def send_answer(
    client: Client, request: Message, fields: Mapping[str, Any], type: MessageType = MESSAGE_TYPE.DATA.CUSTOM
) -> None:
    """Send one of several answers to a request; `fields` hold its address."""
    client.send({"TYPE": type.id, "ROOT_ID": root_id(request), **fields})


def lift_large(client: Client, request: Message, state: Mapping[str, Any]) -> Any:
    """Return `state` for an answer to `request`, once its large arrays are on their way."""
    directory = private_directory(client.address)
    address = {"TO": text(request, "SENT_BY")}
    names = (f"{client.name}.{number}.large" for number in count())
    part_numbers = count()

    def lift(array: NDArray[Any]) -> Fields:
        form = array.dtype.str, list(array.shape)
        if directory is not None:
            name = next(names)
            with suppress(OSError):  # where the disk is full, the array goes in parts
                array.tofile(directory / "state" / name)
                return {_LARGE: [name, *form]}
            (directory / "state" / name).unlink(missing_ok=True)
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        parts = [flat[some] for some in in_groups(flat.size, 1)]
        for part in parts:
            fields = {STATE_PART: next(part_numbers), "BYTES": part, **address}
            send_answer(client, request, fields, MESSAGE_TYPE.COMMAND.CUSTOM)
        return {_LARGE: [len(parts), *form]}

    return _replace(state, lambda item: isinstance(item, np.ndarray) and item.nbytes > LARGE_BYTES, lift)


class StateReader:
    """Puts the states together that components send."""

    def __init__(self, client: Client) -> None:
        self._directory = private_directory(client.address)
        self._parts: defaultdict[str, deque[NDArray[np.uint8]]] = defaultdict(deque)

    def read(self, message: Message) -> Any | None:
        """Return the state that a message completes; None for another message, and for a part.

        Raises:
            MessageRefused: the state cannot be put together.
        """
        parts = self._parts[text(message, "SENT_BY")]
        if STATE_PART in message:
            if integer(message, STATE_PART) == 0:
                parts.clear()  # of an answer whose sender died
            parts.append(numbers(message, "BYTES", np.uint8))
        if "STATE" not in message:
            return None

        def put_back(item: Mapping[str, Any]) -> NDArray[Any]:
            where, dtype, shape = item[_LARGE]
            if np.dtype(dtype).kind not in "biufc":
                raise TypeError(dtype)
            if isinstance(where, int):
                joined = np.concatenate([parts.popleft() for _ in range(where)])
                return joined.view(dtype).reshape(shape)
            if self._directory is None or Path(where).name != where:
                raise FileNotFoundError(where)
            path = self._directory / "state" / where
            array = np.memmap(path, dtype, "r", shape=tuple(shape)).view(np.ndarray)
            path.unlink()  # it lasts as long as the array
            return array

        try:
            return _replace(
                message["STATE"], lambda item: isinstance(item, Mapping) and item.keys() == {_LARGE}, put_back
            )
        except (OSError, ValueError, TypeError, IndexError) as error:
            raise invalid_field({**message, "STATE": str(error)}, "STATE", "complete with its arrays") from None


def _replace(value: Any, is_replaced: Callable[[Any], bool], replacement: Callable[[Any], Any]) -> Any:
    """Return `value` with each item in it that `is_replaced` replaced, in the order of the items."""
    if is_replaced(value):
        return replacement(value)
    if isinstance(value, Mapping):
        return {key: _replace(item, is_replaced, replacement) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace(item, is_replaced, replacement) for item in value]
    return value
