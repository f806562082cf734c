"""Standard streams that are missing, closed, or whose terminal is gone: nothing that is printed ends a run."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

NOTHING = Path(os.devnull)


def fill_missing_streams() -> None:
    """Open the null device for each standard stream that this program was started without.

    Otherwise the next file that is opened takes its number, and receives what is meant for the stream.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(NOTHING, os.O_RDWR), True)  # its number is the lowest that is free
        if getattr(sys, name) is None:
            setattr(sys, name, NOTHING.open(mode))


class _Line:
    """The stream whose last line is not finished yet, if there is one."""

    stream: TextIO | None = None


def show(text: str, stream: TextIO | None, end: str = "\n") -> None:
    """Print on a stream, at once and not within a line of another stream that goes to the same place.

    Nothing more is printed once the stream's terminal or reader is gone.

    Raises:
        BrokenPipeError: the reader of stdout is gone, as in `python run.py | head`.
    """
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if _Line.stream not in (None, stream) and _are_one(_Line.stream, stream):
        text, _Line.stream = f"\n{text}", None
    try:
        stream.write(f"{text}{end}".encode(encoding, "replace").decode(encoding))
        stream.flush()
    except BlockingIOError:  # another program made the terminal non-blocking, and it is busy
        pass
    except (OSError, ValueError) as error:
        silence(stream)
        if isinstance(error, BrokenPipeError) and stream is sys.stdout:
            raise
    if not f"{text}{end}".endswith("\n"):
        _Line.stream = stream
    elif is_within_line(stream):
        _Line.stream = None


def is_within_line(stream: TextIO | None) -> bool:
    """Return whether what is printed next on a stream continues its line."""
    return stream is _Line.stream


def silence(stream: TextIO) -> None:
    """Discard what is printed on a stream from now on, and what it still holds."""
    with suppress(OSError, ValueError), NOTHING.open("w") as nothing:
        os.dup2(nothing.fileno(), stream.fileno())


def _are_one(first: TextIO | None, second: TextIO | None) -> bool:
    """Return whether two streams print in the same place."""
    with suppress(OSError, ValueError, AttributeError):
        return os.path.sameopenfile(first.fileno(), second.fileno())  # type: ignore[union-attr]
    return False
