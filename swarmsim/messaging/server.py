"""`Server`: holds an address, so that clients find the swarm there."""

from typing import Self

from swarmsim.messaging.links import Served, serve
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.sockets.wire import Wire


class Server:
    """Serve the swarm of one address: on this host's queues where a launcher of such started this program, else by TCP.

    By TCP clients can connect from the moment of its creation, and are served by `start`, or within a `with` block.

    Args:
        server, port: the address; on the sockets link port 0 is one that is free, told by `address`.
        format, header_length: the wire of the sockets link; links inside a host need neither.
        secret: what clients have to share on the sockets link; by default that of the environment's SWARMSIM_SECRET,
            if it has one. Other machines are let in only with a secret, or with `insecure`.
        insecure: let in whoever comes, such as clients of the reference.

    Attributes:
        address: where it serves.

    Raises:
        AddressError: another process serves this address already, or other machines reach it and no secret is set.
    """

    def __init__(
        self,
        server: str,
        port: int,
        format: str = "utf-8",
        header_length: int = 10,
        *,
        secret: str | None = None,
        insecure: bool = False,
    ) -> None:
        self.format = format
        self.header_length = header_length
        self._served: Served | None = serve((server, port), Wire(format, header_length), secret, insecure=insecure)
        self.address = self._served.address
        PROCESS.register_closer(self, self.stop)

    def start(self) -> None:
        """Serve until stopped; inside one process (`inprocess`) return at once, since messages need no server."""
        if self._served is not None and not self._served.takes_a_process:
            return
        PROCESS.report_ready()
        try:
            if self._served is not None:
                self._served.serve()
        finally:
            self.stop()

    def stop(self) -> None:
        """Let go of the address; a second call does nothing."""
        served, self._served = self._served, None
        if served is not None:
            served.close()
            PROCESS.unregister_closer(self)

    def __enter__(self) -> Self:
        if self._served is not None:
            self._served.serve_beside()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
