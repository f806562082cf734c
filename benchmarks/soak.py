"""Clients that talk at one server for long: whether every message arrives, and what the server holds after how long.

Each client asks in its room, and asks on once all who heard it have answered, directly; so nobody floods. Some only
answer, and leave the swarm and come back again and again. A question also goes to its asker: what it hears of its room
before that tells who was there then, and so how many deliveries are expected.
"""

import argparse
import multiprocessing
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine, table

from swarmsim import MESSAGE_TYPE, Client, Server
from swarmsim.errors import WaitTimeout
from swarmsim.messaging.endpoint import Address

CUSTOM, COMMAND = MESSAGE_TYPE.DATA.CUSTOM, MESSAGE_TYPE.COMMAND
SECONDS = 60.0  # no single wait lasts longer
LOOK_SECONDS = 0.2
IN_A_ROOM, COMES_AND_GOES, STAYS_FOR = 10, 10, 50  # clients, one of so many, questions
N_PROCESSES = 5
LOOKS, WARM_UP = 12, 0.25  # at the server; the share of them until which it may grow
GROWN_MIB = 4.0

ROOM, DIRECT, OWN = "to rooms", "direct", "to the sender itself"
Message = dict[str, Any]


@dataclass
class Everybody:
    """What all clients of all processes share."""

    are_there: Any
    know_each_other: Any
    n_asking: Any
    end: float


class Talker:
    """One client: `sent` messages and the deliveries `expected` of them, and those `received`, by kind."""

    def __init__(self, number: int, address: Address) -> None:
        self.name = f"client{number}"
        self.room = f"room{number // IN_A_ROOM}"
        self.address = address
        self.sent: Counter[str] = Counter()
        self.expected: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.n_returns = 0
        self.present: set[str] = set()
        self.missing: set[str] | None = None
        self.number = 0
        self.client = self._come()

    def _come(self) -> Client:
        client = Client(self.name, *self.address)
        client.join_room(self.room)
        return client

    # --- one that stays, and asks

    def ask_until(self, everybody: Everybody) -> None:
        """Ask, and answer the others, until all have asked their last question."""
        everybody.are_there.wait(SECONDS)
        self.present = {member.name for member in self.client.rooms().in_room(self.room)} - {self.name}
        everybody.know_each_other.wait(SECONDS)
        while time.monotonic() < everybody.end:
            self._ask()
            asked = time.monotonic()
            while self.missing is None or self.missing:
                assert time.monotonic() < asked + SECONDS, f"{self.name} waits for {self.missing} in vain"
                self._next()
        self._answer_the_others(everybody)

    def _answer_the_others(self, everybody: Everybody) -> None:
        with everybody.n_asking.get_lock():
            everybody.n_asking.value -= 1
        while everybody.n_asking.value:
            self._next()
        self._take_all()

    def _ask(self) -> None:
        self.number += 1
        self.missing = None
        question = {"TYPE": CUSTOM.id, "TO_ROOM": self.room, "TO": self.name, "QUESTION": self.number}
        self.client.send({**question, "OBSERVATION": np.full(4, self.number, np.float32)})
        self.sent += Counter((ROOM, OWN))

    # --- one that comes and goes, and only answers

    def come_and_go(self, everybody: Everybody) -> None:
        """Answer, leave and come back, until all have asked their last question."""
        everybody.are_there.wait(SECONDS)
        everybody.know_each_other.wait(SECONDS)
        while everybody.n_asking.value:
            until = self.received[ROOM] + STAYS_FOR
            while everybody.n_asking.value and self.received[ROOM] < until:
                self._next()
            self.client.leave_room(self.room)
            self._take_all()
            self.client.close()
            self.client = self._come()
            self.n_returns += 1

    # --- both

    def _take_all(self) -> None:
        """Take what has been sent to this client by now."""
        self.client.unread_members()  # its answer comes after everything else
        with suppress(WaitTimeout):
            while True:
                self._take(self.client.receive(1e-3))

    def _next(self) -> None:
        with suppress(WaitTimeout):
            self._take(self.client.receive(LOOK_SECONDS))

    def _take(self, message: Message) -> None:
        kind = message["TYPE"]
        if kind == COMMAND.JOINROOM.id and message["ROOM"] == self.room:
            self.present.add(message["SENT_BY"])
        elif (kind == COMMAND.LEAVEROOM.id and message["ROOM"] == self.room) or kind == COMMAND.DISCONNECT.id:
            self.present.discard(message["SENT_BY"])
        elif "ANSWER" in message:
            self._take_answer(message)
        elif "QUESTION" in message:
            assert (message["OBSERVATION"] == message["QUESTION"]).all()
            if message["SENT_BY"] == self.name:
                self._take_own(message)
            else:
                self.received[ROOM] += 1
                answer = {"TYPE": CUSTOM.id, "TO": message["SENT_BY"], "ANSWER": message["QUESTION"]}
                self.client.send(answer)
                self.sent[DIRECT] += 1
                self.expected[DIRECT] += 1

    def _take_own(self, message: Message) -> None:
        """Know who was in the room when the server passed this question on: they have it, and will answer."""
        assert message["QUESTION"] == self.number
        self.received[OWN] += 1
        self.expected += Counter({ROOM: len(self.present), OWN: 1})
        self.missing = set(self.present)

    def _take_answer(self, message: Message) -> None:
        self.received[DIRECT] += 1
        assert self.missing is not None, "an answer came before the question itself"
        assert (message["ANSWER"], message["SENT_BY"] in self.missing) == (self.number, True), "answered twice"
        self.missing.remove(message["SENT_BY"])


def serve(pipe: Connection) -> None:
    """Be the server of an address that is free, and tell it."""
    server = Server("127.0.0.1", 0)
    pipe.send(server.address)
    server.start()


def talk(pipe: Connection, numbers: Sequence[int], address: Address, everybody: Everybody) -> None:
    """Be these clients, each in a thread, and tell what they counted, or what went wrong."""
    talkers = [Talker(number, address) for number in numbers]

    def run(part: Callable[[Everybody], None]) -> None:
        try:
            part(everybody)
        except BaseException:
            pipe.send(traceback.format_exc())
            raise

    parts = [talker.come_and_go if goes(n) else talker.ask_until for n, talker in zip(numbers, talkers, strict=True)]
    threads = [threading.Thread(target=run, args=(part,), daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for talker in talkers:
        talker.client.close()
    counts: list[Counter[str]] = [Counter(), Counter(), Counter()]
    for talker in talkers:
        for counted, own in zip(counts, (talker.sent, talker.expected, talker.received), strict=True):
            counted.update(own)
    pipe.send((*counts, sum(talker.n_returns for talker in talkers)))


def goes(number: int) -> bool:
    return number % COMES_AND_GOES == COMES_AND_GOES - 1


FORK = multiprocessing.get_context("fork")


@contextmanager
def process(run: Callable[..., None], *arguments: object) -> Iterator[tuple[ForkProcess, Connection]]:
    """Run a function in a process that ends with the block, or with this process; it tells through the pipe."""
    near, far = FORK.Pipe()

    def child() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent, who then ends all
        near.close()
        run(far, *arguments)

    started = FORK.Process(target=child, daemon=True)
    started.start()
    far.close()
    try:
        yield started, near
    finally:
        started.terminate()
        started.join(SECONDS)
        near.close()


def held(process_id: int) -> tuple[float, int]:
    """Return a process's memory in MiB, and its descriptors."""
    status = Path(f"/proc/{process_id}/status").read_text().splitlines()
    resident = next(line.split()[1] for line in status if line.startswith("VmRSS"))
    return int(resident) / 1024, len(list(Path(f"/proc/{process_id}/fd").iterdir()))


class TalkFailed(Exception):
    """What a client did not bear."""


class Soaked:
    """What came of it: looks at the server (seconds, MiB, descriptors), and counts by kind."""

    def __init__(self) -> None:
        self.looks: list[tuple[float, float, int]] = []
        self.sent: Counter[str] = Counter()
        self.expected: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.n_returns = 0
        self.began = time.monotonic()

    def look(self, process_id: int) -> None:
        self.looks.append((time.monotonic() - self.began, *held(process_id)))

    def take(self, pipe: Connection) -> None:
        """Add what one process counted.

        Raises:
            TalkFailed: a client failed.
        """
        try:
            told = pipe.recv()
        except EOFError:
            raise TalkFailed("a process of clients ended early") from None
        if isinstance(told, str):
            raise TalkFailed(told)
        for own, one in zip((self.sent, self.expected, self.received), told[:3], strict=True):
            own.update(one)
        self.n_returns += told[3]

    @property
    def faults(self) -> list[str]:
        """Return what is not as it should be."""
        faults = [f"{kind}: expected is not received" for kind in KINDS if self.expected[kind] != self.received[kind]]
        faults += [f"{kind}: nothing was sent" for kind in KINDS if not self.sent[kind]]
        warm = self.looks[int(len(self.looks) * WARM_UP)][1]
        if self.looks[-1][1] > warm + GROWN_MIB:
            faults.append(f"the server's memory has grown by more than {GROWN_MIB:g} MiB")
        if self.looks[-1][2] > self.looks[0][2]:
            faults.append("the server holds descriptors of clients that have gone")
        return faults


KINDS = ROOM, DIRECT, OWN


def soak(n_clients: int, seconds: float) -> Soaked:
    """Have so many clients talk for so long."""
    soaked = Soaked()
    with process(serve) as (server, told):
        assert told.poll(SECONDS), "the server does not start"
        address = told.recv()
        Client("first", *address).close()  # now the server serves, and has all descriptors of its own
        soaked.look(server.pid or 0)
        n_askers = n_clients - sum(map(goes, range(n_clients)))
        everybody = Everybody(
            FORK.Barrier(n_clients), FORK.Barrier(n_clients), FORK.Value("i", n_askers), time.monotonic() + seconds
        )
        n_processes = min(N_PROCESSES, n_clients)
        with ExitStack() as stack:
            talks = [(range(first, n_clients, n_processes), address, everybody) for first in range(n_processes)]
            running = [stack.enter_context(process(talk, *arguments))[1] for arguments in talks]
            while running:
                ready = wait(running, seconds / LOOKS)
                if not ready:
                    soaked.look(server.pid or 0)
                for pipe in ready:
                    assert isinstance(pipe, Connection)
                    soaked.take(pipe)
                    running.remove(pipe)
        soaked.look(server.pid or 0)
    return soaked


def report(soaked: Soaked) -> str:
    """Return the tables: messages by kind, and what the server held when."""
    counts = [
        [kind, f"{soaked.sent[kind]:,}", f"{soaked.expected[kind]:,}", f"{soaked.received[kind]:,}"] for kind in KINDS
    ]
    looks = [[f"{seconds:.0f} s", f"{mib:.1f}", descriptors] for seconds, mib, descriptors in soaked.looks]
    return "\n\n".join(
        [
            f"clients came back {soaked.n_returns:,} times",
            table(["messages", "sent", "deliveries expected", "received"], counts),
            table(["after", "server's memory, MiB", "its descriptors"], looks),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Have them talk, print what came of it, and return the exit status."""
    parser = argparse.ArgumentParser(
        description="Have clients talk at one server by TCP, and look whether every message arrives and memory stays.",
        epilog="example: python benchmarks/soak.py --clients 50 --minutes 10",
    )
    parser.add_argument("--clients", type=int, default=50, help=f"in rooms of {IN_A_ROOM} (default: 50)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    given = parser.parse_args(arguments)
    if given.clients < 2 or given.minutes <= 0:
        parser.error("--clients is at least 2, and --minutes above 0")
    print(f"{machine()}; {given.clients} clients, {given.minutes:g} minutes", flush=True)
    try:
        soaked = soak(given.clients, given.minutes * 60)
    except KeyboardInterrupt:
        return 130
    except TalkFailed as error:
        print(f"soak.py: {error}", file=sys.stderr)
        return 1
    print(report(soaked))
    for fault in soaked.faults:
        print(f"soak.py: {fault}", file=sys.stderr)
    return int(bool(soaked.faults))


if __name__ == "__main__":
    sys.exit(main())
