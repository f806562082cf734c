"""What every component of the reference swarm shares: its link to the server, what it says, and when it leaves.

The reference's sockets are as shipped unless the environment variable REFERENCE_NODELAY is "1": then every socket
of the process sends at once. Without it, header and body, which the reference sends apart, wait for each other's
acknowledgement. The switch sits outside of the reference's own code, which runs unchanged either way.
"""

import json
import os
import socket
import sys
import threading
from typing import Any

from swergio import MESSAGE_TYPE, Client

HOST = "127.0.0.1"
FORMAT = "utf-8"
HEADER_LENGTH = 10
CUSTOM = MESSAGE_TYPE.DATA.CUSTOM


class PromptSocket(socket.socket):
    """A socket that never holds a small packet back; what a listening one accepts inherits this."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.family == socket.AF_INET:
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def prepare() -> None:
    """Set the process up as the benchmark asked for; comes before anything else."""
    if os.environ.get("REFERENCE_NODELAY") == "1":
        socket.socket = PromptSocket  # type: ignore[misc]
    threading.Thread(target=_leave_with_benchmark, daemon=True).start()


def _leave_with_benchmark() -> None:
    """End this process once its standard input closes, so that none outlives the benchmark, however that ends."""
    os.read(0, 1)
    sys.stdout.flush()
    os._exit(0)


def connected(name: str, **objects: Any) -> Client:
    """Return a client of the server whose port is this script's first argument."""
    return Client(name, HOST, int(sys.argv[1]), FORMAT, HEADER_LENGTH, **objects)


def say(**facts: Any) -> None:
    """Tell the benchmark facts, as a line of JSON."""
    print(json.dumps(facts), flush=True)
