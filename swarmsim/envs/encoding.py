"""Gymnasium's spaces as JSON values, for the files of policies."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from swarmsim.envs.actions import Space

_KINDS: tuple[type[Space], ...] = (
    spaces.Discrete,
    spaces.MultiDiscrete,
    spaces.MultiBinary,
    spaces.Box,
    spaces.Text,
    spaces.Tuple,
    spaces.Dict,
)


def encode_space(space: Space) -> dict[str, Any]:
    """Return a space as JSON values; raises TypeError if it holds a space of another kind than Gymnasium's."""
    fields: dict[str, Any]
    match space:
        case spaces.Discrete():
            kind = {} if space.dtype == np.int64 else {"dtype": str(space.dtype)}
            fields = {"n": int(space.n), "start": int(space.start), **kind}
        case spaces.MultiDiscrete():
            fields = {"nvec": space.nvec.tolist(), "start": space.start.tolist(), "dtype": str(space.dtype)}
        case spaces.MultiBinary():
            fields = {"n": space.n}
        case spaces.Box():
            bounds = {"low": _encode_bound(space.low), "high": _encode_bound(space.high)}
            fields = {**bounds, "shape": list(space.shape), "dtype": str(space.dtype)}
        case spaces.Text():
            lengths = {"min_length": space.min_length, "max_length": space.max_length}
            fields = {**lengths, "charset": "".join(space.character_list)}
        case spaces.Tuple():
            fields = {"spaces": [encode_space(part) for part in space]}
        case spaces.Dict():
            fields = {"spaces": [[name, encode_space(part)] for name, part in space.items()]}
        case _:
            raise TypeError(f"{space} cannot be written to a file")
    return {"space": next(kind.__name__ for kind in _KINDS if isinstance(space, kind)), **fields}


def _encode_bound(bound: NDArray[Any]) -> Any:
    """Return one number for many equal ones, such as those of a picture."""
    is_uniform = bound.size > 0 and (bound == bound.flat[0]).all()
    return bound.flat[0].item() if is_uniform else bound.tolist()


def decode_space(encoded: Mapping[str, Any]) -> Space:
    """Return the space that `encode_space` encoded; raises KeyError, TypeError or ValueError if it encoded none."""
    kinds = {kind.__name__: kind for kind in _KINDS}
    kind, arguments = kinds[encoded["space"]], {key: value for key, value in encoded.items() if key != "space"}
    if kind is spaces.Tuple:
        return spaces.Tuple([decode_space(part) for part in arguments["spaces"]])
    if kind is spaces.Dict:
        return spaces.Dict([(name, decode_space(part)) for name, part in arguments["spaces"]])
    if "dtype" in arguments:
        arguments["dtype"] = np.dtype(arguments["dtype"]).type
    for bound in ("low", "high"):
        if bound in arguments:
            array = np.array(arguments[bound], arguments["dtype"])
            arguments[bound] = np.broadcast_to(array, arguments.get("shape", array.shape))
    arguments.pop("shape", None)
    return kind(**arguments)
