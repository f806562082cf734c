"""`Server` holds an address, so that clients find the swarm there."""

from typing import Self

from swarmsim.messaging.links import AddressServer, serve
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.sockets.wire import Wire


class Server:
    """Serves the swarm at one address: on the launcher's link if a launcher started this program, or else by TCP.

    By TCP, clients can connect as soon as the server exists. It serves them in `start`, or within a `with` block.

    Args:
        server, port: the address. On the sockets link port 0 chooses a free port, which `address` then contains.
        format, header_length: the encoding and the header length of frames; only the sockets link uses them.
        secret: the secret that clients must share on the sockets link; by default the environment variable
            SWARMSIM_SECRET, if it is set. Without a secret, other machines can only connect with `insecure`.
        insecure: accept clients without a secret, such as the reference's.

    Attributes:
        address: the address that it serves.

    Raises:
        AddressError: another process serves this address, or other machines can reach it and no secret is set.
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
        wire = Wire(format, header_length)
        self._server: AddressServer | None = serve((server, port), wire, secret, insecure=insecure)
        self.address = self._server.address
        PROCESS.register_closer(self, self.stop)

    def start(self) -> None:
        """Serve until stopped; on the link `inprocess` return at once, since that needs no server."""
        if self._server is not None and not self._server.needs_process:
            return
        PROCESS.report_ready()
        try:
            if self._server is not None:
                self._server.serve()
        finally:
            self.stop()

    def stop(self) -> None:
        """Release the address; a second call does nothing."""
        address_server, self._server = self._server, None
        if address_server is not None:
            address_server.close()
            PROCESS.unregister_closer(self)

    def __enter__(self) -> Self:
        if self._server is not None:
            self._server.serve_in_background()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
