"""The cost of a message on each link: round trip, messages per second, and deliveries to a room of many receivers.

The baseline is a bare multiprocessing.Pipe. Its reader sleeps until a message arrives; a link with a busy-waiting
reader can be faster, but occupies a core. Links are opened anew for each measurement, one at a time, since an idle
process of another link would also be scheduled.
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

SECONDS = 20  # limit of each wait
WARM_UP, BYTES = 20, 150

TEXT, CALLER = MESSAGE_TYPE.DATA.TEXT, "caller"
REQUEST = {"TYPE": TEXT.id, "TO_ROOM": "calls", "DATA": "x" * 57}
EVENT = {**REQUEST, "TO_ROOM": "events"}
REPLY_TEXT = "x" * 31  # a reply also has a ROOT_ID, and is then as long as its request
REQUEST_DICT, EVENT_DICT = ({"ID": "12345-0.1", "SENT_BY": CALLER, **message} for message in (REQUEST, EVENT))
REQUEST_BYTES, EVENT_BYTES = b"?" * BYTES, b"." * BYTES


class Peer(NamedTuple):
    """One end of a link. At the other end, each of `receivers` replies to `request`, and ignores `event`."""

    send: Callable[[Any], object]
    receive: Callable[[], Any]
    request: object
    event: object
    receivers: int = 1

    def exchange(self) -> Any:
        """Send a request, and return the last reply."""
        self.send(self.request)
        for _ in range(self.receivers):
            reply = self.receive()
        return reply


@contextmanager
def swarm(link: Link, receivers: int = 1) -> Iterator[Peer]:
    """Open a link of swarmsim: components that listen, and a client that sends to their room."""
    listens = (
        On("calls", lambda *_: {"DATA": REPLY_TEXT}, "replies", type=TEXT, answer_type=TEXT),
        On("events", lambda *_: None, type=TEXT),
    )
    with Swarm(None, link=link) as components:
        address = components.serve()
        for number in range(receivers):
            components.add_role(Role(f"listener{number}", lambda client, _: client, listens), address)
        components.start()
        with Client(CALLER, *address) as client:
            client.join_room("replies")
            yield Peer(client.send, partial(client.receive, SECONDS), REQUEST, EVENT, receivers)


@contextmanager
def forked(serve: Callable[[Connection], None]) -> Iterator[Connection]:
    """Run `serve` at the other end of a Pipe, in a process that ends with the context."""
    fork = multiprocessing.get_context("fork")
    near, far = fork.Pipe()
    limit = struct.pack("ll", SECONDS, 0)  # enforced by the kernel: a `poll` before each message would be slow
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl+C the parent closes its end
    near.close()
    with suppress(EOFError, OSError):
        serve(far)


def _reply(send: Callable[[Any], object], receive: Callable[[], object], request: object) -> None:
    while message := receive():
        if message == request:
            send(message)


@contextmanager
def pipe(send: Callable[..., None], receive: Callable[..., object], request: object, event: object) -> Iterator[Peer]:
    """Open a bare Pipe, used by these two methods of its ends."""
    with forked(lambda far: _reply(partial(send, far), partial(receive, far), request)) as near:
        yield Peer(partial(send, near), partial(receive, near), request, event)


@contextmanager
def zeromq() -> Iterator[Peer]:
    address = f"ipc://@swarmsim-benchmark-{os.getpid()}"  # in the abstract namespace, so that no file remains

    def serve(_: Connection) -> None:
        with _zeromq_pair() as pair:
            pair.connect(address)
            _reply(pair.send, pair.recv, REQUEST_BYTES)

    with forked(serve), _zeromq_pair() as pair:
        pair.bind(address)
        yield Peer(pair.send, pair.recv, REQUEST_BYTES, EVENT_BYTES)
        pair.send(b"")  # a PAIR does not notice when its peer closes


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
    BARE: partial(pipe, Connection.send_bytes, Connection.recv_bytes, REQUEST_BYTES, EVENT_BYTES),
    "bare Pipe, dict pickled": partial(pipe, Connection.send, Connection.recv, REQUEST_DICT, EVENT_DICT),
    "pyzmq, PAIR over ipc": zeromq,
}
FAN_OUT: dict[str, Opened] = {QUEUES: LINKS[QUEUES], f"{QUEUES}, a room of 20": partial(swarm, "queues", 20)}


def round_trip(messages: int, opened: Opened) -> float:
    """Return the µs of a round trip, over a tenth of `messages` round trips, since each of them waits."""
    number = max(messages // 10, 1)
    with opened() as peer:
        for _ in range(WARM_UP):
            peer.exchange()
        began = time.perf_counter()
        for _ in range(number):
            peer.exchange()
        return (time.perf_counter() - began) / number * 1e6


def deliveries(messages: int, opened: Opened) -> float:
    """Return the deliveries per second; a final round trip ensures that all messages have arrived."""
    with opened() as peer:
        number = max(messages // peer.receivers, 1)
        for _ in range(WARM_UP):
            peer.exchange()
        began = time.perf_counter()
        for _ in range(number):
            peer.send(peer.event)
        peer.exchange()
        return number * peer.receivers / (time.perf_counter() - began)


def show(unit: str, repeats: int, measure: Callable[[Opened], float], links: Mapping[str, Opened], base: str) -> None:
    """Measure `links` in turn, and print their table, with ratios to `base`."""
    available = {name: opened for name, opened in links.items() if opened is not zeromq or find_spec("zmq")}
    measured = interleaved(repeats, {name: partial(measure, opened) for name, opened in available.items()})
    digits, rows = int("µs" in unit), []
    for name in links:
        if values := measured.get(name):
            rows.append([name, *summary(values, f"{{:,.{digits}f}}".format), f"{ratio(values, measured[base]):.2f}"])
        else:
            rows.append([name, "pyzmq is not installed", "", ""])
    print(table(["link", unit, "range", f"× {base}"], rows), end="\n\n", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Measure the cost of a message on each link, compared with a bare multiprocessing.Pipe and pyzmq.",
        epilog="example, about 2 s: python benchmarks/messaging.py --repeats 1 --messages 200",
    )
    parser.add_argument("--repeats", type=int, default=7, help="number of measurements (default: 7)")
    parser.add_argument("--messages", type=int, default=20_000, help="per link and repeat (default: 20000)")
    options = parser.parse_args(arguments)
    if min(options.repeats, options.messages) < 1:
        parser.error("--repeats and --messages are at least 1")
    with swarm("queues") as peer:
        reply = peer.exchange()
    size = len(encode({"ID": reply["ROOT_ID"], "SENT_BY": CALLER, **REQUEST}))
    print(machine())
    print(f"{TEXT.id} in a room: {size} bytes on queues, its reply {len(encode(reply))}; bare bytes: {BYTES}")
    print(f"medians of {options.repeats} repeat(s), links in turn; × is the median of each repeat's ratios\n")
    show("round trip µs", options.repeats, partial(round_trip, options.messages), LINKS, BARE)
    show("messages/s", options.repeats, partial(deliveries, options.messages), LINKS, BARE)
    show("deliveries/s", min(options.repeats, 5), partial(deliveries, options.messages), FAN_OUT, QUEUES)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
