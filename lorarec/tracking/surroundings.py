"""What a run had around it: the environment it ran in, and what it took of the machine."""

from __future__ import annotations

import getpass
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lorarec.tracking.runs import Run

WATCHED = ("pretrain", "trial", "adapt", "full")
"""Kinds of run that train, and so are worth watching."""
SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
"""MLflow's own variable; `false` turns its samples off."""
_BYTES = 1 if sys.platform == "darwin" else 1024


class Told(Protocol):
    """What takes metrics: a run."""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """As `Run.log_metrics`."""


@cache
def environment() -> dict[str, Any]:
    """Python, machine, and every installed package with its version; the same for all of a process.

    It names no host and no variable, whose values may be nobody's business.
    """
    found = {str(each.name): str(each.version) for each in distributions() if each.name}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "packages": dict(sorted(found.items(), key=lambda pair: pair[0].lower())),
    }


def program_tags() -> dict[str, str]:
    """Version and commit of the program, and who runs it, as far as they can be told."""
    tags = {}
    with suppress(PackageNotFoundError):
        tags["lorarec.version"] = version("lorarec")
    with suppress(OSError, KeyError, ImportError):
        tags["mlflow.user"] = getpass.getuser()
    with suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=2, check=True
        )
        tags["lorarec.git_sha"] = found.stdout.strip()
    return tags


@contextmanager
def watched(run: Run, store_uri: str) -> Iterator[None]:
    """Record what the block takes: MLflow's samples of CPU, memory, disk, network and GPU by a
    thread every ten seconds as `system/…`, and at its good end the process's own totals.

    Those are `process/cpu_seconds` within the block, and `process/peak_memory_megabytes`, the most
    that this process has held until then. Where MLflow cannot watch, nothing is said of it.

    Raises:
        StoreError: The store refused the totals.
    """
    with totals(run):
        monitor = _monitor(run.id, store_uri)
        try:
            yield
        finally:
            if monitor is not None:
                monitor.finish()


@contextmanager
def totals(run: Told) -> Iterator[None]:
    """Record the process's own totals of `watched` at the block's good end, and nothing else."""
    before = _cpu_seconds()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES
    run.log_metrics(
        {
            "process/cpu_seconds": _cpu_seconds() - before,
            "process/peak_memory_megabytes": peak / 1e6,
        }
    )


def _monitor(run_id: str, store_uri: str) -> Any:
    if os.environ.get(SWITCH, "").lower() in ("false", "0"):
        return None
    from mlflow.exceptions import MlflowException

    try:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(run_id, tracking_uri=store_uri)
    except (ImportError, MlflowException, OSError):  # psutil is missing, or told nothing here
        return None
    monitor.start()
    return monitor


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
