"""Closes environments: of simulators, helper programs may depend on it."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium

CLOSE_SECONDS, NEXT_SECONDS = 3.0, 0.2  # for all environments that are closed at once, and then for each that is left

logger = logging.getLogger("swarmsim")


class _TooLong(BaseException):
    """Not an Exception, so that no environment handles it."""


def close_all(envs: Iterable[gymnasium.Env[Any, Any]], env_id: str) -> None:
    """Close environments; an error in one, or that it takes longer than CLOSE_SECONDS, is a line in the log."""
    with _bounded():
        for env in envs:
            try:
                env.close()
            except _TooLong:
                logger.warning("environment %r: close() took more than %g s, and was stopped", env_id, CLOSE_SECONDS)
            except (Exception, SystemExit) as error:
                text = " ".join(str(error).split())
                logger.warning("environment %r: close() failed with %s: %s", env_id, type(error).__name__, text)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Raise _TooLong after CLOSE_SECONDS; only a main thread can, unless its program has set the alarm for itself."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0):
        yield
        return
    previous = signal.signal(signal.SIGALRM, _raise_too_long)
    signal.setitimer(signal.ITIMER_REAL, CLOSE_SECONDS, NEXT_SECONDS)
    try:
        yield
    except _TooLong:  # between two environments
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous or signal.SIG_DFL)


def _raise_too_long(*_: object) -> None:
    raise _TooLong
