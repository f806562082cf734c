"""TCP as the sockets link uses it: addresses to listen at and to dial, and acknowledgements without delay."""

import contextlib
import errno
import socket

from swarmsim.errors import AddressError
from swarmsim.messaging.endpoint import Address, format_address

CONNECT_SECONDS = 10.0
LISTEN_BACKLOG = 4096


def listen(address: Address) -> socket.socket:
    """Hold a TCP address, so that from now on those who connect wait for a server.

    Raises:
        AddressError: it is taken, or is none.
    """
    server, port = address
    if not isinstance(server, str) or isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 1 << 16:
        raise AddressError(f"an address is a host name and a port number below 65536, not {server!r} and {port!r}")
    try:
        family = socket.getaddrinfo(server or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listener = socket.create_server((server, port), family=family, backlog=LISTEN_BACKLOG)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise AddressError(f"{format_address(address)} is already served by another program") from None
        raise AddressError(f"{format_address(address)} cannot be served: {_reason(error)}") from None
    listener.setblocking(False)
    return listener


def dial(address: Address) -> socket.socket:
    """Return a connection to a TCP address, which never blocks, and sends without delay.

    Raises:
        AddressError: nobody serves there.
    """
    try:
        link = socket.create_connection(address, timeout=CONNECT_SECONDS)
    except (OSError, UnicodeError, OverflowError, TypeError) as error:
        raise AddressError(
            f"no swarm runs at {format_address(address)} ({_reason(error)}): "
            "start its Server first, or check the address"
        ) from None
    link.setblocking(False)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def acknowledge(link: socket.socket) -> None:
    """Have what came acknowledged at once: who sends header and body apart waits for it in between."""
    if hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
