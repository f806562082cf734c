"""One generator per purpose, each derived from the run's seed and a name."""

import json
import zlib

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a generator for a seed and names, independent of all others; for example `generator(0, "model3")`."""
    words = (name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names)
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def rng_state(rng: np.random.Generator) -> str:
    """Return the state of `rng` as JSON."""
    return json.dumps(rng.bit_generator.state)


def restore_rng(rng: np.random.Generator, state: str) -> None:
    """Set `rng` to a state that `rng_state` returned."""
    rng.bit_generator.state = json.loads(state)
