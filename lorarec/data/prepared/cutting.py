"""Where a data set is cut into train, valid and test, first and after an append."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from lorarec.data import timeline
from lorarec.data.prepared.counting import Part, counts_of, mark_shards
from lorarec.data.prepared.manifest import FileRecord, Options, Table, of_table
from lorarec.data.prepared.moments import HOUR, Moments
from lorarec.data.prepared.pieces import Assigned, cuts_of
from lorarec.data.prepared.presence import is_kept
from lorarec.data.prepared.refining import Fallen, count_refined
from lorarec.data.prepared.shards import scan_rows
from lorarec.data.prepared.writing import Written
from lorarec.data.splits import LEAK, TIMELESS, SplitRecord, check_parts, drawn
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
        seed=options.seed,
        valid_share=options.valid_share,
        test_share=options.test_share,
        duplicates=options.duplicates,
        min_user_rows=options.min_user_rows,
        min_item_rows=options.min_item_rows,
    )
    return planned(folder, written.files, plan, written.moments)


def planned(
    folder: Path, files: Sequence[FileRecord], plan: SplitRecord, moments: Moments | None = None
) -> SplitRecord:
    """A split with its cuts, as `splits.split_logs` finds them on the same logs in memory.

    Args:
        folder: Of the data set.
        files: Its files.
        plan: How it is to be split.
        moments: When its rows happened, where that is known already.

    Raises:
        DataError: A part would be empty, or rows lack a timestamp or a split.
    """
    rows = of_table(files, "rows")
    if plan.used == "time":
        moments = moments or _moments(folder, rows)
        return _by_shares(folder, rows, moments, plan)
    if plan.used == "random":
        cuts = cuts_of(folder, files, [plan.valid_share, plan.test_share], plan.seed)
        return plan.model_copy(update=drawn(cuts))
    if plan.used == "column":
        _check_column(folder, rows)
    return plan


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
        return _by_shares(folder, rows, _moments(folder, rows), split)
    first, last = (
        scan_rows(folder, rows)
        .select(pl.min("timestamp"), pl.max("timestamp").alias("last"))
        .collect()
        .row(0)
    )
    timeline.check_cutoffs(first, last, cutoffs)
    t_valid, t_test = cutoffs
    return split.model_copy(update={"t_valid": t_valid, "t_test": t_test})


@dataclass(frozen=True, eq=False)
class Counted:
    """A split with what its parts hold."""

    split: SplitRecord | None
    """With counts and with what they have to tell; None where there is no split."""
    fallen: Fallen | None = None
    """What left the core, where there is one."""
    parts: dict[str, Part] = field(default_factory=dict)
    """Who and what is in each part, where an append can add to it."""


def counted(
    folder: Path,
    files: Sequence[FileRecord],
    sizes: dict[Table, int],
    split: SplitRecord | None,
    before: dict[str, Part] | None = None,
) -> Counted:
    """Count what the parts of a split hold.

    Args:
        folder: Of the data set.
        files: All its files up to the generation that the counts are of; where `before` is given,
            those that came after it.
        sizes: Ids of each vocabulary.
        split: What is counted.
        before: What earlier rows put into the parts, where the split leaves them alone.

    Raises:
        DataError: Leave-last-out leaves nothing out, or no train row is in the core.
    """
    if split is None:
        return Counted(None)
    fallen, parts = None, dict[str, Part]()
    if split.refines:
        split, fallen = count_refined(folder, files, sizes, split)
    else:
        parts = _parts(folder, files, sizes, split, before)
        split = split.model_copy(update={"counts": counts_of(parts)})
    split = noted(folder, files, split)
    return Counted(split, fallen, parts if is_kept(split) else {})


def noted(folder: Path, files: Sequence[FileRecord], split: SplitRecord) -> SplitRecord:
    """A split that is counted, with what its parts have to tell.

    Raises:
        DataError: Leave-last-out leaves nothing out.
    """
    notes = split.refinements()
    if split.used == "leave-last-out":
        timeline.check_held_out(split.counts["test"].rows if "test" in split.counts else 0)
        notes.append(LEAK)
        times = scan_rows(folder, of_table(files, "rows")).select(pl.col("timestamp").null_count())
        if times.collect().item():
            notes.append(TIMELESS)
    return split.model_copy(update={"notes": notes})


def _parts(
    folder: Path,
    files: Sequence[FileRecord],
    sizes: dict[Table, int],
    split: SplitRecord,
    before: dict[str, Part] | None,
) -> dict[str, Part]:
    if split.by_histories:
        named = split.model_copy(update={"used": "column"})  # it stands in the pieces
        shards: Iterable[pl.DataFrame] = Assigned(folder, files, split)
        return mark_shards(shards, named, sizes["users"], sizes["items"])
    columns = ("user", "item", "timestamp", *(["split"] if split.used == "column" else []))
    rows = of_table(files, "rows")
    shards = (scan_rows(folder, [record]).select(columns).collect() for record in rows)
    return mark_shards(shards, split, sizes["users"], sizes["items"], before)


def _moments(folder: Path, rows: Sequence[FileRecord]) -> Moments:
    moments = Moments()
    for record in rows:
        moments.add(scan_rows(folder, [record]).select("timestamp").collect()["timestamp"])
    return moments


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
