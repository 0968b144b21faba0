"""What leaves a data set's parts, over shards of any size: repeats, and train rows off the core.

The shards keep every row of the logs. Which of them count is worked out from the split whenever
they are read, so an append or another cut-off needs no file of old rows to change, and an older
generation reads as it did. Only what fell out of the core of all domains is kept in a file, so
that one domain can be read alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.data import timeline
from lorarec.data.core import Core, added, check_left, k_core, marked
from lorarec.data.duplicates import NUMBERS, count_repeats, refusal, resolved
from lorarec.data.prepared.counting import count_shards
from lorarec.data.prepared.manifest import FileRecord, Table
from lorarec.data.prepared.shards import scan_rows, write_shard
from lorarec.data.splits import SplitRecord

Array = np.ndarray[Any, Any]
Sizes = dict[Table, int]
LOT = 1 << 22
"""Rows that are looked at together: 4,194,304."""
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Fallen:
    """Ids with train rows that are not in the core."""

    users: Array
    """bool (users,)."""
    items: Array
    """bool (items,)."""
    rounds: int = 0

    def mark(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, Core]:
        """Rows with the part of those outside of the core changed, and how many there are."""
        user, item = rows["user"].to_numpy(), rows["item"].to_numpy()
        parts, core = marked(rows["split"], self.users[user], self.items[item])
        return rows.with_columns(parts), core


def in_parts(rows: pl.DataFrame, split: SplitRecord) -> pl.DataFrame:
    """Rows of shards in the part where they fall, by time or by their column."""
    return rows if split.used == "column" else timeline.by_time(rows, split.t_valid, split.t_test)


def refined_lots(
    folder: Path, records: Sequence[FileRecord], split: SplitRecord
) -> Iterator[tuple[pl.DataFrame, dict[str, int]]]:
    """All rows that stay, with their parts, some at a time; repeats of one are never apart.

    Yields:
        Rows of `shards.ROWS`, and how many of theirs were left out, by part.
    """
    if split.duplicates in ("last", "sum"):
        pieces = lots(folder, records)
    else:
        pieces = (scan_rows(folder, [record]).collect() for record in records)
    for rows in pieces:
        yield resolved(in_parts(rows, split), split.duplicates, NUMBERS)


def lots(
    folder: Path, records: Sequence[FileRecord], size: int | None = None
) -> Iterator[pl.DataFrame]:
    """All rows by domain, some domains at a time, and a large one by parts of its users.

    Shards are sorted by domain, so that each part of a shard is read about once.

    Args:
        folder: Of the data set.
        records: Shards, oldest first.
        size: Rows that are looked at together, about; None is `LOT`.
    """
    rows = scan_rows(folder, records)
    counts = rows.group_by("domain").agg(rows=pl.len()).collect().sort("domain")
    for low, high, pieces in _ranges(counts, size or LOT):
        wanted = pl.col("domain").is_between(low, high)
        for piece in range(pieces):
            mine = wanted & (pl.col("user") % pieces == piece) if pieces > 1 else wanted
            yield rows.filter(mine).collect()


def _ranges(counts: pl.DataFrame, size: int) -> Iterator[tuple[int, int, int]]:
    """First and last domain of each lot, and in how many parts its users are taken."""
    low, total, last = None, 0, 0
    for domain, rows in counts.iter_rows():
        if low is not None and total + rows > size:
            yield low, last, -(-total // size)
            low, total = None, 0
        low, total, last = domain if low is None else low, total + rows, domain
    if low is not None:
        yield low, last, -(-total // size)


def find_core(
    folder: Path, records: Sequence[FileRecord], sizes: Sizes, split: SplitRecord
) -> Fallen:
    """The ids that are not in the core of the train rows.

    The two numbers of each train row are held in memory: 8 bytes a row, whatever the ids are.
    """
    users: list[Array] = [np.zeros(0, np.uint32)]
    items: list[Array] = [np.zeros(0, np.uint32)]
    for rows, _ in refined_lots(folder, records, split):
        train = (rows["split"] == "train").to_numpy()
        users.append(rows["user"].to_numpy()[train])
        items.append(rows["item"].to_numpy()[train])
    user, item = _joined(users), _joined(items)
    least = split.min_user_rows, split.min_item_rows
    return Fallen(*k_core(user, item, (sizes["users"], sizes["items"]), *least))


def _joined(pieces: list[Array]) -> Array:
    """The pieces end to end; each is let go of before the next list is joined."""
    whole = np.concatenate(pieces)
    pieces.clear()
    return whole


def count_refined(
    folder: Path, records: Sequence[FileRecord], sizes: Sizes, split: SplitRecord
) -> tuple[SplitRecord, Fallen | None]:
    """The split with what its parts hold and what left them, and the ids outside of the core.

    Raises:
        DataError: No train row is in the core.
    """
    fallen = find_core(folder, records, sizes, split) if split.has_core else None
    repeats: dict[str, int] = {}
    moved, cold = 0, dict[str, int]()

    def final() -> Iterator[pl.DataFrame]:
        nonlocal repeats, moved, cold
        for rows, left_out in refined_lots(folder, records, split):
            repeats = added(repeats, left_out)
            if fallen is not None:
                rows, core = fallen.mark(rows)
                moved, cold = moved + core.rows, added(cold, core.cold_rows)
            yield rows

    named = split.model_copy(update={"used": "column"})
    counts = count_shards(final(), named, sizes["users"], sizes["items"])
    core = None
    if fallen is not None:
        train = counts["train"].rows if "train" in counts else 0
        check_left(train + moved, moved, split.min_user_rows, split.min_item_rows)
        gone = int(fallen.users.sum()), int(fallen.items.sum())
        core = Core(users=gone[0], items=gone[1], rows=moved, rounds=fallen.rounds, cold_rows=cold)
    split = split.model_copy(update={"counts": counts, "repeats": repeats, "core": core})
    return split.model_copy(update={"notes": split.refinements()}), fallen


def write_fallen(folder: Path, number: int, fallen: Fallen) -> FileRecord:
    """Write the ids outside of the core of a generation, as rows of their vocabularies."""
    frames = [
        pl.Series("row", np.flatnonzero(falls), dtype=pl.UInt32)
        .to_frame()
        .select(pl.lit(table).alias("table"), "row")
        for table, falls in (("users", fallen.users), ("items", fallen.items))
    ]
    return write_shard(folder, "core", f"core/{number:06d}.parquet", pl.concat(frames))


def read_fallen(folder: Path, record: FileRecord, sizes: Sizes) -> Fallen:
    """The ids outside of the core, from `write_fallen`'s file."""
    frame = pl.read_parquet(folder / record.name, glob=False)
    users, items = np.zeros(sizes["users"], bool), np.zeros(sizes["items"], bool)
    for table, falls in (("users", users), ("items", items)):
        falls[frame.filter(pl.col("table") == table)["row"].to_numpy()] = True
    return Fallen(users, items)


def check_repeats(folder: Path, files: Sequence[FileRecord]) -> None:
    """Refuse a data set of which rows repeat a (user, item, domain).

    Args:
        folder: Of the data set.
        files: All its files.

    Raises:
        ContractError: Some rows do; their count and the first five pairs, by domain, are told.
    """
    records = [file for file in files if file.table == "rows"]
    total, first = 0, list[pl.DataFrame]()
    for rows in lots(folder, records):
        count, some = count_repeats(rows, NUMBERS, _SHOWN)
        total += count
        if count and sum(map(len, first)) < _SHOWN:
            first.append(some)
    if not total:
        return
    shown = pl.concat(first).head(_SHOWN)
    named = [
        _ids(folder, files, table)[shown[own].to_list()].alias(column)
        for table, own, column in (
            ("users", "user", "user_id"),
            ("items", "item", "item_id"),
            ("domains", "domain", "domain"),
        )
    ]
    raise refusal(
        sum(record.rows for record in records), total, pl.DataFrame([*named, shown["rows"]])
    )


def _ids(folder: Path, files: Sequence[FileRecord], table: str) -> pl.Series:
    parts = [pl.read_parquet(folder / f.name, glob=False) for f in files if f.table == table]
    return pl.concat(parts)["id"]
