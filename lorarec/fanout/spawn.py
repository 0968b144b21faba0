"""Domains side by side in processes of this machine, each started afresh and never forked.

Each process has a thread here that hands it a domain, waits, and takes the next. A process that
dies takes nothing with it but the domain it was at.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic

from lorarec.errors import WorkerLostError
from lorarec.fanout.job import TRIES, Done, Job, Part, Shared, Value, lost
from lorarec.fanout.worker import FAILED, serve

_CONTEXT = multiprocessing.get_context("spawn")
_SECONDS_TO_DIE = 10.0
_BROKEN = (EOFError, ConnectionError, BrokenPipeError)
"""What a pipe raises whose other end is gone."""


@dataclass(frozen=True)
class SpawnEngine:
    """Processes of this machine."""

    workers: int
    """How many, 1 or more."""
    threads: int = 1
    """Threads of each."""
    here = True

    @contextmanager
    def map(
        self, job: Job[Shared, Part, Value], domains: Sequence[str]
    ) -> Iterator[Iterator[Done[Value]]]:
        """As `map_domains`."""
        pool = _Pool(job, domains, self.threads)
        try:
            yield pool.run(min(self.workers, len(domains)))
        finally:
            pool.stop()


class _Pool(Generic[Shared, Part, Value]):
    """One pass of a job over its domains."""

    def __init__(self, job: Job[Shared, Part, Value], domains: Sequence[str], threads: int) -> None:
        self._job, self._threads = job, threads
        self._left = deque((domain, 1) for domain in domains)
        """What is not begun, and the how-manieth try it will be."""
        self._count = len(domains)
        self._found: queue.SimpleQueue[Done[Value] | _Ended] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._stopped = False
        self._serving: list[threading.Thread] = []

    def run(self, workers: int) -> Iterator[Done[Value]]:
        """Begin, and yield what is finished."""
        self._serving = [threading.Thread(target=self._serve) for _ in range(workers)]
        for thread in self._serving:
            thread.start()
        return self._results()

    def stop(self) -> None:
        """Kill what still runs and wait until it is gone."""
        with self._lock:
            self._stopped = True
            for worker in self._workers:
                worker.kill()
        for thread in self._serving:
            thread.join()
        for worker in self._workers:  # one that could not begin
            worker.end()

    def _results(self) -> Iterator[Done[Value]]:
        for _ in range(self._count):
            found = self._found.get()
            if isinstance(found, _Ended):
                raise found.error
            yield found

    def _serve(self) -> None:
        """One thread: a worker after the other, a domain after the other."""
        worker: _Worker | None = None
        try:
            # A domain is taken by a worker that lives, so where one does not, others take it.
            while not self._stopped and self._left:
                if worker is None and (worker := self._started()) is None:
                    break
                try:
                    domain, attempt = self._left.popleft()
                except IndexError:
                    break
                done = worker.ask(domain, self._job.part(domain))
                if done is not None:
                    self._found.put(done)
                    continue
                self._again(domain, attempt, self._gone(worker))
                worker = None
        except BaseException as error:
            self._found.put(_Ended(error))
        finally:
            if worker is not None:
                self._gone(worker)

    def _started(self) -> _Worker | None:
        """A worker that is ready; None where there is to be none, or no room beside the others."""
        code: int | None = None
        for _ in range(TRIES):
            worker = _Worker(self._threads)
            with self._lock:
                if self._stopped:
                    worker.kill()
                self._workers.add(worker)
            if worker.begin((self._job.begin, self._job.shared)):
                return worker
            code = self._gone(worker)
            if self._stopped:
                return None
        with self._lock:
            alone = not self._workers
        if not alone or not self._left:
            return None
        raise WorkerLostError(
            f"{TRIES} worker processes ended ({_how(code)}) before they took a domain. Expected "
            f"them to live; the usual cause is too little memory. Use fewer: --workers 1, or none: "
            f"--engine serial"
        )

    def _again(self, domain: str, attempt: int, code: int | None) -> None:
        """Put a domain back whose worker died, behind the others, or give it up."""
        if attempt < TRIES:
            self._left.append((domain, attempt + 1))
        elif not self._stopped:
            self._found.put(Done(domain, error=lost(domain, _how(code))))

    def _gone(self, worker: _Worker) -> int | None:
        with self._lock:
            self._workers.discard(worker)
        return worker.end()


@dataclass(frozen=True)
class _Ended:
    """What ends the whole pass."""

    error: BaseException


class _Worker:
    """A process and the pipe to it."""

    def __init__(self, threads: int) -> None:
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=serve, args=(theirs, threads), daemon=True)
        # Until the process can say what Ctrl-C means to it, it shall not hear it. The mask is that
        # of this thread, which hears none in any case.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that a process that dies is seen as the end of the pipe

    def begin(self, job: tuple[Any, Any]) -> bool:
        """Hand over the job; False where the process died over it.

        Raises:
            Exception: What the job's `begin` raised there.
        """
        try:
            self._pipe.send(job)
            kind, error = self._pipe.recv()
        except _BROKEN:
            return False
        if kind == FAILED:
            raise error
        return True

    def ask(self, domain: str, part: Any) -> Done[Any] | None:
        """A domain done; None where the process died over it."""
        try:
            self._pipe.send((domain, part))
            done: Done[Any] = self._pipe.recv()
        except _BROKEN:
            return None
        return done

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def end(self) -> int | None:
        """Let go of the process; its exit code, negative for a signal."""
        with suppress(OSError):
            self._pipe.close()
        self._process.join(_SECONDS_TO_DIE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        return self._process.exitcode


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"by {signal.Signals(-code).name}"
    return f"with exit code {code}"
