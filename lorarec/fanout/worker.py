"""What a spawned process does: takes domains through a pipe until there are no more.

Nothing heavy is imported here: the threads of numerical libraries are pinned when they are loaded,
and that happens as the job arrives.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

from lorarec.fanout.job import Done, attempted, portable

READY, FAILED = "ready", "failed"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
"""By which torch, NumPy, FAISS and Polars are told how many threads to use."""


def pinned(threads: int) -> dict[str, str]:
    """Variables for a process that is to use so many threads."""
    return dict.fromkeys(THREADS, str(threads))


def serve(pipe: Connection, threads: int) -> None:
    """The life of a worker.

    Args:
        pipe: Brings `(begin, shared)` and then `(domain, part)` again and again; takes `READY` or
            `FAILED` with the error, and then a `Done` for each domain.
        threads: How many this process may use.
    """
    # Ctrl-C goes to every process of a terminal; the one that it is meant for ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(pinned(threads))
    try:
        begin, shared = pipe.recv()
        work = begin(shared)
    except EOFError:
        return
    except Exception as error:
        pipe.send((FAILED, portable(error)))
        return
    pipe.send((READY, None))
    while True:
        try:
            domain, part = pipe.recv()
        except (EOFError, ConnectionError):
            return
        pipe.send(sendable(attempted(work, domain, part)))


def sendable(done: Done[Any]) -> Done[Any]:
    """What became of a domain, as it can go to another process."""
    return done if done.error is None else Done(done.domain, error=portable(done.error))


def _end_with_parent() -> None:
    """A process that was killed cannot end its workers, so each watches it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
