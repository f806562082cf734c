"""The cost of a flooding component for the others: the round trip of a step with it and without it.

Two components exchange requests and replies in a room, like environment and models in a step. A third one sends into
the same room as fast as it can, or, for comparison, only computes: a busy process also takes its share of the cores.
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

SECONDS = 20.0  # limit of each wait
WARM_UP = 50

CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
REQUEST = {"TYPE": CUSTOM.id, "TO_ROOM": "hall", "OBSERVATION": np.zeros(4, np.float32)}
REPLY = {"LOGITS": np.zeros((20, 1, 2), np.float32)}
FLOOD = {"TYPE": CUSTOM.id, "TO_ROOM": "hall", "TEXT": "x" * 57}
BEGIN = {"TYPE": CUSTOM.id, "TO": "third"}


@dataclass(frozen=True)
class Talker(Role):
    """A component that is a function of its client."""

    component: Callable[..., Any]

    def run(self, address: Address, secret: str | None = None) -> None:
        self.component(Client(self.name, *address, secret=secret))


def reply(client: Client) -> None:
    """Reply to each request."""

    def logits(message: dict[str, Any]) -> dict[str, Any] | None:
        return REPLY.copy() if "OBSERVATION" in message else None

    client.add_eventHandler(logits, CUSTOM, "hall", trigger=Trigger(CUSTOM, "hall"))
    client.listen()


def flood(client: Client) -> None:
    """After the message to begin, send into the room forever."""
    wait_for(client, "TO")
    while True:
        client.send(FLOOD)


def compute(client: Client) -> None:
    """After the message to begin, compute forever, and check regularly whether to stop."""
    wait_for(client, "TO")
    while True:
        sum(range(100_000))
        with suppress(WaitTimeout):
            client.receive(1e-6)


def wait_for(client: Client, key: str) -> None:
    """Receive messages until one has this key."""
    while key not in client.receive(SECONDS):
        pass


def round_trip(steps: int, third: Callable[[Client], None] | None) -> float:
    """Return the µs of a round trip, with or without a third component."""
    parts = {"replier": reply} if third is None else {"replier": reply, "third": third}
    with Swarm(None) as swarm:
        address = swarm.serve()
        for name, part in parts.items():
            swarm.add_role(Talker(name=name, component=part, listens=()), address)
        swarm.start()
        with Client("requester", *address) as client:
            client.join_room("hall")
            if third is not None:
                client.send(BEGIN)
            began = time.perf_counter()
            for step in range(WARM_UP + steps):
                if step == WARM_UP:
                    began = time.perf_counter()
                client.send(REQUEST)
                wait_for(client, "LOGITS")
            return (time.perf_counter() - began) / steps * 1e6


ALONE, FLOODED = "none", "floods the room"
THIRD = {ALONE: None, "computes": compute, FLOODED: flood}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Measure the cost of a component that floods a room for two others that exchange messages there.",
        epilog="example, about 2 s: python benchmarks/flood.py --repeats 1 --steps 200",
    )
    parser.add_argument("--repeats", type=int, default=7, help="number of measurements, in turn (default: 7)")
    parser.add_argument("--steps", type=int, default=2000, help="round trips in each measurement (default: 2000)")
    options = parser.parse_args(arguments)
    if min(options.repeats, options.steps) < 1:
        parser.error("--repeats and --steps are at least 1")
    print(machine(), flush=True)
    measured = interleaved(
        options.repeats, {name: partial(round_trip, options.steps, third) for name, third in THIRD.items()}
    )
    rows = [
        [name, *summary(values, "{:.1f}".format), f"{ratio(values, measured[ALONE]):.2f}"]
        for name, values in measured.items()
    ]
    print(table(["third component", "round trip µs", "range", "× alone"], rows))
    print(f"\nflood / no third component: {ratio(measured[FLOODED], measured[ALONE]):.2f} ×")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
