"""Which link an address leads to: this one choice for every `Client` and `Server`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Literal, Protocol

from swarmsim.errors import AddressError
from swarmsim.messaging.address import Claim, directory_of
from swarmsim.messaging.endpoint import Address, Endpoint
from swarmsim.messaging.inprocess import InprocessEndpoint, InprocessHub, find_hub
from swarmsim.messaging.queues import QueuesEndpoint

Link = Literal["inprocess", "queues"]

_SERVED_LINK: ContextVar[Link] = ContextVar("served_link", default="queues")


class Served(Protocol):
    """An address held by this process; whether holding it takes a process that stays."""

    address: Address
    takes_a_process: bool

    def close(self) -> None: ...


@contextmanager
def serving_on(link: Link) -> Iterator[None]:
    """Have every `Server` made within serve on `link`."""
    token = _SERVED_LINK.set(link)
    try:
        yield
    finally:
        _SERVED_LINK.reset(token)


def serve(address: Address) -> Served:
    """Hold `address` on the link that this process serves on.

    Raises:
        AddressError: it is held already.
    """
    return InprocessHub(address) if _SERVED_LINK.get() == "inprocess" else Claim(address)


def serve_any(server: str) -> Served:
    """Hold an address of `server` that nobody holds, on the link that this process serves on."""
    for port in count(os.getpid()):
        with suppress(AddressError):
            return serve((server, port))
    raise AssertionError("count() never ends")


def connect(address: Address, name: str) -> Endpoint:
    """Return an end of the swarm that runs at `address`: in this process, else on this host.

    Raises:
        AddressError: no swarm runs there.
    """
    hub = find_hub(address)
    return QueuesEndpoint(address, name) if hub is None else InprocessEndpoint(hub, name)


def private_directory(address: Address) -> Path | None:
    """Return the directory on this host that belongs to the swarm at `address` and goes with it; None inside a process.

    Raises:
        AddressError: it is no address.
    """
    return directory_of(address) if find_hub(address) is None else None
