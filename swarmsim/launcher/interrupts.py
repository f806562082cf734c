"""Ctrl+C, SIGTERM and a hang-up: the first asks a run to stop where it can be resumed, the second stops it at once."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


def stopping_signals() -> list[signal.Signals]:
    """Return the signals that stop a run: not a hang-up that is ignored, as nohup does, nor one that a host handles."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    if handlers[signal.SIGHUP] is signal.SIG_IGN:
        del handlers[signal.SIGHUP]
    return [each for each, handler in handlers.items() if handler is not None]  # None: it is not Python's to restore


def interrupt_by(signals: Iterable[signal.Signals]) -> None:
    """Raise KeyboardInterrupt at each of these signals from now on."""
    for each in signals:
        signal.signal(each, signal.default_int_handler)


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether an interrupt came; a second interrupt raises KeyboardInterrupt.

    Nothing changes outside a program's main thread, where Python handles no signals.
    """
    was_interrupted = False

    def defer(*_: object) -> None:
        nonlocal was_interrupted
        was_interrupted = True
        interrupt_by(set(signals) - {signal.SIGHUP})  # a hang-up comes twice: from the kernel, and from the shell

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    signals = stopping_signals()
    previous = [signal.signal(each, defer) for each in signals]
    try:
        yield lambda: was_interrupted
    finally:
        for each, handler in zip(signals, previous, strict=True):
            signal.signal(each, handler)
