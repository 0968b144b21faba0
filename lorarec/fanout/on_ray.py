"""Domains as tasks of Ray: on this machine, or over a cluster.

Ray begins a task again where its worker or its node is gone, on any other; and it keeps what is
shared once on each node, where arrays are read in place. This is the one file that imports Ray.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lorarec.errors import ConfigError, NotFoundError, WorkerLostError
from lorarec.fanout.job import TRIES, Done, Job, Part, Shared, Value, attempted, lost, portable
from lorarec.fanout.worker import FAILED, READY, pinned, sendable

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""No report of use is sent; a worker that asks for no GPU keeps sight of those there are."""
AHEAD = 2
"""Tasks handed to Ray for each worker, so that none waits for us."""
_SECONDS_TO_ANSWER = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_work: dict[str, Any] = {}
"""In a worker: of the pass that it is in, by its key, the function of a domain."""


@dataclass(frozen=True)
class RayEngine:
    """Workers of a local Ray that lives as long as the pass, or of a cluster that is there."""

    workers: int | None
    """How many tasks run at once; None is as many as there are cores for."""
    threads: int = 1
    """Threads and cores of each."""
    address: str | None = None
    """Of a cluster, such as `auto` or `ray://head:10001`; None is a local one."""
    here = False

    def __post_init__(self) -> None:
        import_ray()

    @contextmanager
    def map(
        self, job: Job[Shared, Part, Value], domains: Sequence[str]
    ) -> Iterator[Iterator[Done[Value]]]:
        """As `map_domains`."""
        with self._connected() as ray:
            cores = int(ray.cluster_resources().get("CPU", 1))
            workers = self.workers or max(cores // self.threads, 1)
            yield _results(ray, job, domains, workers, self.threads)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Ray, until the block ends; one that this process had before stays."""
        ray = import_ray()
        if ray.is_initialized():
            yield ray
            return
        main = threading.current_thread() is threading.main_thread()
        before = {number: signal.getsignal(number) for number in _SIGNALS if main}
        cores = None
        if self.address is None and self.workers is not None:
            cores = self.workers * self.threads
        try:
            _check_reachable(self.address)
            ray.init(
                address=self.address,
                num_cpus=cores,
                include_dashboard=None if self.address else False,
                log_to_driver=False,
                logging_level="error",
                runtime_env={"env_vars": pinned(self.threads)},
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise NotFoundError(
                f"Ray at {self.address or 'this machine'} does not answer: {error}. Expected a "
                f"cluster that runs, such as --address auto on one of its nodes; leave it out for "
                f"this machine alone."
            ) from error
        finally:
            for number, handler in before.items():  # Ray takes some for itself
                signal.signal(number, handler)
        try:
            yield ray
        finally:
            ray.shutdown()


def _check_reachable(address: str | None) -> None:
    """Refuse a place where nobody listens at once; Ray would go on trying for minutes.

    Raises:
        OSError: Nobody does.
        ValueError: The port is no number.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()


def import_ray() -> Any:
    """The package.

    Raises:
        ConfigError: It is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"--engine ray needs Ray, which is not installed here ({error}). Install it: "
            f"pip install 'lorarec[ray]', or use the processes of this machine: --engine spawn"
        ) from error
    return ray


def _results(
    ray: Any, job: Job[Shared, Part, Value], domains: Sequence[str], workers: int, threads: int
) -> Iterator[Done[Value]]:
    remote = ray.remote(num_cpus=threads, max_retries=TRIES - 1)(_task)
    shared, key = ray.put((job.begin, job.shared)), uuid.uuid4().hex
    left = iter(domains)
    running: dict[Any, str] = {}
    while True:
        # A reference in a list is handed over as it is, so that a worker reads it once.
        while len(running) < AHEAD * workers and (domain := next(left, None)) is not None:
            running[remote.remote(key, [shared], domain, job.part(domain))] = domain
        if not running:
            return
        [ready], _ = ray.wait(list(running), num_returns=1)
        domain = running.pop(ready)
        try:
            kind, found = ray.get(ready)
        except (ray.exceptions.RayTaskError, ray.exceptions.RayError) as error:
            if isinstance(error, ray.exceptions.RayTaskError):
                raise WorkerLostError(
                    f"A worker of Ray could not take a domain: {str(error).strip()[-400:]}. "
                    f"Expected this version of lorarec and its libraries on every node."
                ) from error
            yield Done(domain, error=lost(domain, type(error).__name__))
            continue
        if kind == FAILED:
            raise found
        yield found


def _task(key: str, shared: list[Any], domain: str, part: Any) -> tuple[str, Any]:
    """In a worker of Ray: one domain; before the first of a pass, the pass."""
    if key not in _work:
        import ray

        begin, value = ray.get(shared[0])
        try:
            made = begin(value)
        except Exception as error:
            return FAILED, portable(error)
        _work.clear()
        _work[key] = made
    return READY, sendable(attempted(_work[key], domain, part))
