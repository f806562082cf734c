"""Whether all numbers of an array are finite."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def are_finite(array: NDArray[Any]) -> bool:
    """Return whether all numbers of an array are finite; every step asks, and a search in bytes is the cheapest."""
    return 0 not in np.isfinite(array).tobytes()
