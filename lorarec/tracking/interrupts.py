"""Ctrl-C and other requests to end, held back while something must not be cut short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which a person, a scheduler or a closing terminal asks a command to end."""


@contextmanager
def held() -> Iterator[list[int]]:
    """Hold requests to end for the length of the block; the first that came is obeyed after it.

    Where the block raises, its exception is the one that goes on. Only the main thread is asked to
    end, so elsewhere there is nothing to hold. What is ignored, as SIGHUP under nohup, stays so.

    Yields:
        The signals that came so far, so that long work can end early of itself.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    asking = [number for number in ASKING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in asking}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if came:
        signal.raise_signal(came[0])
