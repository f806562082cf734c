"""All errors that swarmsim raises, and the sentence for an unknown name."""

import errno
import os
import resource
import traceback
from collections.abc import Iterable
from difflib import get_close_matches


class SwarmError(Exception):
    """Base class of all errors of this package; the message is one sentence for the user."""


class SettingsError(SwarmError):
    """A flag, a setting, a file or an environment cannot be used."""


class BadValue(SwarmError):
    """An environment returned a value that cannot be used.

    Attributes:
        can_be_dropped: whether it is a number that is not finite, so that dropping its episode is enough.
    """

    def __init__(self, message: str, *, can_be_dropped: bool = False) -> None:
        super().__init__(message)
        self.can_be_dropped = can_be_dropped


class MessageError(SwarmError):
    """A message cannot be sent or read."""


class AddressError(SwarmError):
    """No server serves this address, or another one already does."""


class StorageError(SwarmError):
    """The temporary directory, in which the queues of a host lie, is full or cannot be used."""


class LinkClosed(SwarmError):
    """The swarm has stopped, or this client has left it."""


class StopRequested(LinkClosed):
    """The launcher asked this component to stop, or has ended."""


class WaitTimeout(SwarmError):
    """A wait exceeded its timeout."""


class ComponentFailed(SwarmError):
    """A component raised an exception, ended unexpectedly, was killed, or did not answer.

    Attributes:
        component: its name.
        error_type: the class name of its exception; `ProcessEnded` or `Silent` if it raised none.
        message: the message of its exception, or how its process ended.
        traceback_text: the traceback in its process; may be empty.
    """

    def __init__(self, component: str, error_type: str, message: str, traceback_text: str = "") -> None:
        super().__init__(f"component {component!r} failed: {error_type}: {message}")
        self.component = component
        self.error_type = error_type
        self.message = message
        self.traceback_text = traceback_text
        if traceback_text:
            self.add_note(f"In component {component!r}:\n{traceback_text}")


def shortage(error: BaseException | None) -> str:
    """Return what the machine lacks, and the way out, if that is the cause of `error`; "" if it is not."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _WAYS_OUT:
            where = "" if error.filename is None else f" ({error.filename})"
            return f"{os.strerror(error.errno)}{where}: {_WAYS_OUT[error.errno]()}"
        error = error.__cause__ or error.__context__
    return ""


def format_traceback(error: BaseException) -> str:
    """Return the traceback of what a component raised; "" if its message alone says what its user has to change."""
    is_plain = isinstance(error, SettingsError | BadValue) or shortage(error)
    return "" if is_plain else "".join(traceback.format_exception(error))


def explain(error: BaseException) -> str:
    """Return the message of an error, with what the machine lacks if that is its cause."""
    message, reason = str(error), shortage(error)
    if not reason or isinstance(error, OSError):
        return reason or message
    return message if reason.partition(" (")[0].partition(":")[0] in message else f"{message}: {reason}"


_WAYS_OUT = {
    errno.EMFILE: lambda: (
        f"a process may have {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} (ulimit -n); "
        "raise that limit, or use fewer workers"
    ),
    errno.ENFILE: lambda: "the machine allows no more; use fewer workers",
    errno.ENOMEM: lambda: "use fewer workers",
    errno.ENOSPC: lambda: "make room there, or set TMPDIR to a directory that has more",
    errno.EDQUOT: lambda: "make room there, or set TMPDIR to a directory that has more",
}


def unknown(kind: str, name: object, allowed: Iterable[str], *, show: int = 12) -> str:
    """Return the sentence for an unknown `name`, with the first `show` allowed names and the nearest one."""
    choices = sorted(allowed)
    listed = ", ".join(choices[:show]) + (", …" if len(choices) > show else "")
    known = f"; known: {listed or 'none'}" if show else ""
    return f"unknown {kind} {name!r}{known}{nearest(name, choices)}"


def nearest(name: object, allowed: Iterable[str]) -> str:
    """Return "; did you mean …?" with the allowed name most similar to `name`, or "" if no name is similar."""
    matches = get_close_matches(str(name), sorted(allowed), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""


class Stalled(WaitTimeout):
    """No other component is left that could send the message that is waited for."""


class MessageRefused(MessageError):
    """A received message holds a value that its receiver cannot use."""
