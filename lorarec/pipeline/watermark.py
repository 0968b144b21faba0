"""Which files of logs the data set has taken, by size and time, so that they are not read again.

It saves reading and decides nothing: what it does not know is known by the digest of its bytes, and
without the file every log is read once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from lorarec.data.prepared.dataset import PreparedDataset
from lorarec.errors import ArtifactError
from lorarec.record import FORMAT, Record, load_record, save_record

NAME = "watermark.json"
Kind = Literal["lorarec watermark"]
KIND: Kind = "lorarec watermark"
Stamps = dict[str, tuple[int, int]]
"""Path → bytes, and nanoseconds of its last change."""


class Watermark(Record):
    """Files as they were before they were taken."""

    kind: Kind = KIND
    format_version: int = FORMAT
    dataset: str
    """Digest of the first generation: one that is made anew takes everything."""
    files: Stamps


def stamps(paths: Iterable[Path]) -> Stamps:
    """Files as they are now; taken before they are read, as one may grow meanwhile."""
    found = {}
    for path in paths:
        stat = path.stat()
        found[str(path.resolve())] = (stat.st_size, stat.st_mtime_ns)
    return found


def unseen(work: Path, dataset: PreparedDataset, paths: Sequence[Path]) -> list[Path]:
    """Those of some files that are not as they were when they were taken."""
    known = _load(work, dataset)
    now = stamps(paths)
    return [path for path in paths if known.get(key := str(path.resolve())) != now[key]]


def remember(work: Path, dataset: PreparedDataset, taken: Stamps) -> None:
    """Add files that were taken.

    Raises:
        StoreError: The disk refused.
    """
    if taken:
        files = {**_load(work, dataset), **taken}
        mark = Watermark(dataset=dataset.manifest.generations[0].digest, files=files)
        save_record(work / NAME, mark)


def _load(work: Path, dataset: PreparedDataset) -> Stamps:
    if not (work / NAME).is_file():
        return {}
    try:
        found = load_record(work / NAME, Watermark)
    except ArtifactError:
        return {}  # every file is read once more
    return found.files if found.dataset == dataset.manifest.generations[0].digest else {}
