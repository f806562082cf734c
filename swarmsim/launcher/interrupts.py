"""Ctrl+C and SIGTERM: the first asks a run to stop where it can be resumed, the second stops it at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = signal.SIGINT, signal.SIGTERM


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether an interrupt came; a second interrupt raises KeyboardInterrupt.

    Nothing changes outside a program's main thread, where Python handles no signals.
    """
    was_interrupted = False

    def defer(*_: object) -> None:
        nonlocal was_interrupted
        was_interrupted = True
        for each in SIGNALS:
            signal.signal(each, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = [signal.signal(each, defer) for each in SIGNALS]
    try:
        yield lambda: was_interrupted
    finally:
        for each, handler in zip(SIGNALS, previous, strict=True):
            signal.signal(each, handler)
