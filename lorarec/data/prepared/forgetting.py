"""A data set without some ids: their rows go, and their rows of the vocabularies are left empty.

What changes is written into new files beside the old ones, which the old manifest does not name;
the new manifest makes the change when it is put in its place. Every generation stays readable, by
its old digests too; no other row changes, nor any number of an id.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lorarec.data.forgotten import SIDES, Forgotten, Side
from lorarec.data.prepared.build import remove_leftovers
from lorarec.data.prepared.counting import Part
from lorarec.data.prepared.cutting import counted
from lorarec.data.prepared.dataset import PreparedDataset, open_dataset
from lorarec.data.prepared.manifest import (
    DomainCounts,
    FileRecord,
    Generation,
    Manifest,
    first_digest,
    of_table,
    with_digest,
    write_manifest,
)
from lorarec.data.prepared.presence import is_kept
from lorarec.data.prepared.refining import write_fallen
from lorarec.data.prepared.shards import scan_rows, write_shard
from lorarec.data.splits import SplitRecord
from lorarec.data.tables import write_parquet
from lorarec.errors import DataError

OWN: dict[Side, str] = {"users": "user", "items": "item"}
"""Columns of the shards."""


@dataclass(frozen=True)
class Rewritten:
    """A data set without some ids, written beside the old one and not yet in its place."""

    folder: Path
    manifest: Manifest
    rows: int
    """That went."""
    fresh: list[Path]
    """Files that only the new manifest names."""
    quarantine: dict[Path, Path]
    """Rows set aside: new file → the one whose place it takes."""


def rewritten(folder: Path, forgotten: Forgotten) -> Rewritten | None:
    """Write what a data set is without some ids; the caller holds its lock (`build.alone`).

    Args:
        folder: Of the data set.
        forgotten: The ids.

    Returns:
        None where it names none of them.

    Raises:
        DataError: No row would be left, or an item goes of a split that its loss would shift.
        ArtifactError: A file is missing, truncated or edited.
        StoreError: The disk refused.
    """
    dataset = open_dataset(folder)
    gone = {side: _rows_of(dataset, forgotten, side) for side in SIDES}
    aside = _quarantine(folder, forgotten)
    if not any(gone.values()) and not aside:
        return None
    _refuse_shifted(dataset, gone["items"])
    writing = _Writing(dataset, gone, forgotten)
    before = first_digest(dataset.manifest.options)
    generations: list[Generation] = []
    try:
        for generation in dataset.manifest.generations:
            changed = writing.generation(generation, generations)
            changed = with_digest(before, changed)
            before = changed.digest
            generations.append(changed)
        if not sum(generation.rows for generation in generations):
            raise DataError(
                f"{folder} would have no row left. Expected some to stay; remove it instead."
            )
    except BaseException:
        writing.undo()
        raise
    return Rewritten(
        folder,
        dataset.manifest.model_copy(update={"generations": generations}),
        writing.rows,
        writing.fresh,
        aside,
    )


def put_in_place(found: Rewritten) -> None:
    """Let the data set be what was written beside it: one rename, and then the old files go.

    The caller still holds the lock. Killed before the rename nothing has changed, and after it
    `build.remove_leftovers` removes what is left.

    Raises:
        StoreError: The disk refused.
    """
    for beside, path in found.quarantine.items():
        beside.replace(path)
    write_manifest(found.folder, found.manifest)
    remove_leftovers(found.folder, found.manifest)


def discard(found: Rewritten) -> None:
    """Remove what was written beside a data set."""
    for path in [*found.fresh, *found.quarantine]:
        path.unlink(missing_ok=True)


def _rows_of(dataset: PreparedDataset, forgotten: Forgotten, side: Side) -> list[int]:
    return forgotten.among(side, dataset.users if side == "users" else dataset.items)


def _refuse_shifted(dataset: PreparedDataset, items: list[int]) -> None:
    """Leave-last-out holds out a user's last rows: without one of them an earlier one would be."""
    split = dataset.split
    if items and split is not None and split.used == "leave-last-out":
        raise DataError(
            f"{dataset.folder} is split by leave-last-out: without an item, rows that have trained "
            f"would be held out. Expected users alone, or another split; prepare the logs again "
            f"without the item: lorarec data prepare LOGS DIR"
        )


@dataclass
class _Writing:
    """One pass over the generations of a data set."""

    dataset: PreparedDataset
    gone: dict[Side, list[int]]
    forgotten: Forgotten

    def __post_init__(self) -> None:
        self.rows = 0
        self.fresh: list[Path] = []
        self._mark = uuid.uuid4().hex[:8]
        self._split: SplitRecord | None = None
        self._parts: dict[str, Part] | None = None
        self.folder = self.dataset.folder
        self._sizes = self.dataset.sizes()
        self._domains = self.dataset.domains.series

    def undo(self) -> None:
        """Remove what was written."""
        for path in self.fresh:
            path.unlink(missing_ok=True)

    def generation(self, old: Generation, before: list[Generation]) -> Generation:
        """A generation without the ids; its digest is yet to be made.

        Args:
            old: As it was.
            before: Those before it, as they are now.
        """
        files = [self._file(record) for record in old.files if record.table not in _COUNTED]
        kept = [record for record in files if record is not None]
        rows = of_table(kept, "rows")
        earlier = [record for generation in before for record in generation.files]
        split = old.split
        if split is not None:
            split, core = self._counted(old, split, earlier, kept)
            kept += core
        return old.model_copy(
            update={
                "files": kept,
                "rows": sum(record.rows for record in rows),
                "domains": self._counts(rows),
                "split": split,
                "was": [*old.was, old.digest],
            }
        )

    def _file(self, record: FileRecord) -> FileRecord | None:
        """A file without the ids: the same one where it names none, None where nothing is left."""
        frame = pl.read_parquet(self.folder / record.name, glob=False)
        if record.table == "rows":
            left = frame.filter(
                *(pl.col(OWN[side]).is_in(rows).not_() for side, rows in self.gone.items() if rows)
            )
            self.rows += frame.height - left.height
            same = left.height == frame.height
        elif record.table in SIDES:
            ids = self.forgotten.ids("users" if record.table == "users" else "items")
            named = frame["id"].is_in(ids).fill_null(False)
            same = not named.any()
            left = frame.select(pl.when(~named).then(pl.col("id")))
        else:
            return record
        if same:
            return record
        return self._write(record, left) if left.height else None

    def _write(self, record: FileRecord, frame: pl.DataFrame) -> FileRecord:
        name = self._name(record.name)
        self.fresh.append(self.folder / name)
        return write_shard(self.folder, record.table, name, frame)

    def _name(self, name: str) -> str:
        path = Path(name)
        return (path.parent / f"{path.stem.partition('.')[0]}.{self._mark}.parquet").as_posix()

    def _counted(
        self, old: Generation, split: SplitRecord, earlier: list[FileRecord], own: list[FileRecord]
    ) -> tuple[SplitRecord | None, list[FileRecord]]:
        """The split with what its parts hold now, and the file of what is outside of its core."""
        goes_on = self._split is not None and self._split.cutoffs == split.cutoffs
        before = self._parts if goes_on and is_kept(split) else None
        files = own if before is not None else [*earlier, *own]
        found = counted(self.folder, files, self._sizes, split, before)
        self._split, self._parts = split, found.parts or None
        name = self._name(f"core/{old.number:06d}.parquet")
        core = write_fallen(self.folder, old.number, found.fallen, name)
        self.fresh += [self.folder / record.name for record in core]
        return found.split, core

    def _counts(self, rows: list[FileRecord]) -> dict[str, DomainCounts]:
        if not rows:
            return {}
        found = (
            scan_rows(self.folder, rows)
            .select("domain", "timestamp")
            .group_by("domain")
            .agg(pl.len(), pl.min("timestamp"), pl.max("timestamp").alias("last"))
            .collect()
        )
        names = ((self._domains[int(place)], *counts) for place, *counts in found.iter_rows())
        return {
            name: DomainCounts(rows=count, first=first, last=last)
            for name, count, first, last in sorted(names)
        }


_COUNTED = ("core", "presence")
"""Files that are worked out of the others."""


def _quarantine(folder: Path, forgotten: Forgotten) -> dict[Path, Path]:
    """New files of the rows that were set aside and name one of the ids in any column."""
    found = {}
    for path in sorted((folder / "quarantine").glob("*.parquet")):
        frame = pl.read_parquet(path, glob=False)
        named = frame.select(
            pl.any_horizontal(pl.all().cast(pl.String).is_in(forgotten.texts).fill_null(False))
        ).to_series()
        if named.any():
            beside = path.with_name(f".{path.name}.forgotten")
            write_parquet(frame.filter(~named), beside)
            found[beside] = path
    return found
