"""Ctrl-C and other requests to end, held back while something must not be cut short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which a person, a scheduler or a closing terminal asks a command to end."""


@contextmanager
def held() -> Iterator[None]:
    """Hold requests to end for the length of the block; the first that came is obeyed after it.

    Where the block raises, its exception is the one that goes on. Only the main thread is asked to
    end, so elsewhere there is nothing to hold. What is ignored, as SIGHUP under nohup, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    asking = [number for number in ASKING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in asking}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if came:
        signal.raise_signal(came[0])
