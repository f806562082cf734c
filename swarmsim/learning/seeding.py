"""One generator per purpose, each derived from the run's seed and a name."""

import json
import zlib

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a generator that only these names get under this seed, for example `generator(0, "model3")`."""
    words = (name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names)
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def saved(rng: np.random.Generator) -> str:
    """Return where `rng` stands, as a text."""
    return json.dumps(rng.bit_generator.state)


def restore(rng: np.random.Generator, text: str) -> None:
    """Have `rng` go on from where `saved` found it."""
    rng.bit_generator.state = json.loads(text)
