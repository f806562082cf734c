"""Writing files atomically, and turning the system's errors into one sentence."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmsim.errors import SettingsError

UNFINISHED = ".new"
_PART = 1 << 20  # bytes that are compared at once


@contextmanager
def writing(target: object) -> Iterator[None]:
    """Turn an OSError of the block, for example of a full disk, into a SettingsError that names `target`."""
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror or error}") from None


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace the file at `path`: it always holds either its old content or all of the new; raises as `writing`.

    Args:
        durable: whether to wait until the content is on the disk, so that it survives a crash of the machine, and to
            read it back before it replaces the old one.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    with writing(path):
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            if durable and not _holds(unfinished, content):
                raise OSError(errno.EIO, "it does not hold what was written")
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(path.parent)


def _holds(path: Path, content: bytes) -> bool:
    with path.open("rb") as file:
        parts = (content[start : start + _PART] for start in range(0, len(content), _PART))
        return all(file.read(_PART) == part for part in parts) and not file.read(1)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)
