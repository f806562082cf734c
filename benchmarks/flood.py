"""What a component that floods a room costs the others: the round trip of a step beside it, and without it.

Two components ask and answer in a room, as environment and models do in a step. A third one sends into the same room
as fast as it can, or, for comparison, does nothing but compute: a busy process alone takes its share of the cores.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from measuring import interleaved, machine, ratio, summary, table

from swarmsim import MESSAGE_TYPE, Client, Swarm, Trigger
from swarmsim.components.role import Role
from swarmsim.errors import WaitTimeout
from swarmsim.messaging.endpoint import Address

SECONDS = 20.0  # no single wait lasts longer
WARM_UP = 50

CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
ASKED = {"TYPE": CUSTOM.id, "TO_ROOM": "hall", "OBSERVATION": np.zeros(4, np.float32)}
ANSWER = {"LOGITS": np.zeros((20, 1, 2), np.float32)}
FLOOD = {"TYPE": CUSTOM.id, "TO_ROOM": "hall", "TEXT": "x" * 57}
BEGIN = {"TYPE": CUSTOM.id, "TO": "third"}


@dataclass(frozen=True)
class Talker(Role):
    """A component that is a function of its client."""

    component: Callable[..., Any]

    def run(self, address: Address, secret: str | None = None) -> None:
        self.component(Client(self.name, *address, secret=secret))


def answer(client: Client) -> None:
    """Answer whoever asks."""

    def logits(message: dict[str, Any]) -> dict[str, Any] | None:
        return ANSWER.copy() if "OBSERVATION" in message else None

    client.add_eventHandler(logits, CUSTOM, "hall", trigger=Trigger(CUSTOM, "hall"))
    client.listen()


def flood(client: Client) -> None:
    """Once asked to begin, send into the room for ever."""
    wait_for(client, "TO")
    while True:
        client.send(FLOOD)


def compute(client: Client) -> None:
    """Once asked to begin, do sums for ever, with a look now and then whether to stop."""
    wait_for(client, "TO")
    while True:
        sum(range(100_000))
        with suppress(WaitTimeout):
            client.receive(1e-6)


def wait_for(client: Client, key: str) -> None:
    """Pass over all messages up to one that has this key."""
    while key not in client.receive(SECONDS):
        pass


def round_trip(steps: int, third: Callable[[Client], None] | None) -> float:
    """Return the µs from a question to its answer, beside a third component or none."""
    parts = {"answerer": answer} if third is None else {"answerer": answer, "third": third}
    with Swarm(None) as swarm:
        address = swarm.serve()
        for name, part in parts.items():
            swarm.add_role(Talker(name=name, component=part, listens=()), address)
        swarm.start()
        with Client("asker", *address) as client:
            client.join_room("hall")
            if third is not None:
                client.send(BEGIN)
            began = time.perf_counter()
            for step in range(WARM_UP + steps):
                if step == WARM_UP:
                    began = time.perf_counter()
                client.send(ASKED)
                wait_for(client, "LOGITS")
            return (time.perf_counter() - began) / steps * 1e6


ALONE, FLOODED = "nobody", "one that floods the room"
BESIDE = {ALONE: None, "one that computes": compute, FLOODED: flood}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Measure what a component that floods a room costs two others that ask and answer there.",
        epilog="example, about 2 s: python benchmarks/flood.py --repeats 1 --steps 200",
    )
    parser.add_argument("--repeats", type=int, default=7, help="how often all is measured, in turn (default: 7)")
    parser.add_argument("--steps", type=int, default=2000, help="round trips each time (default: 2000)")
    options = parser.parse_args(arguments)
    if min(options.repeats, options.steps) < 1:
        parser.error("--repeats and --steps are at least 1")
    print(machine(), flush=True)
    taken = interleaved(
        options.repeats, {name: partial(round_trip, options.steps, third) for name, third in BESIDE.items()}
    )
    rows = [
        [name, *summary(figures, "{:.1f}".format), f"{ratio(figures, taken[ALONE]):.2f}"]
        for name, figures in taken.items()
    ]
    print(table(["beside", "round trip µs", "range", "× alone"], rows))
    print(f"\nwith a flood against without: {ratio(taken[FLOODED], taken[ALONE]):.2f} ×")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
