"""Writing files atomically, and turning the system's errors into one sentence."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from swarmsim.errors import SettingsError

UNFINISHED = ".new"


@contextmanager
def writing(target: object) -> Iterator[None]:
    """Turn an OSError of the block, for example of a full disk, into a SettingsError that names `target`."""
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{target} cannot be written: {error.strerror or error}") from None


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], object], *, durable: bool = True) -> None:
    """Replace the file at `path`: it always holds either its old content or all of the new; raises as `writing`.

    Args:
        content: or a function that writes it into the open file, which it may also read.
        durable: whether to wait until the content is on the disk, so that it survives a crash of the machine.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    with writing(path):
        try:
            with unfinished.open("w+b") as file:
                file.write(content) if isinstance(content, bytes) else content(file)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)
