"""How each end of a connection notices that the other one is gone, though nothing says so: a host, a cable or a tunnel.

A client of this package sends a BEAT in a thread, so that it is heard while a handler works, and an extended server
returns it. Each end gives the other one up after a time without any bytes, and counts only the time in which it ran
itself. Peers that send no BEAT are left to the kernel: keepalive probes, and a limit on unacknowledged bytes.
"""

import math
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from swarmsim.errors import SettingsError

SILENCE_VARIABLE = "SWARMSIM_SILENCE_SECONDS"
SILENCE_SECONDS, MIN_SILENCE_SECONDS = 30.0, 1.0
BEATS = 6  # in the time of silence after which a peer is given up
STOP_SECONDS = 10.0


def silence_seconds() -> float:
    """Return after how many seconds of silence a server gives a client up, and its clients the server.

    Raises:
        SettingsError: the environment variable is not such a number.
    """
    value = os.environ.get(SILENCE_VARIABLE) or SILENCE_SECONDS
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not MIN_SILENCE_SECONDS <= seconds < math.inf:
        raise SettingsError(f"{SILENCE_VARIABLE} must be at least {MIN_SILENCE_SECONDS:g} seconds, not {value!r}")
    return seconds


def probe_peer(link: socket.socket, seconds: float) -> None:
    """Let the kernel break a connection whose idle peer acknowledges no probe within `seconds`."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    times = {"TCP_KEEPIDLE": seconds / 2, "TCP_KEEPINTVL": seconds / BEATS, "TCP_KEEPCNT": BEATS // 2}
    for option, value in times.items():
        if hasattr(socket, option):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), max(1, int(value)))


def limit_unacknowledged(link: socket.socket, seconds: float) -> None:
    """Let the kernel break a connection whose peer acknowledges no bytes, or reads none, within `seconds`."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))


def process_id_prefix(process_id: int) -> str:
    """Return the common prefix of the member ids of all clients in a process of this host."""
    return f"{socket.gethostname()[:200]}-{process_id}-"


def is_stopped_here(member_id: str) -> bool:
    """Return whether a member's process is on this host and stopped, as by Ctrl+Z or a debugger: it can continue."""
    process_id = member_id.rpartition("-")[0].rpartition("-")[2]
    if not process_id.isdecimal() or not member_id.startswith(process_id_prefix(int(process_id))):
        return False
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state in "Tt"


# A fork copies all locks as they are: it waits until no heartbeat holds one.
_BEATING = threading.Lock()
os.register_at_fork(before=_BEATING.acquire, after_in_parent=_BEATING.release, after_in_child=_BEATING.release)


class Heartbeat:
    """A thread that calls `beat` every so many seconds until it is stopped."""

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        self._beat = beat
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="swarmsim-heartbeat", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they interrupt the waits of the main thread
        while not self._stopped.wait(self._seconds):
            with _BEATING:
                self._beat()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join(STOP_SECONDS)
