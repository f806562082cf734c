"""What a message costs on each link: its round trip, messages per second, and a room of many receivers.

The bare Pipe beside them is what Python's own message between processes costs. Its reader sleeps until one
comes; a link whose reader stays awake can be faster, and takes a core for it. Every figure is taken between
freshly opened ends, one link at a time: another link's idle process would be one more to be scheduled.
"""

import argparse
import multiprocessing
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from measuring import interleaved, machine, ratio, summary, table

from swarmsim import MESSAGE_TYPE, Client, Swarm
from swarmsim.components.role import On, Role
from swarmsim.messaging.codec import encode
from swarmsim.messaging.links import Link

SECONDS = 20  # no single wait lasts longer
WARM_UP, BYTES = 20, 150

TEXT, CALLER = MESSAGE_TYPE.DATA.TEXT, "caller"
ASKED = {"TYPE": TEXT.id, "TO_ROOM": "calls", "DATA": "x" * 57}
TOLD = {**ASKED, "TO_ROOM": "facts"}
ANSWER_TEXT = "x" * 31  # it goes with a ROOT_ID, and the answer is to be as long as its question
ASKED_DICT, TOLD_DICT = ({"ID": "12345-0.1", "SENT_BY": CALLER, **message} for message in (ASKED, TOLD))
ASKED_BYTES, TOLD_BYTES = b"?" * BYTES, b"." * BYTES


class Peer(NamedTuple):
    """One end of a link; at the other, `receivers` answer each what is `asked`, and nobody what is `told`."""

    send: Callable[[Any], object]
    receive: Callable[[], Any]
    asked: object
    told: object
    receivers: int = 1

    def ask(self) -> Any:
        """Return the last of all answers."""
        self.send(self.asked)
        for _ in range(self.receivers):
            answer = self.receive()
        return answer


@contextmanager
def swarm(link: Link, receivers: int = 1) -> Iterator[Peer]:
    """Open a link of swarmsim as its users do: components that listen, and a client that talks to their room."""
    listens = (
        On("calls", lambda *_: {"DATA": ANSWER_TEXT}, "answers", type=TEXT, answer_type=TEXT),
        On("facts", lambda *_: None, type=TEXT),
    )
    with Swarm(None, link=link) as components:
        address = components.serve()
        for number in range(receivers):
            components.add_role(Role(f"listener{number}", lambda client, _: client, listens), address)
        components.start()
        with Client(CALLER, *address) as client:
            client.join_room("answers")
            yield Peer(client.send, partial(client.receive, SECONDS), ASKED, TOLD, receivers)


@contextmanager
def forked(serve: Callable[[Connection], None]) -> Iterator[Connection]:
    """Run `serve` at the other end of a Pipe, in a process that is gone afterwards, whatever happens."""
    fork = multiprocessing.get_context("fork")
    near, far = fork.Pipe()
    limit = struct.pack("ll", SECONDS, 0)  # kept by the kernel: a `poll` before each message would cost as much
    for end in (near, far):
        with socket.socket(fileno=os.dup(end.fileno())) as same_end:
            same_end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            same_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    process = fork.Process(target=_child, args=(serve, near, far), daemon=True)
    process.start()
    far.close()
    try:
        yield near
    finally:
        near.close()
        process.join(1)
        process.kill()
        process.join(SECONDS)


def _child(serve: Callable[[Connection], None], near: Connection, far: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent, whose end closes then
    near.close()
    with suppress(EOFError, OSError):
        serve(far)


def _answer(send: Callable[[Any], object], receive: Callable[[], object], asked: object) -> None:
    while message := receive():
        if message == asked:
            send(message)


@contextmanager
def pipe(send: Callable[..., None], receive: Callable[..., object], asked: object, told: object) -> Iterator[Peer]:
    """Open a bare Pipe that is used by these two methods of its ends."""
    with forked(lambda far: _answer(partial(send, far), partial(receive, far), asked)) as near:
        yield Peer(partial(send, near), partial(receive, near), asked, told)


@contextmanager
def zeromq() -> Iterator[Peer]:
    address = f"ipc://@swarmsim-benchmark-{os.getpid()}"  # abstract: there is no file to be left behind

    def serve(_: Connection) -> None:
        with _zeromq_pair() as pair:
            pair.connect(address)
            _answer(pair.send, pair.recv, ASKED_BYTES)

    with forked(serve), _zeromq_pair() as pair:
        pair.bind(address)
        yield Peer(pair.send, pair.recv, ASKED_BYTES, TOLD_BYTES)
        pair.send(b"")  # a PAIR does not notice that the other one closes


@contextmanager
def _zeromq_pair() -> Iterator[Any]:
    import zmq

    with zmq.Context() as context, context.socket(zmq.PAIR) as pair:
        pair.linger = 1000
        pair.rcvtimeo = pair.sndtimeo = SECONDS * 1000
        yield pair


BARE, QUEUES = "bare Pipe, bytes", "queues"
Opened = Callable[[], AbstractContextManager[Peer]]
LINKS: dict[str, Opened] = {
    QUEUES: partial(swarm, "queues"),
    "inprocess (both ends in one)": partial(swarm, "inprocess"),
    BARE: partial(pipe, Connection.send_bytes, Connection.recv_bytes, ASKED_BYTES, TOLD_BYTES),
    "bare Pipe, dict pickled": partial(pipe, Connection.send, Connection.recv, ASKED_DICT, TOLD_DICT),
    "pyzmq, PAIR over ipc": zeromq,
}
FAN_OUT: dict[str, Opened] = {QUEUES: LINKS[QUEUES], f"{QUEUES}, a room of 20": partial(swarm, "queues", 20)}


def round_trip(messages: int, opened: Opened) -> float:
    """Return the µs from a question to its answer; a tenth as many as `messages`, since each of them waits."""
    number = max(messages // 10, 1)
    with opened() as peer:
        for _ in range(WARM_UP):
            peer.ask()
        began = time.perf_counter()
        for _ in range(number):
            peer.ask()
        return (time.perf_counter() - began) / number * 1e6


def deliveries(messages: int, opened: Opened) -> float:
    """Return the deliveries per second; the answers to a last question tell that all have arrived."""
    with opened() as peer:
        number = max(messages // peer.receivers, 1)
        for _ in range(WARM_UP):
            peer.ask()
        began = time.perf_counter()
        for _ in range(number):
            peer.send(peer.told)
        peer.ask()
        return number * peer.receivers / (time.perf_counter() - began)


def show(unit: str, repeats: int, measure: Callable[[Opened], float], links: Mapping[str, Opened], base: str) -> None:
    """Measure `links` in turn, and print their table, each beside `base`."""
    there = {name: opened for name, opened in links.items() if opened is not zeromq or find_spec("zmq")}
    taken = interleaved(repeats, {name: partial(measure, opened) for name, opened in there.items()})
    digits, rows = int("µs" in unit), []
    for name in links:
        if figures := taken.get(name):
            rows.append([name, *summary(figures, f"{{:,.{digits}f}}".format), f"{ratio(figures, taken[base]):.2f}"])
        else:
            rows.append([name, "pyzmq is not installed", "", ""])
    print(table(["link", unit, "range", f"× {base}"], rows), end="\n\n", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Measure what a message costs on each link, beside a bare multiprocessing.Pipe and pyzmq.",
        epilog="example, about 2 s: python benchmarks/messaging.py --repeats 1 --messages 200",
    )
    parser.add_argument("--repeats", type=int, default=7, help="how often all is measured (default: 7)")
    parser.add_argument("--messages", type=int, default=20_000, help="per link and repeat (default: 20000)")
    options = parser.parse_args(arguments)
    if min(options.repeats, options.messages) < 1:
        parser.error("--repeats and --messages are at least 1")
    with swarm("queues") as peer:
        answer = peer.ask()
    asked = len(encode({"ID": answer["ROOT_ID"], "SENT_BY": CALLER, **ASKED}))
    print(machine())
    print(f"{TEXT.id} in a room: {asked} bytes on queues, its answer {len(encode(answer))}; bare bytes: {BYTES}")
    print(f"medians of {options.repeats} repeat(s), links in turn; × is the median of each repeat's ratios\n")
    show("round trip µs", options.repeats, partial(round_trip, options.messages), LINKS, BARE)
    show("messages/s", options.repeats, partial(deliveries, options.messages), LINKS, BARE)
    show("deliveries/s", min(options.repeats, 5), partial(deliveries, options.messages), FAN_OUT, QUEUES)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
