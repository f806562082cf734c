"""`Server`: holds an address, so that clients find the swarm there."""

import math
from typing import Self

from swarmsim.errors import StopRequested
from swarmsim.messaging.links import Served, serve
from swarmsim.messaging.process import THIS_PROCESS


class Server:
    """Serve the swarm of one address on this host.

    `format` and `header_length` describe the wire of the sockets link; links inside a host need neither.

    Raises:
        AddressError: another process serves this address already.
    """

    def __init__(self, server: str, port: int, format: str = "utf-8", header_length: int = 10) -> None:
        self.format = format
        self.header_length = header_length
        self._served: Served | None = serve((server, port))
        THIS_PROCESS.promise(self, self.stop)

    def start(self) -> None:
        """Serve until stopped; inside one process (`inprocess`) return at once, since messages need no server."""
        if self._served is not None and not self._served.takes_a_process:
            return
        THIS_PROCESS.ready()
        try:
            THIS_PROCESS.wait(math.inf, "the end of the swarm", until=lambda: self._served is None)
        except StopRequested:
            pass
        finally:
            self.stop()

    def stop(self) -> None:
        """Let go of the address; a second call does nothing."""
        served, self._served = self._served, None
        if served is not None:
            served.close()
            THIS_PROCESS.keep(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
