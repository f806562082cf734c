"""Chooses the link of an address, for each `Client` and `Server`."""

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

# Programs without a launcher find each other by TCP.
_SERVED_LINK: ContextVar[Link] = ContextVar("served_link", default="sockets")


class AddressServer(Protocol):
    """Holds an address. `needs_process`: whether serving occupies a process."""

    address: Address
    needs_process: bool

    def serve(self) -> None:
        """Serve until closed, or until this process is asked to stop."""

    def serve_in_background(self) -> None:
        """Serve until closed, without blocking."""

    def close(self) -> None:
        """Release the address; a second call does nothing."""


@contextmanager
def serving_on(link: Link) -> Iterator[None]:
    """Serve on `link` in each `Server` that is created within the context."""
    token = _SERVED_LINK.set(link)
    try:
        yield
    finally:
        _SERVED_LINK.reset(token)


def serve_on(link: Link) -> None:
    """Serve on `link` in each `Server` that is created from now on."""
    _SERVED_LINK.set(link)


def served_link() -> Link:
    """Return the link that a new `Server` serves on."""
    return _SERVED_LINK.get()


def serve(
    address: Address, wire: Wire | None = None, secret: str | None = None, *, insecure: bool = False
) -> AddressServer:
    """Hold `address` on this process's link, as `SocketServer` does; raises AddressError if that is not possible."""
    match served_link():
        case "inprocess":
            return InprocessHub(address)
        case "queues":
            return QueuesServer(address)
        case "sockets":
            return SocketServer(address, wire, secret=secret, insecure=insecure)


def serve_any(server: str) -> AddressServer:
    """Hold an address of `server` with a free port, on the link that this process serves on."""
    if served_link() == "sockets":
        return serve((server, 0))
    for port in count(os.getpid()):
        with suppress(AddressError):
            return serve((server, port))
    raise AssertionError("count() never ends")


def connect(address: Address, name: str, wire: Wire, secret: str | None = None) -> Endpoint:
    """Return an endpoint of the swarm in this process, on this host or by TCP; raises AddressError if none runs."""
    hub = find_hub(address)
    if hub is not None:
        return InprocessEndpoint(hub, name)
    return QueuesEndpoint(address, name) if is_served_here(address) else SocketsEndpoint(address, name, wire, secret)


def private_directory(address: Address) -> Path | None:
    """Return the directory that a swarm on this host has until it stops, or None; raises as `is_served_here`."""
    if find_hub(address) is None:
        with suppress(FileNotFoundError):
            directory = directory_of(address)
            return directory if (directory / "state").is_dir() else None
    return None
