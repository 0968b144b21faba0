"""What no release needs any more leaves the store, once a retraining is done."""

from __future__ import annotations

from pathlib import Path

from lorarec.errors import LorarecError
from lorarec.jobs.gc import gc
from lorarec.jobs.listener import SILENT, Listener
from lorarec.pipeline.publish import FOLDER
from lorarec.tracking.store import Store


def collect(store: Store, work: Path, keep: int | None, listen: Listener = SILENT) -> str:
    """Remove old versions and adapters; what the published indexes were built of stays.

    Done again it removes what a broken-off call left. A store that refuses stops no retraining.

    Args:
        store: Opened to write.
        work: Folder of the retraining, with its indexes.
        keep: As `gc` takes it; None removes nothing.
        listen: Takes words.

    Returns:
        Why nothing, or not all, was removed; empty where all went well.
    """
    if keep is None:
        return ""
    indexes = sorted(each.parent for each in (work / FOLDER).glob("*/[0-9]*/index.json"))
    try:
        found = gc(store, keep, dry_run=False, indexes=indexes)
    except LorarecError as error:
        listen.say(f"Warning: old adapters stay: {error}")
        return str(error)
    listen.say(f"{len(found.removed)} things that no release needs were removed from the store.")
    return ""
