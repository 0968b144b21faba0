"""Where a data set is cut into train, valid and test, first and after an append."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from lorarec.data import timeline
from lorarec.data.prepared.counting import count_shards
from lorarec.data.prepared.manifest import FileRecord, Options, Table
from lorarec.data.prepared.moments import HOUR, Moments
from lorarec.data.prepared.refining import count_refined, write_fallen
from lorarec.data.prepared.shards import scan_rows
from lorarec.data.prepared.writing import Written
from lorarec.data.splits import SplitRecord, check_parts
from lorarec.errors import DataError

Cutoffs = tuple[int, int]
"""First second of validation and of test."""


def first_split(folder: Path, written: Written, options: Options) -> SplitRecord | None:
    """The split of a new data set.

    Raises:
        DataError: A part would be empty, or rows lack a timestamp or a split.
    """
    if options.split == "none":
        return None
    plan = SplitRecord(
        how=options.split,
        used=options.split,
        seed=0,
        valid_share=options.valid_share,
        test_share=options.test_share,
        duplicates=options.duplicates,
        min_user_rows=options.min_user_rows,
        min_item_rows=options.min_item_rows,
    )
    if options.split == "column":
        _check_column(folder, written.shards)
        return plan
    return _by_shares(folder, written.shards, written.moments, plan)


def moved_split(
    folder: Path,
    rows: Sequence[FileRecord],
    split: SplitRecord | None,
    written: Written,
    cutoffs: Cutoffs | None,
    by_shares: bool,
) -> SplitRecord | None:
    """The split after an append: the old cut-offs, unless other ones are asked for.

    Args:
        folder: Of the data set.
        rows: All its shards, new ones included.
        split: As it was.
        written: What was added.
        cutoffs: New ones.
        by_shares: Find new ones by the shares of the split.

    Raises:
        DataError: There is no time split to move, or the cut-offs leave a part empty.
    """
    if split is not None and split.used == "time":
        timeline.check_complete(written.moments.missing, written.rows)
    if cutoffs is None and not by_shares:
        if split is not None and split.used == "column":
            _check_column(folder, rows)
        return split
    if split is None or split.used != "time":
        raise DataError(
            f"{folder} is split by {split.used if split else 'nothing'}, so it has no cut-off to "
            f"move. Expected a data set prepared with --split time."
        )
    if cutoffs is None:
        moments = Moments()
        for record in rows:
            moments.add(scan_rows(folder, [record]).select("timestamp").collect()["timestamp"])
        return _by_shares(folder, rows, moments, split)
    t_valid, t_test = cutoffs
    first, last = (
        scan_rows(folder, rows)
        .select(pl.min("timestamp"), pl.max("timestamp").alias("last"))
        .collect()
        .row(0)
    )
    if not first < t_valid < t_test <= last:
        raise DataError(
            f"The cut-offs {_shown(t_valid)} and {_shown(t_test)} leave a part empty: the rows are "
            f"from {_shown(first)} to {_shown(last)}. Expected validation to begin after the "
            f"first row, and the test after it and not after the last row."
        )
    return split.model_copy(update={"t_valid": t_valid, "t_test": t_test})


def counted(
    folder: Path,
    number: int,
    rows: Sequence[FileRecord],
    sizes: dict[Table, int],
    split: SplitRecord | None,
) -> tuple[SplitRecord | None, list[FileRecord]]:
    """The split with the counts of its parts, and the file of what is outside of the core.

    Args:
        folder: Of the data set.
        number: Of the generation that the counts are of.
        rows: All shards up to it.
        sizes: Ids of each vocabulary.
        split: What is counted.

    Raises:
        DataError: No train row is in the core.
    """
    if split is None:
        return None, []
    if split.refines:
        split, fallen = count_refined(folder, rows, sizes, split)
        return split, [] if fallen is None else [write_fallen(folder, number, fallen)]
    shards = (scan_rows(folder, [record]).collect() for record in rows)
    counts = count_shards(shards, split, sizes["users"], sizes["items"])
    return split.model_copy(update={"counts": counts}), []


def _by_shares(
    folder: Path, rows: Sequence[FileRecord], moments: Moments, plan: SplitRecord
) -> SplitRecord:
    def seconds_of(hours: list[int]) -> pl.DataFrame:
        near = pl.col("timestamp").is_between(hours[0] * HOUR, hours[-1] * HOUR + HOUR - 1)
        wanted = (pl.col("timestamp") // HOUR).is_in(hours)
        found = scan_rows(folder, rows).select("timestamp").filter(near & wanted)
        return found.group_by("timestamp").agg(rows=pl.len()).collect()

    t_valid, t_test = moments.boundaries(plan.valid_share, plan.test_share, seconds_of)
    return plan.model_copy(update={"t_valid": t_valid, "t_test": t_test})


def _check_column(folder: Path, rows: Sequence[FileRecord]) -> None:
    split = scan_rows(folder, rows).select("split")
    counts = split.group_by("split").agg(rows=pl.len()).collect()
    check_parts(dict(counts.iter_rows()))


def _shown(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%S}"
