"""The directory of an address on this host: it contains a running swarm's queues, counters and rooms.

The server of an address holds the lock file next to the directory, and has the pipe `alive` in it open. The kernel
releases both when the server's process ends.
"""

import contextlib
import errno
import fcntl
import json
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from swarmsim.errors import AddressError, StopRequested, StorageError, WaitTimeout
from swarmsim.messaging.endpoint import Address, format_address
from swarmsim.messaging.process_context import PROCESS, running_time
from swarmsim.messaging.rooms import Rooms, decode_rooms, encode_rooms

_REMOVED = "removed-"

LOCK_SECONDS, LOCK_RETRY_SECONDS = 10.0, 0.001

_VERSION_BYTES = 8


_NOT_OF_THE_STORAGE = (errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@contextlib.contextmanager
def storage(directory: Path | str) -> Iterator[None]:
    """Raise StorageError for an OSError whose cause is the file system of `directory`, not this process."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_OF_THE_STORAGE:
            raise
        raise storage_error(directory, error) from None


def storage_error(directory: Path | str, error: OSError) -> StorageError:
    return StorageError(
        f"the queues of a swarm cannot lie in the temporary directory {directory} ({error.strerror or error}): set "
        "TMPDIR to a directory that has free space and allows named pipes, or use link inprocess"
    )


def _user_directory() -> Path:
    """Return this user's directory of addresses, which no other user can enter, whether it exists or not.

    Raises:
        StorageError: another user owns it, or can enter it.
        FileNotFoundError: no temporary directory can be used at all.
    """
    base = Path(tempfile.gettempdir()) / f"swarmsim-{os.getuid()}"
    with contextlib.suppress(FileNotFoundError):
        status = base.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise StorageError(
                f"{base} must belong to you and have mode 700: remove it, or set TMPDIR to another directory"
            )
    return base


def directory_of(address: Address) -> Path:
    """Return the directory of an address, served or not.

    Raises:
        AddressError: the address is not a host name and a port.
        StorageError, FileNotFoundError: the temporary directory cannot be used.
    """
    server, port = address
    host = "127.0.0.1" if server == "localhost" else server
    if not isinstance(host, str) or not host or "/" in host or isinstance(port, bool) or not isinstance(port, int):
        raise AddressError(f"an address must be a host name and a port number, not {server!r} and {port!r}")
    return _user_directory() / f"{host}-{port}"


def is_served_here(address: Address) -> bool:
    """Return whether a swarm on this host's queues runs at `address`; raises AddressError, StorageError."""
    with contextlib.suppress(FileNotFoundError):
        return (directory_of(address) / "alive").exists()
    return False


class AddressLock:
    """Exclusive ownership of an address and its directory on this host.

    Raises:
        AddressError: it is already owned, or is no address.
        StorageError: the temporary directory is full or cannot be used.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = -1
        try:
            self.directory = directory_of(address)
            self.directory.parent.mkdir(mode=0o700, exist_ok=True)
            self._lock_path = self.directory.parent / f"{self.directory.name}.lock"
            self._lock = _acquire_lock(self._lock_path, format_address(address))
            PROCESS.release_after_fork(self, self._close_descriptors)
            _remove_directory(self.directory)
            self._fill()
        except OSError as error:
            self.close()
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            raise storage_error(tempfile.tempdir or os.environ.get("TMPDIR", "/tmp"), error) from None  # noqa: S108

    def _fill(self) -> None:
        """Make the directory, and what is in it."""
        for folder in ("", "state"):
            (self.directory / folder).mkdir(mode=0o700)

    def _close_descriptors(self) -> None:
        os.close(self._lock)

    def close(self) -> None:
        """Release the address; a second call does nothing."""
        if self._lock < 0:
            return
        PROCESS.forget_resource(self)
        with contextlib.suppress(OSError):  # what a file system that has become read-only holds stays there
            _remove_directory(self.directory)
            self._lock_path.unlink(missing_ok=True)
        self._close_descriptors()
        self._lock = -1


class QueuesServer(AddressLock):
    """Serves an address on this host's queues: it only holds the directory, since clients reach each other directly."""

    needs_process = True

    _alive = -1

    def _fill(self) -> None:
        super()._fill()
        for folder in ("inbox", "counts"):
            (self.directory / folder).mkdir(mode=0o700)
        (self.directory / "lock").touch()
        (self.directory / "version").write_bytes(bytes(_VERSION_BYTES))
        _write_rooms(self.directory, Rooms())
        os.mkfifo(self.directory / "alive", 0o600)  # last: for clients the swarm is complete once this exists
        self._alive = os.open(self.directory / "alive", os.O_RDONLY | os.O_NONBLOCK)

    def _close_descriptors(self) -> None:
        super()._close_descriptors()
        if self._alive >= 0:
            os.close(self._alive)

    def serve(self) -> None:
        """Wait until closed, or until this process is asked to stop."""
        with contextlib.suppress(StopRequested):
            PROCESS.wait(math.inf, "the end of the swarm", until=lambda: self._lock < 0)

    def serve_in_background(self) -> None:
        """Do nothing: clients reach each other directly."""

    def close(self) -> None:
        """Stop serving, which closes the link of all clients; a second call does nothing."""
        if self._lock >= 0:
            with contextlib.suppress(OSError), (self.directory / "version").open("r+b") as version:
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
            try:
                os.truncate(lock, 0)
                os.write(lock, str(os.getpid()).encode())
            except OSError:
                path.unlink(missing_ok=True)
                os.close(lock)
                raise
            return lock
        os.close(lock)  # its owner released it between our open and our lock


def _remove_directory(directory: Path) -> None:
    """Remove a directory atomically, even if other processes still write into it."""
    renamed = directory.with_name(f"{_REMOVED}{directory.name}-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        directory.rename(renamed)
        shutil.rmtree(renamed, ignore_errors=True)


def remove_stale_addresses() -> None:
    """Remove the directories and lock files of servers that were killed, as far as that is possible."""
    try:
        base = _user_directory()
    except (StorageError, FileNotFoundError):
        return
    for lock_path in base.glob("*.lock"):
        with contextlib.suppress(AddressError, OSError):
            if _is_running(lock_path.read_text()):
                continue
            lock = _acquire_lock(lock_path, lock_path.stem)
            _remove_directory(lock_path.with_suffix(""))
            lock_path.unlink(missing_ok=True)
            os.close(lock)
    for directory in base.glob(f"{_REMOVED}*"):
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
        self._latest = b"", Rooms()  # one value, since several threads read

    def read(self) -> Rooms:
        """Return the current rooms; they are decoded again only if their version changed."""
        version = self._version[:]
        if version != self._latest[0]:
            self._latest = version, decode_rooms(json.loads((self._directory / "rooms.json").read_bytes()))
        return self._latest[1]

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
    replace_file(directory / "rooms.json", json.dumps(encode_rooms(rooms)).encode())


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file atomically; where that fails, the old one stays and nothing is left beside it."""
    beside = path.with_name(f"~{path.name}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
