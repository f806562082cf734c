"""Rounds as runs have them, and a process that is killed while it writes them."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from swarmsim.results.history import Round

SETTINGS = {"seed": 0, "env": "X-v0", "population": 2, "workers": 1, "link": "queues", "preset": "default"}

SIZE = 1 << 16


def a_round(number: int, **values) -> Round:
    defaults = {
        "round": number,
        "train_score": 10.0,
        "train_returns": [9.0, 11.0],
        "eval_score": 12.0,
        "eval_score_evolved": 13.0,
        "env_steps": 20 * number,
        "seconds": 0.5,
        "steps_per_second": 40.0,
        "contribution": {"model0": 1.0},
        "diversity": 0.1,
        "evolution": {"parents_kept": 1, "crossovers": 0, "mutations": 0},
    }
    return Round(**{**defaults, **values})


def output_of_child(work: Callable[[Callable[[str], None]], None], kill_after: float | None = None) -> list[str]:
    """Run `work(tell)` in a child process, kill it some seconds after its first word, and return all words it sent."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(lambda word: os.write(writing, f"{word}\n".encode()))
        finally:
            os._exit(0)
    os.close(writing)
    output = os.read(reading, SIZE)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.set_blocking(reading, False)  # its own children may live on, and hold the other end
    with suppress(BlockingIOError):
        while more := os.read(reading, SIZE):
            output += more
    os.close(reading)
    return output.decode().splitlines()
