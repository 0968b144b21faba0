"""Trying again what may pass by itself, and nothing else."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lorarec.errors import PassingError
from lorarec.jobs.listener import SILENT, Listener

T = TypeVar("T")
_LASTING = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EISDIR,
    errno.ENOTDIR,
}
"""What the operating system says again however often it is asked."""
LONGEST_WAIT = 300.0


@dataclass(frozen=True)
class Patience:
    """How often, and how long between."""

    attempts: int = 3
    backoff: float = 2.0
    """Seconds before the second attempt; each further wait is twice the one before, and none is
    above `LONGEST_WAIT`."""
    sleep: Callable[[float], None] = time.sleep

    def wait(self, attempt: int) -> float:
        """Seconds after the attempt of this number, from 1."""
        return float(min(self.backoff * 2 ** (attempt - 1), LONGEST_WAIT))


def passes(error: BaseException) -> bool:
    """Whether an error may be gone at the next attempt: a locked store, a server that is silent, a
    champion that another process has just moved, a network that is away. Wrong input never is."""
    if isinstance(error, PassingError):
        return True
    return isinstance(error, OSError) and error.errno not in _LASTING


def patiently(what: str, do: Callable[[], T], patience: Patience, listen: Listener = SILENT) -> T:
    """What `do` returns, tried again with growing waits while its error may pass.

    Args:
        what: Such as `the gate of books`, for the words.
        do: Safe to be done again.
        patience: How often.
        listen: Takes a sentence for each failed attempt.

    Raises:
        Exception: The last one, or the first that does not pass.
    """
    for attempt in range(1, patience.attempts):
        try:
            return do()
        except Exception as error:
            if not passes(error):
                raise
            seconds = patience.wait(attempt)
            listen.say(
                f"Warning: {what} failed ({error}). Attempt {attempt + 1} of {patience.attempts} "
                f"in {seconds:g} s."
            )
            patience.sleep(seconds)
    return do()
