"""One generator per purpose, each derived from the run's seed and a name."""

import zlib

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a generator that only these names get under this seed, for example `generator(0, "model3")`."""
    words = (name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names)
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))
