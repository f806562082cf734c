"""The reference's server, on a port that is free."""

import contextlib
import os
from pathlib import Path

from common import FORMAT, HEADER_LENGTH, HOST, prepare, say
from swergio import Server


def main() -> None:
    """Serve until the benchmark ends."""
    prepare()
    server = Server(HOST, 0, FORMAT, HEADER_LENGTH)
    server.server.listen()  # before the port is told, so that nobody comes too early
    say(port=server.server.getsockname()[1])
    # It prints a line for every message: dropped, so that its log costs the reference as little as can be.
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        server.start()


main()
