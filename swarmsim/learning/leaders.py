"""Who leads an episode: one model that decides alone in it, so that its return tells what the model is worth.

As each head of Bootstrapped DQN plays episodes of its own (Osband et al. 2016, arXiv 1602.04621, algorithm 1).
"""

from functools import lru_cache

from swarmsim.learning.decision import NO_LEADER
from swarmsim.learning.seeding import generator


@lru_cache(maxsize=1024)
def leader(seed: int, episode: int, n_models: int, led_fraction: float) -> int:
    """Return which of `n_models` leads a training episode, or NO_LEADER; in turn, by an order drawn for each turn."""
    if generator(seed, "led", episode).random() >= led_fraction:
        return NO_LEADER
    turn, place = divmod(episode, n_models)
    return int(generator(seed, "leaders", turn).permutation(n_models)[place])
