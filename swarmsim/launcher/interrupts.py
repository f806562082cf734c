"""Ctrl+C and SIGTERM: the first one asks a run to stop where it can go on later, the second one stops it now."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = signal.SIGINT, signal.SIGTERM


@contextmanager
def noted_interrupts() -> Iterator[Callable[[], bool]]:
    """Have the first interrupt within only be noted, and give what tells of it; the next one raises KeyboardInterrupt.

    Outside of a program's main thread, where Python handles no signals, nothing changes.
    """
    was_asked = False

    def note(*_: object) -> None:
        nonlocal was_asked
        was_asked = True
        for each in SIGNALS:
            signal.signal(each, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = [signal.signal(each, note) for each in SIGNALS]
    try:
        yield lambda: was_asked
    finally:
        for each, handler in zip(SIGNALS, before, strict=True):
            signal.signal(each, handler)
