"""What a killed retraining left: half-written files, and runs that nobody will end."""

from __future__ import annotations

import shutil
from pathlib import Path

from lorarec.jobs.doctor import close_dead
from lorarec.jobs.listener import SILENT, Listener
from lorarec.pipeline.retry import Patience, patiently
from lorarec.pipeline.state import load
from lorarec.storage import UNFINISHED
from lorarec.tracking.store import Store


def clear(work: Path, store: Store, patience: Patience, listen: Listener = SILENT) -> None:
    """Remove the files and close the runs; nobody else may be at work in the folder.

    Args:
        work: Folder of the retraining.
        store: Where the runs are.
        patience: How closing them is tried again.
        listen: Takes words.

    Raises:
        ArtifactError: The journal was edited or damaged.
        StoreError: The store refused.
    """
    for left in sorted(work.rglob(UNFINISHED)):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    last = load(work)
    # On another machine, or in another container, its processes cannot be asked for. The lock says
    # that they are gone.
    own = last.id if last is not None and not last.finished else None
    found = patiently("closing dead runs", lambda: close_dead(store, retrain=own), patience, listen)
    closed = [run for run in found if run.closed]
    if closed:
        listen.say(f"{len(closed)} runs of processes that are gone were closed.")
