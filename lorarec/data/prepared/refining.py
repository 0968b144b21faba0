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

from lorarec.data.core import Core, added, check_left, k_core, marked
from lorarec.data.duplicates import NUMBERS, PAIR, count_repeats, refusal, resolved
from lorarec.data.prepared.counting import counts_of, mark_shards
from lorarec.data.prepared.manifest import VOCABULARIES, FileRecord, Table, of_table
from lorarec.data.prepared.pieces import Assigned, pieces
from lorarec.data.prepared.shards import ROWS, read_ids, scan_rows, write_shard
from lorarec.data.splits import SplitRecord, in_parts

Array = np.ndarray[Any, Any]
Sizes = dict[Table, int]
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


def by_numbers(rows: pl.DataFrame, split: SplitRecord) -> pl.DataFrame:
    """Some rows of shards in the part where they fall, by time or by their column."""
    return rows if split.used == "column" else in_parts(rows, split)


def assigned(
    folder: Path, files: Sequence[FileRecord], split: SplitRecord, whole: bool = False
) -> Iterator[pl.DataFrame]:
    """All rows with their parts, some at a time.

    Args:
        folder: Of the data set.
        files: All its files.
        split: Whose parts.
        whole: Whether repeats of one row must never be apart; a split that looks at histories
            never takes them apart.

    Yields:
        Rows of `shards.ROWS`.
    """
    if split.by_histories:
        yield from Assigned(folder, files, split, tuple(ROWS))
        return
    lots = (
        pieces(folder, files, tuple(ROWS))
        if whole
        else (scan_rows(folder, [record]).collect() for record in of_table(files, "rows"))
    )
    for rows in lots:
        yield by_numbers(rows, split)


def refined_lots(
    folder: Path, files: Sequence[FileRecord], split: SplitRecord, whole: bool = False
) -> Iterator[tuple[pl.DataFrame, dict[str, int]]]:
    """All rows that stay, with their parts, some at a time.

    Yields:
        Rows of `shards.ROWS`, and how many of theirs were left out, by part.
    """
    for rows in assigned(folder, files, split, whole or split.duplicates in ("last", "sum")):
        yield resolved(rows, split.duplicates, NUMBERS)


def final_lots(
    folder: Path,
    files: Sequence[FileRecord],
    split: SplitRecord,
    fallen: Fallen | None,
    whole: bool = False,
) -> Iterator[tuple[pl.DataFrame, dict[str, int], Core | None]]:
    """`refined_lots` with rows outside of the core in their part, and how many of them there are.

    Args:
        folder: Of the data set.
        files: All its files.
        split: What is asked for.
        fallen: What is outside of the core, where there is one.
        whole: Whether the rows must come domain after domain.
    """
    for rows, left_out in refined_lots(folder, files, split, whole):
        if fallen is None:
            yield rows, left_out, None
        else:
            marked_rows, core = fallen.mark(rows)
            yield marked_rows, left_out, core


def find_core(
    folder: Path, files: Sequence[FileRecord], sizes: Sizes, split: SplitRecord
) -> Fallen:
    """The ids that are not in the core of the train rows.

    The two numbers of each train row are held in memory: 8 bytes a row, whatever the ids are.
    """
    users: list[Array] = [np.zeros(0, np.uint32)]
    items: list[Array] = [np.zeros(0, np.uint32)]
    for rows, _ in refined_lots(folder, files, split):
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
    folder: Path, files: Sequence[FileRecord], sizes: Sizes, split: SplitRecord
) -> tuple[SplitRecord, Fallen | None]:
    """The split with what its parts hold and what left them, and the ids outside of the core.

    Raises:
        DataError: No train row is in the core.
    """
    fallen = find_core(folder, files, sizes, split) if split.has_core else None
    repeats: dict[str, int] = {}
    moved, cold = 0, dict[str, int]()

    def final() -> Iterator[pl.DataFrame]:
        nonlocal repeats, moved, cold
        for rows, left_out, core in final_lots(folder, files, split, fallen):
            repeats = added(repeats, left_out)
            if core is not None:
                moved, cold = moved + core.rows, added(cold, core.cold_rows)
            yield rows

    named = split.model_copy(update={"used": "column"})
    counts = counts_of(mark_shards(final(), named, sizes["users"], sizes["items"]))
    core = None
    if fallen is not None:
        train = counts["train"].rows if "train" in counts else 0
        check_left(train + moved, moved, split.min_user_rows, split.min_item_rows)
        gone = int(fallen.users.sum()), int(fallen.items.sum())
        core = Core(users=gone[0], items=gone[1], rows=moved, rounds=fallen.rounds, cold_rows=cold)
    update = {"counts": counts, "repeats": repeats, "core": core}
    return split.model_copy(update=update), fallen


def write_fallen(
    folder: Path, number: int, fallen: Fallen | None, name: str | None = None
) -> list[FileRecord]:
    """Write the ids outside of the core of a generation, as rows of their vocabularies.

    Args:
        folder: Of the data set.
        number: Of the generation.
        fallen: None writes nothing.
        name: Of the file, below the folder; None is the generation's.
    """
    if fallen is None:
        return []
    frames = [
        pl.Series("row", np.flatnonzero(falls), dtype=pl.UInt32)
        .to_frame()
        .select(pl.lit(table).alias("table"), "row")
        for table, falls in (("users", fallen.users), ("items", fallen.items))
    ]
    name = name or f"core/{number:06d}.parquet"
    return [write_shard(folder, "core", name, pl.concat(frames))]


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
    total, first = 0, list[pl.DataFrame]()
    for rows in pieces(folder, files, tuple(NUMBERS)):
        count, some = count_repeats(rows, NUMBERS, _SHOWN)
        total += count
        if count and sum(map(len, first)) < _SHOWN:
            first.append(some)
    if not total:
        return
    shown = pl.concat(first).head(_SHOWN)
    named = [
        read_ids(folder, of_table(files, table))[shown[own].to_list()].alias(column)
        for table, own, column in zip(VOCABULARIES, NUMBERS, PAIR, strict=True)
    ]
    looked_at = sum(record.rows for record in of_table(files, "rows"))
    raise refusal(looked_at, total, pl.DataFrame([*named, shown["rows"]]))
