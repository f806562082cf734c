"""A temporary directory that is full, read-only, missing, or has no named pipes."""

import ctypes
import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from swarmsim import MESSAGE_TYPE, Client, Swarm
from swarmsim.components.persistence import StateStore
from swarmsim.errors import StorageError
from swarmsim.messaging.links import private_directory, serve_any, serving_on
from swarmsim.messaging.queues import directory
from tests.conftest import environ

SENTENCE = "the queues of a swarm cannot lie in the temporary directory .*set TMPDIR to .*or use link inprocess"
MS_NOSUID_NODEV, MS_RDONLY, MS_REMOUNT = 6, 1, 32


@pytest.fixture
def no_directory(monkeypatch, tmp_path):
    """No temporary directory can be used."""

    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, f"No usable temporary directory found in [{str(tmp_path)!r}]")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setattr(tempfile, "tempdir", None)


def no_pipes(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def serve_on_queues() -> None:
    with serving_on("queues"):
        serve_any("tests").close()


def test_without_a_temporary_directory_queues_are_one_sentence_and_nothing_loops(no_directory):
    with pytest.raises(StorageError, match="No usable temporary directory.*TMPDIR"):
        serve_on_queues()


def test_without_a_temporary_directory_the_other_links_work(no_directory):
    with Swarm(None, link="inprocess") as swarm:
        address = swarm.serve()
        assert private_directory(address) is None
        Client("ann", *address).close()
    with serving_on("sockets"):
        served = serve_any("127.0.0.1")
    served.serve_in_background()
    Client("ann", *served.address).close()
    served.close()


def test_without_named_pipes_queues_are_one_sentence_and_leave_nothing(monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "mkfifo", no_pipes)
        with pytest.raises(StorageError, match=SENTENCE):
            serve_on_queues()
    serve_on_queues()


def test_a_client_without_named_pipes_is_one_sentence_and_leaves_no_descriptor(queues_address, monkeypatch):
    monkeypatch.setattr(os, "mkfifo", no_pipes)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(StorageError, match=SENTENCE):
        Client("ann", *queues_address)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_too_few_descriptors_are_not_the_directorys_fault(monkeypatch):
    def too_few(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "mkfifo", too_few)
    with pytest.raises(OSError, match="Too many open files"):
        serve_on_queues()


def test_the_directory_of_another_user_is_one_sentence_and_nothing_loops(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    base = Path(tempfile.gettempdir(), "swarmsim-12345")
    base.mkdir()
    try:
        with pytest.raises(StorageError, match=f"{base} must belong to you and have mode 700"):
            serve_on_queues()
    finally:
        base.rmdir()


# --- a disk that fills up


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A temporary directory of 256 KiB; `mount(flags)` mounts it again."""
    mount = ctypes.CDLL(None, use_errno=True).mount
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or mount(b"tmpfs", bytes(disk), b"tmpfs", MS_NOSUID_NODEV, b"size=256k"):
        pytest.skip("only root mounts a file system")
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    monkeypatch.setenv("TMPDIR", str(disk))
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    with (disk / "fill").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    return disk / "fill"


def test_a_disk_that_fills_up_is_one_sentence_and_the_swarm_works_once_there_is_space(small_disk):
    with serving_on("queues"):
        served = serve_any("tests")
    with Client("ann", *served.address) as ann, Client("bob", *served.address) as bob:
        filling = fill(small_disk)
        with pytest.raises(StorageError, match=f"{small_disk}.*No space left"):
            ann.join_room("hall")
        with pytest.raises(StorageError, match=f"{small_disk}.*No space left"):
            Client("cid", *served.address)
        for _ in range(100):  # messages need no space, and acknowledgements have theirs
            ann.send({"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "TO": "bob"})
            while bob.receive(5)["TYPE"] != MESSAGE_TYPE.DATA.CUSTOM.id:
                pass
        filling.unlink()
        ann.join_room("hall")
        assert [member.name for member in bob.rooms().in_room("hall")] == ["ann"]
    served.close()


def test_state_that_cannot_be_saved_is_one_sentence_and_the_last_one_stays(small_disk):
    store = StateStore(small_disk / "model0")
    store.write({"X": 1})
    array = store.array("weights", (100,), np.float64)
    fill(small_disk)
    array += 1
    for write in (lambda: store.write({"X": "x" * 10_000}), lambda: store.array("more", (5_000,), np.float64)):
        with pytest.raises(StorageError, match=f"{small_disk}.*No space left.*TMPDIR"):
            write()
    assert store.read() == {"X": 1}
    assert not list(small_disk.glob("~*"))


def test_a_disk_that_is_full_or_read_only_before_the_start_is_one_sentence(small_disk):
    serve_on_queues()
    fill(small_disk)
    with pytest.raises(StorageError, match=f"{small_disk}.*No space left.*TMPDIR"):
        serve_on_queues()
    mount = ctypes.CDLL(None).mount
    assert not mount(b"tmpfs", bytes(small_disk), b"tmpfs", MS_RDONLY | MS_REMOUNT, None)
    with pytest.raises(StorageError, match=f"{small_disk}.*Read-only file system.*TMPDIR"):
        serve_on_queues()
    directory.remove_stale_addresses()


def test_run_says_it_in_one_sentence(tmp_path):
    """A run whose temporary directory is not there, and no other one can be written."""
    program = (
        "import tempfile, sys\n"
        "def none(): raise FileNotFoundError(2, 'No usable temporary directory found in [...]')\n"
        "tempfile.gettempdir = none\n"
        "from swarmsim.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", program, "--rounds", "1", "--out", str(tmp_path / "run"), "--no-progress"]
    options = {"env": environ(TMPDIR="/nowhere"), "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run(command, check=False, **options)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "TMPDIR" in done.stderr
    assert "/nowhere" in done.stderr
