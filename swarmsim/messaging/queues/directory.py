"""The directory of an address on this host: it contains a running swarm's queues, counters and rooms.

The server of an address holds the lock file next to the directory, and has the pipe `alive` in it open. The kernel
releases both when the server's process ends.
"""

import contextlib
import fcntl
import json
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from swarmsim.errors import AddressError, StopRequested, WaitTimeout
from swarmsim.messaging.endpoint import Address, format_address
from swarmsim.messaging.process_context import PROCESS, running_time
from swarmsim.messaging.rooms import Rooms, decode_rooms, encode_rooms

_REMOVED = "removed-"

LOCK_SECONDS, LOCK_RETRY_SECONDS = 10.0, 0.001

_VERSION_BYTES = 8


def _user_directory() -> Path:
    """Return this user's directory of addresses, which no other user can enter."""
    base = Path(tempfile.gettempdir()) / f"swarmsim-{os.getuid()}"
    try:
        base.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise AddressError(f"{base} cannot be created: {error.strerror}; set TMPDIR to a directory of yours") from None
    status = base.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise AddressError(f"{base} must belong to you and have mode 700; remove it and start again")
    return base


def directory_of(address: Address) -> Path:
    """Return the directory of an address, served or not; raises AddressError unless it is a host name and a port."""
    server, port = address
    host = "127.0.0.1" if server == "localhost" else server
    if not isinstance(host, str) or not host or "/" in host or isinstance(port, bool) or not isinstance(port, int):
        raise AddressError(f"an address must be a host name and a port number, not {server!r} and {port!r}")
    return _user_directory() / f"{host}-{port}"


def is_served_here(address: Address) -> bool:
    """Return whether a swarm on this host's queues runs at `address`; raises as `directory_of`."""
    return (directory_of(address) / "alive").exists()


class AddressLock:
    """Exclusive ownership of an address and its directory on this host; raises AddressError if it is already owned."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.directory = directory_of(address)
        self._lock_path = self.directory.parent / f"{self.directory.name}.lock"
        self._lock = _acquire_lock(self._lock_path, format_address(address))
        _remove_directory(self.directory)
        for folder in ("", "state"):
            (self.directory / folder).mkdir(mode=0o700)
        PROCESS.release_after_fork(self, self._close_descriptors)

    def _close_descriptors(self) -> None:
        os.close(self._lock)

    def close(self) -> None:
        """Release the address; a second call does nothing."""
        if self._lock < 0:
            return
        PROCESS.forget_resource(self)
        _remove_directory(self.directory)
        self._lock_path.unlink(missing_ok=True)
        self._close_descriptors()
        self._lock = -1


class QueuesServer(AddressLock):
    """Serves an address on this host's queues: it only holds the directory, since clients reach each other directly."""

    needs_process = True

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        for folder in ("inbox", "counts"):
            (self.directory / folder).mkdir(mode=0o700)
        (self.directory / "lock").touch()
        (self.directory / "version").write_bytes(bytes(_VERSION_BYTES))
        _write_rooms(self.directory, Rooms())
        os.mkfifo(self.directory / "alive", 0o600)  # last: for clients the swarm is complete once this exists
        self._alive = os.open(self.directory / "alive", os.O_RDONLY | os.O_NONBLOCK)

    def _close_descriptors(self) -> None:
        super()._close_descriptors()
        os.close(self._alive)

    def serve(self) -> None:
        """Wait until closed, or until this process is asked to stop."""
        with contextlib.suppress(StopRequested):
            PROCESS.wait(math.inf, "the end of the swarm", until=lambda: self._lock < 0)

    def serve_in_background(self) -> None:
        """Do nothing: clients reach each other directly."""

    def close(self) -> None:
        """Stop serving, which closes the link of all clients; a second call does nothing."""
        with contextlib.suppress(FileNotFoundError), (self.directory / "version").open("r+b") as version:
            if self._lock >= 0:
                version.write(b"\xff" * _VERSION_BYTES)  # so that members read the rooms again, and find no file
        super().close()


def _acquire_lock(path: Path, address: str) -> int:
    """Return the descriptor of the locked file; raise AddressError if a running process holds the lock."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 32).decode() or "(unknown)"
            os.close(lock)
            raise AddressError(f"{address} is already served by process {owner}") from None
        try:
            exists = path.stat().st_ino == os.fstat(lock).st_ino
        except FileNotFoundError:
            exists = False
        if exists:
            os.truncate(lock, 0)
            os.write(lock, str(os.getpid()).encode())
            return lock
        os.close(lock)  # its owner released it between our open and our lock


def _remove_directory(directory: Path) -> None:
    """Remove a directory atomically, even if other processes still write into it."""
    renamed = directory.with_name(f"{_REMOVED}{directory.name}-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        directory.rename(renamed)
        shutil.rmtree(renamed, ignore_errors=True)


def remove_stale_addresses() -> None:
    """Remove the directories and lock files of servers that were killed."""
    for lock_path in _user_directory().glob("*.lock"):
        with contextlib.suppress(AddressError, FileNotFoundError):
            if _is_running(lock_path.read_text()):
                continue
            lock = _acquire_lock(lock_path, lock_path.stem)
            _remove_directory(lock_path.with_suffix(""))
            lock_path.unlink(missing_ok=True)
            os.close(lock)
    for directory in _user_directory().glob(f"{_REMOVED}*"):
        shutil.rmtree(directory, ignore_errors=True)


def _is_running(owner: str) -> bool:
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        pass  # the owner has not written its id yet, or another user's process has this id now
    return True


class SharedRooms:
    """The rooms of a running swarm, in a file that its members read and replace atomically."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with (directory / "version").open("r+b") as file:
            self._version = mmap.mmap(file.fileno(), _VERSION_BYTES)
        self._read_version = b""
        self._rooms = Rooms()

    def read(self) -> Rooms:
        """Return the current rooms; they are decoded again only if their version changed."""
        version = self._version[:]
        if version != self._read_version:
            self._rooms = decode_rooms(json.loads((self._directory / "rooms.json").read_bytes()))
            self._read_version = version
        return self._rooms

    def update(self, change: Callable[[Rooms], Rooms]) -> Rooms:
        """Replace the rooms by `change(rooms)`, atomically among all members."""
        with (self._directory / "lock").open("rb") as lock:
            _lock_with_retry(lock)
            rooms = change(decode_rooms(json.loads((self._directory / "rooms.json").read_bytes())))
            _write_rooms(self._directory, rooms)
            version = int.from_bytes(self._version[:], "little") + 1
            self._version[:] = (version % 256**_VERSION_BYTES).to_bytes(_VERSION_BYTES, "little")
        return self.read()

    def close(self) -> None:
        self._version.close()


def _lock_with_retry(lock: BinaryIO) -> None:
    """Lock a file that others hold only briefly; the time limit covers a member that is suspended while it holds it."""
    deadline = running_time() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if running_time() > deadline:
                raise WaitTimeout(f"waited {LOCK_SECONDS:g} s for the member that holds {lock.name}") from None
            with contextlib.suppress(WaitTimeout):
                PROCESS.wait(LOCK_RETRY_SECONDS, "the lock")


def _write_rooms(directory: Path, rooms: Rooms) -> None:
    new = directory / "rooms.json.new"
    new.write_text(json.dumps(encode_rooms(rooms)))
    new.replace(directory / "rooms.json")
