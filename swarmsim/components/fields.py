"""What the fields of a message hold, whichever of their forms a component sent."""

from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from swarmsim.messaging.message import Message

Scalar = TypeVar("Scalar", bound=np.generic)


def component_ids(message: Message) -> list[str]:
    """Return the components that a message speaks for: one process can answer for several."""
    ids = message["COMPONENT_ID"]
    return [ids] if isinstance(ids, str) else list(ids)


@lru_cache(maxsize=1 << 14)
def component_order(component_id: str) -> tuple[object, ...]:
    """Sort key of component ids, numbers by value: model2 comes before model10."""
    text = component_id.rstrip("0123456789")
    digits = component_id[len(text) :]
    return text, int(digits) if digits else -1, digits


def by_environment(value: object, dtype: type[Scalar]) -> NDArray[Scalar]:
    """Return a value for each of N environments, (N,); with one environment a single value may stand for itself."""
    return np.asarray(value, dtype).reshape(-1)
