"""What is done to each of many domains, and what comes back of one."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from lorarec.errors import WorkerLostError

Shared = TypeVar("Shared")
Part = TypeVar("Part")
Value = TypeVar("Value")

TRIES = 3
"""How often a domain is begun whose worker dies over it."""


@dataclass(frozen=True)
class Job(Generic[Shared, Part, Value]):
    """A function of a domain, in three steps, so that what is large is handed over seldom.

    What goes to other processes and comes back is pickled on the way, and never kept so.
    """

    begin: Callable[[Shared], Callable[[str, Part], Value]]
    """Once in each worker: of what is shared, the function of a domain and its part. A function of
    a module, where workers are other processes: they import it by its name."""
    shared: Shared
    """Handed to each worker once."""
    part: Callable[[str], Part]
    """What is handed over of one domain; made when its turn comes, and again where it is begun
    again. It may be called by several threads."""


@dataclass(frozen=True)
class Done(Generic[Value]):
    """What became of a domain: a value, or the error that ended it."""

    domain: str
    value: Value | None = None
    error: Exception | None = None

    def result(self) -> Value:
        """The value.

        Raises:
            Exception: What ended the domain.
        """
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # one of both is there


class Engine(Protocol):
    """Where the domains of a job are done."""

    @property
    def here(self) -> bool:
        """Whether all workers read this machine's disks, so that a path says enough."""

    def map(
        self, job: Job[Shared, Part, Value], domains: Sequence[str]
    ) -> AbstractContextManager[Iterator[Done[Value]]]:
        """As `map_domains`."""


def map_domains(
    job: Job[Shared, Part, Value], domains: Sequence[str], engine: Engine
) -> AbstractContextManager[Iterator[Done[Value]]]:
    """Do a job for each domain; what is finished first comes first.

    One that fails leaves the others as they are: its error is in its `Done`. Where a worker is
    killed, its domain is begun again by another, `TRIES` times in all; then its error is a
    `WorkerLostError`. However the block ends, no worker outlives it.

    Args:
        job: What is done.
        domains: Begun in this order.
        engine: `SerialEngine`, `SpawnEngine` or `RayEngine`.

    Yields:
        An iterator over all domains, each once.

    Raises:
        Exception: By the iterator: what `begin` raised, as then no domain can be done.
        WorkerLostError: By the iterator: workers die before they take a domain.
    """
    return engine.map(job, domains)


def attempted(work: Callable[[str, Part], Value], domain: str, part: Part) -> Done[Value]:
    """One domain done, whatever comes of it."""
    try:
        return Done(domain, work(domain, part))
    except Exception as error:
        return Done(domain, error=error)


def lost(domain: str, how: str) -> WorkerLostError:
    """The error of a domain that no worker outlived."""
    return WorkerLostError(
        f"{TRIES} workers ended ({how}) while they were at {domain!r}. Expected one to outlive it; "
        f"the usual cause is too little memory. Do it alone: --domain {domain}, or with fewer "
        f"beside it: --workers 1"
    )


def portable(error: Exception) -> Exception:
    """An error that another process can read, with the traceback of this one as its note."""
    told = "".join(traceback.format_exception(error))
    try:
        found = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes, just made
    except Exception:
        found = RuntimeError(f"{type(error).__name__}: {error}")
    assert isinstance(found, Exception)
    found.add_note(f"In a worker:\n{told}")
    return found
