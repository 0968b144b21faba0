"""What serving reads, rebuilt: an index of each new champion, in place by one rename.

`lorarec serve` reads the champions of the store by itself. An index is for whoever ranks with
`lorarec recommend --index`: `indexes/<domain>/<version>`, and the link `newest` beside it.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from lorarec.config import Settings
from lorarec.jobs.index_domain import build_index
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.recommend import prepare
from lorarec.pipeline.points import reached
from lorarec.storage import refused
from lorarec.tracking.champions import reign
from lorarec.tracking.model_names import model_name
from lorarec.tracking.store import Store

FOLDER, NEWEST = "indexes", "newest"


def publish(
    settings: Settings, store: Store, work: Path, domain: str, listen: Listener = SILENT
) -> Path | None:
    """Build the index of a domain's champion, where one is asked for and not there yet.

    Args:
        settings: `[pipeline] index` is its kind, `keep` how many versions stay.
        store: Where the champion is.
        work: Folder of the retraining.
        domain: Its name.
        listen: Takes words.

    Returns:
        Its folder; None where none is asked for, or where the bare base serves.

    Raises:
        LorarecError: It cannot be built; the one before stays the newest.
    """
    kind, version = settings.pipeline.index, reign(store, domain).version
    if kind is None or version is None:
        return None
    name = model_name(domain)
    place = work / FOLDER / name / str(version)
    if not place.is_dir():
        ready = prepare(domain, store, None, f"models:/{name}/{version}", (), listen)
        build_index(ready, place, kind, listen=listen)
    _point(place)
    _remove_old(place.parent, settings.pipeline.keep)
    return place


def _point(place: Path) -> None:
    """Let `newest` be this folder; a reader finds the old one or the new one."""
    link, beside = place.parent / NEWEST, place.parent / f".{NEWEST}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        beside.symlink_to(place.name)
        reached("link-before")
        beside.replace(link)
        reached("link-after")
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise refused(link, error) from error


def _remove_old(folder: Path, keep: int) -> None:
    numbers = sorted(int(each.name) for each in folder.iterdir() if each.name.isdigit())
    for number in numbers[:-keep]:
        shutil.rmtree(folder / str(number), ignore_errors=True)
