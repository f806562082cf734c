"""Writing to the disk: files that are there whole or not at all, and one sentence where there is no room."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmsim.errors import SettingsError

UNFINISHED = ".new"


@contextmanager
def writing(what: object) -> Iterator[None]:
    """Have the system's refusals meanwhile told in a sentence that names `what`.

    Raises:
        SettingsError: there was one, such as a disk that is full.
    """
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{what} cannot be written: {error.strerror or error}") from None


def write_whole(path: Path, content: bytes, *, on_disk: bool = True) -> None:
    """Put `content` in the place of what is at `path`; whatever happens, one of them is there.

    Args:
        on_disk: whether it outlives the machine's end too, for which the disk itself is waited for.

    Raises:
        SettingsError: it cannot be written.
    """
    beside = path.with_name(path.name + UNFINISHED)
    with writing(path):
        try:
            with beside.open("wb") as file:
                file.write(content)
                if on_disk:
                    file.flush()
                    os.fsync(file.fileno())
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        if on_disk:
            _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # there are file systems that sync no folders
            raise
    finally:
        os.close(descriptor)
