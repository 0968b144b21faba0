"""What serving reads, rebuilt: an index of each new champion, in place by one rename.

`lorarec serve` reads the champions of the store by itself. An index is for whoever ranks with
`lorarec recommend --index`: `indexes/<domain>/<version>`, and the link `newest` beside it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from lorarec.config import Settings
from lorarec.jobs.index_domain import build_index
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.recommend import prepare
from lorarec.pipeline.points import reached
from lorarec.record import load_record
from lorarec.retrieval.artefact import RECORD, IndexInfo
from lorarec.storage import beside, refused
from lorarec.tracking.champions import reign
from lorarec.tracking.model_names import model_name
from lorarec.tracking.store import Store
from lorarec.tracking.versions import Version, find_version

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
    uri = f"models:/{name}/{version}"
    if not _is_of(find_version(store, uri), place):
        staged = beside(place)
        build_index(prepare(domain, store, None, uri, (), listen), staged, kind, listen=listen)
        try:
            if place.is_dir():  # of before ids were forgotten
                shutil.rmtree(place)
            staged.rename(place)
        except OSError as error:
            raise refused(place, error) from error
    _point(place)
    _remove_old(place.parent, settings.pipeline.keep)
    return place


def _is_of(version: Version, place: Path) -> bool:
    """Whether an index is there and of the version as it is now: forgetting ids changes digests."""
    if not place.is_dir():
        return False
    info = load_record(place / RECORD, IndexInfo)
    now = (version.tag("base_digest"), version.tag("digest"))
    return None in now or now == (info.base_digest, info.adapter_digest)


def _point(place: Path) -> None:
    """Let `newest` be this folder; a reader finds the old one or the new one."""
    link = place.parent / NEWEST
    staged = beside(link)
    try:
        staged.symlink_to(place.name)
        reached("link-before")
        staged.replace(link)
        reached("link-after")
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise refused(link, error) from error


def _remove_old(folder: Path, keep: int) -> None:
    numbers = sorted(int(each.name) for each in folder.iterdir() if each.name.isdigit())
    for number in numbers[:-keep]:
        shutil.rmtree(folder / str(number), ignore_errors=True)
