"""Work for the engines of `lorarec.fanout`, which worker processes import by its name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorarec.errors import ArtifactError, DataError
from lorarec.fanout.job import Job

THREADS = "threads"


def job(folder: Path) -> Job[Path, int, Any]:
    """Squares a domain's number; what else it does is in the domain's name."""
    return Job(begin, folder, lambda domain: int(domain.rpartition("-")[2]))


def broken(folder: Path) -> Job[Path, int, Any]:
    """A job that cannot begin."""
    return Job(refuse, folder, len)


def refuse(_: Path) -> Callable[[str, int], Any]:
    """As a base that was edited does."""
    raise ArtifactError("The base was edited.")


def crowded(folder: Path) -> Job[Path, int, Any]:
    """A job for which there is room in one worker alone, and in none where a file says so."""
    return Job(first_alone, folder, lambda domain: int(domain.rpartition("-")[2]))


def first_alone(folder: Path) -> Callable[[str, int], Any]:
    """Kills every worker but the first."""
    (folder / f"start-{os.getpid()}").touch()
    try:
        (folder / "first").touch(exist_ok=False)
    except FileExistsError:
        os.kill(os.getpid(), signal.SIGKILL)
    return begin(folder)


def begin(folder: Path) -> Callable[[str, int], Any]:
    """Once a worker; a file for each in the folder."""
    (folder / f"begun-{os.getpid()}").touch()

    def work(domain: str, number: int) -> Any:
        tries = len(list(folder.glob(f"{domain}.*")))
        (folder / f"{domain}.{tries}").touch()
        if domain.startswith("bad"):
            raise DataError(f"{domain} has no rows.")
        if domain.startswith("deadly") or (domain.startswith("killed") and tries == 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if domain.startswith("long"):
            time.sleep(60)
        if domain.startswith(THREADS):
            return os.environ.get("OMP_NUM_THREADS")
        return number**2

    return work
