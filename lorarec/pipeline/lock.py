"""One retraining at a time in a work folder; the lock goes with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from lorarec.errors import StoreError
from lorarec.storage import refused

NAME = "lock"
SECONDS = 1.0
"""How long a retraining waits for the lock before it says that another one is at work."""


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold the work folder, which is made where it is absent.

    Raises:
        StoreError: Another process holds it; its number is told.
    """
    with ExitStack() as stack:
        try:
            work.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(work / NAME, "a+"))
            _hold(lock)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip()
            raise StoreError(
                f"Another retraining is at work in {work}"
                f"{f' (process {holder})' if holder else ''}. Expected to be alone; wait until it "
                f"has ended. See: lorarec pipeline status"
            ) from error
        except OSError as error:
            raise refused(work, error) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def _hold(lock: IO[str]) -> None:
    """Take the lock; `is_held`, which holds it for a moment, is waited for."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def is_held(work: Path) -> bool:
    """Whether a retraining is at work in a folder now."""
    try:
        with open(work / NAME) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
