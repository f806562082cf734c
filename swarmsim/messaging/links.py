"""Which link an address leads to: this one choice for every `Client` and `Server`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Literal, Protocol

from swarmsim.errors import AddressError
from swarmsim.messaging.endpoint import Address, Endpoint
from swarmsim.messaging.inprocess import InprocessEndpoint, InprocessHub, find_hub
from swarmsim.messaging.queues.directory import QueuesServer, directory_of, is_served_here
from swarmsim.messaging.queues.endpoint import QueuesEndpoint
from swarmsim.messaging.sockets.endpoint import SocketsEndpoint
from swarmsim.messaging.sockets.server import SocketServer
from swarmsim.messaging.sockets.wire import Wire

Link = Literal["inprocess", "queues", "sockets"]

# A program that nobody launched is one of several that find each other by TCP.
_SERVED_LINK: ContextVar[Link] = ContextVar("served_link", default="sockets")


class Served(Protocol):
    """An address that is held; whether to serve it takes a process that stays."""

    address: Address
    takes_a_process: bool

    def serve(self) -> None:
        """Serve until closed, or until this process is asked to stop."""

    def serve_beside(self) -> None:
        """Serve until closed, beside what this process does otherwise."""

    def close(self) -> None:
        """Let go of the address; a second call does nothing."""


@contextmanager
def serving_on(link: Link) -> Iterator[None]:
    """Have every `Server` made within serve on `link`."""
    token = _SERVED_LINK.set(link)
    try:
        yield
    finally:
        _SERVED_LINK.reset(token)


def serve_on(link: Link) -> None:
    """Have every `Server` made from now on serve on `link`."""
    _SERVED_LINK.set(link)


def served_link() -> Link:
    """Return the link that a `Server` made now serves on."""
    return _SERVED_LINK.get()


def serve(address: Address, wire: Wire | None = None, secret: str | None = None, *, insecure: bool = False) -> Served:
    """Hold `address` on the link that this process serves on.

    Args:
        wire, secret, insecure: of the sockets link, as `SocketServer` has them; other links need none.

    Raises:
        AddressError: it is held already, or must not be served as it stands.
    """
    match served_link():
        case "inprocess":
            return InprocessHub(address)
        case "queues":
            return QueuesServer(address)
        case "sockets":
            return SocketServer(address, wire, secret=secret, insecure=insecure)


def serve_any(server: str) -> Served:
    """Hold an address of `server` that nobody holds, on the link that this process serves on."""
    if served_link() == "sockets":
        return serve((server, 0))
    for port in count(os.getpid()):
        with suppress(AddressError):
            return serve((server, port))
    raise AssertionError("count() never ends")


def connect(address: Address, name: str, wire: Wire, secret: str | None = None) -> Endpoint:
    """Return an end of the swarm that runs at `address`: in this process, else on this host, else by TCP.

    Raises:
        AddressError: no swarm runs there.
    """
    hub = find_hub(address)
    if hub is not None:
        return InprocessEndpoint(hub, name)
    return QueuesEndpoint(address, name) if is_served_here(address) else SocketsEndpoint(address, name, wire, secret)


def private_directory(address: Address) -> Path | None:
    """Return the directory on this host that belongs to the swarm at `address` and goes with it; None where none does.

    Raises:
        AddressError: it is no address.
    """
    directory = directory_of(address)
    return directory if find_hub(address) is None and (directory / "kept").is_dir() else None
