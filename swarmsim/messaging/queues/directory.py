"""An address on this host: the directory in which a running swarm's queues and rooms lie, found by its name.

Who serves an address holds the lock beside its directory, and reads from `alive` in it; both end
with its process, however it ends.
"""

import contextlib
import fcntl
import json
import math
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from swarmsim.errors import AddressError, StopRequested, WaitTimeout
from swarmsim.messaging.endpoint import Address, format_address
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.rooms import Rooms, decode_rooms, encode_rooms

GONE = "gone-"

LOCK_SECONDS, LOCK_RETRY_SECONDS = 10.0, 0.001

_VERSION_BYTES = 8


def _base() -> Path:
    """Return this user's directory of addresses, which nobody else can enter."""
    base = Path(tempfile.gettempdir()) / f"swarmsim-{os.getuid()}"
    try:
        base.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise AddressError(f"{base} cannot be made: {error.strerror}; set TMPDIR to a directory of yours") from None
    found = base.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise AddressError(f"{base} must belong to you alone (mode 700); remove it and start again")
    return base


def directory_of(address: Address) -> Path:
    """Return where a swarm of `address` lies, whether or not it runs."""
    server, port = address
    host = "127.0.0.1" if server == "localhost" else server
    if not isinstance(host, str) or not host or "/" in host or isinstance(port, bool) or not isinstance(port, int):
        raise AddressError(f"an address is a host name and a port number, not {server!r} and {port!r}")
    return _base() / f"{host}-{port}"


def is_served_here(address: Address) -> bool:
    """Tell whether a swarm of this host's queues runs at `address`.

    Raises:
        AddressError: it is no address.
    """
    return (directory_of(address) / "alive").exists()


class Claim:
    """The right to an address on this host, and a directory for it, until released or until this process ends.

    Raises:
        AddressError: another process has it.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.directory = directory_of(address)
        self._lock_path = self.directory.parent / f"{self.directory.name}.lock"
        self._lock = _lock_of_owner(self._lock_path, format_address(address))
        _remove(self.directory)
        for folder in ("", "kept"):
            (self.directory / folder).mkdir(mode=0o700)
        PROCESS.release_after_fork(self, self._close_descriptors)

    def _close_descriptors(self) -> None:
        os.close(self._lock)

    def close(self) -> None:
        """Release the address; a second call does nothing."""
        if self._lock < 0:
            return
        PROCESS.forget_resource(self)
        _remove(self.directory)
        self._lock_path.unlink(missing_ok=True)
        self._close_descriptors()
        self._lock = -1


class QueuesServer(Claim):
    """Serves an address of this host's queues, which needs no more than to be there.

    Raises:
        AddressError: another process serves it.
    """

    takes_a_process = True

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        for folder in ("inbox", "counts"):
            (self.directory / folder).mkdir(mode=0o700)
        (self.directory / "lock").touch()
        (self.directory / "version").write_bytes(bytes(_VERSION_BYTES))
        _write_rooms(self.directory, Rooms())
        os.mkfifo(self.directory / "alive", 0o600)  # last: clients take the swarm for complete once this is there
        self._alive = os.open(self.directory / "alive", os.O_RDONLY | os.O_NONBLOCK)

    def _close_descriptors(self) -> None:
        super()._close_descriptors()
        os.close(self._alive)

    def serve(self) -> None:
        """Stay until closed, or until this process is asked to stop."""
        with contextlib.suppress(StopRequested):
            PROCESS.wait(math.inf, "the end of the swarm", until=lambda: self._lock < 0)

    def serve_beside(self) -> None:
        """Do nothing: clients reach each other by themselves."""

    def close(self) -> None:
        """Stop serving: clients are told that the link is closed. A second call does nothing."""
        with contextlib.suppress(FileNotFoundError), (self.directory / "version").open("r+b") as version:
            if self._lock >= 0:
                version.write(b"\xff" * _VERSION_BYTES)  # so that members look again, and find that it is gone
        super().close()


def _lock_of_owner(path: Path, address: str) -> int:
    """Return the locked lock of an address, or raise AddressError where a living process holds it."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 32).decode() or "another one"
            os.close(lock)
            raise AddressError(f"{address} is already served by process {owner}") from None
        try:
            still_there = path.stat().st_ino == os.fstat(lock).st_ino
        except FileNotFoundError:
            still_there = False
        if still_there:
            os.truncate(lock, 0)
            os.write(lock, str(os.getpid()).encode())
            return lock
        os.close(lock)  # its owner released it between our open and our lock


def _remove(directory: Path) -> None:
    """Take a directory away at once, whoever is still writing into it."""
    aside = directory.with_name(f"{GONE}{directory.name}-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        directory.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def sweep() -> None:
    """Take away what servers that were killed have left; nothing of one that lives."""
    for lock_path in _base().glob("*.lock"):
        with contextlib.suppress(AddressError, FileNotFoundError):
            if _is_alive(lock_path.read_text()):
                continue
            lock = _lock_of_owner(lock_path, lock_path.stem)
            _remove(lock_path.with_suffix(""))
            lock_path.unlink(missing_ok=True)
            os.close(lock)
    for left in _base().glob(f"{GONE}*"):
        shutil.rmtree(left, ignore_errors=True)


def _is_alive(owner: str) -> bool:
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        pass  # it is only just claiming the address, or its number is another user's by now
    return True


class SharedRooms:
    """The rooms of a running swarm, in one file that all its members read and replace as one step."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with (directory / "version").open("r+b") as file:
            self._version = mmap.mmap(file.fileno(), _VERSION_BYTES)
        self._read_version = b""
        self._rooms = Rooms()

    def read(self) -> Rooms:
        """Return the rooms as they are now."""
        version = self._version[:]
        if version != self._read_version:
            self._rooms = decode_rooms(json.loads((self._directory / "rooms.json").read_bytes()))
            self._read_version = version
        return self._rooms

    def update(self, change: Callable[[Rooms], Rooms]) -> Rooms:
        """Replace the rooms by `change(rooms)`; no other member's change comes between."""
        with (self._directory / "lock").open("rb") as lock:
            _lock_soon(lock)
            rooms = change(decode_rooms(json.loads((self._directory / "rooms.json").read_bytes())))
            _write_rooms(self._directory, rooms)
            version = int.from_bytes(self._version[:], "little") + 1
            self._version[:] = (version % 256**_VERSION_BYTES).to_bytes(_VERSION_BYTES, "little")
        return self.read()

    def close(self) -> None:
        self._version.close()


def _lock_soon(lock: BinaryIO) -> None:
    """Lock a file that others hold for an instant at a time; a member that was stopped at that instant is no excuse."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise WaitTimeout(f"waited {LOCK_SECONDS:g} s for the member that holds {lock.name}") from None
            with contextlib.suppress(WaitTimeout):
                PROCESS.wait(LOCK_RETRY_SECONDS, "the lock")


def _write_rooms(directory: Path, rooms: Rooms) -> None:
    beside = directory / "rooms.json.new"
    beside.write_text(json.dumps(encode_rooms(rooms)))
    beside.replace(directory / "rooms.json")
