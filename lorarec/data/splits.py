"""Train, valid and test: by global time, leave-last-out, a given column, or a seeded draw.

A split is decided over all domains together and recorded, so that a base and every adapter on it
share one cut-off: split first, exclude a domain afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, get_args

import numpy as np
import polars as pl
from pydantic import Field

from lorarec.data import timeline
from lorarec.data.contract import other_splits
from lorarec.data.core import OUTSIDE, Core, in_core
from lorarec.data.draw import can_draw, draw_cuts, draw_parts
from lorarec.data.duplicates import Duplicates, check_repeats, resolved
from lorarec.data.duplicates import sentence as repeats_sentence
from lorarec.data.part_counts import PARTS, PartCounts, count_parts
from lorarec.errors import DataError, did_you_mean
from lorarec.record import Record

How = Literal["column", "time", "leave-last-out", "random"]
LEAK = (
    "leave-last-out leaks across users: what others did after a held-out row is in train. "
    "Use it for published protocols; --split time is the honest default."
)
TIMELESS = "Rows without a timestamp count as older than any, in row order."


class SplitRecord(Record):
    """All that is needed to split the same logs again, and what came out."""

    later: ClassVar[frozenset[str]] = frozenset(
        {"duplicates", "min_user_rows", "min_item_rows", "repeats", "core"}
        | {"t_end", "cut_valid", "cut_test"}
    )

    how: How
    """What was asked for."""
    used: How
    """What was done; differs when `time` was asked for and no row has a timestamp."""
    seed: int
    """Seed of every draw."""
    valid_share: float = Field(ge=0, lt=1)
    """Share of rows asked for as validation; 0 where the cut-offs were given."""
    test_share: float = Field(ge=0, lt=1)
    """Share of rows asked for as test."""
    t_valid: int | None = None
    """First second of validation: train < t_valid <= valid < t_test <= test < t_end."""
    t_test: int | None = None
    """First second of test."""
    t_end: int | None = None
    """First second after the test of a back-test's fold; its rows and later ones are outside the
    fold, in the part `later`. None where the test goes on to the end of the logs."""
    cut_valid: int | None = None
    """First number of validation, where pairs are drawn (`lorarec.data.draw`)."""
    cut_test: int | None = None
    """First number of test."""
    valid_cut_from_train: bool = False
    """The column had no `valid`, so a seeded share of train rows became it."""
    duplicates: Duplicates = "keep"
    """What rows that repeat a (user, item, domain) of their part do."""
    min_user_rows: int = 0
    """Train rows that a user of the core has; 0 or 1 takes none out."""
    min_item_rows: int = 0
    """Train rows that an item of the core has; 0 or 1 takes none out."""
    repeats: dict[str, int] = Field(default_factory=dict)
    """Rows left out because they repeat another, by part."""
    core: Core | None = None
    """What fell out of train because it is too rare; None where no minimum is asked for."""
    counts: dict[str, PartCounts] = Field(default_factory=dict)
    """By part, train, valid and test first."""
    notes: list[str] = Field(default_factory=list)
    """Sentences for the screen."""

    @property
    def cutoffs(self) -> list[int]:
        """The seconds of a split by time that there are, ascending."""
        return [t for t in (self.t_valid, self.t_test, self.t_end) if t is not None]

    def cut_at(self, seconds: Sequence[int]) -> SplitRecord:
        """A split by time at given cut-offs: of valid, of test, and maybe after the test."""
        cuts = dict(zip(("t_valid", "t_test", "t_end"), seconds, strict=False))
        return self.model_copy(update=cuts | {"valid_share": 0.0, "test_share": 0.0})

    @property
    def follows_the_rows(self) -> bool:
        """Whether a row's part depends on which other rows there are.

        Then the record fits the logs it was made for and no others: a user's last row is another
        once rows are added or taken away, and so is the first pair, which a draw leaves in train.
        A split by recorded seconds, or by a column as it stands, tells each row by itself.
        """
        return self.by_histories or self.valid_cut_from_train

    @property
    def by_histories(self) -> bool:
        """Whether a row's part is told by the rows of its user in its domain."""
        return self.used in ("random", "leave-last-out")

    @property
    def has_core(self) -> bool:
        """Whether some train rows are too few for their user or item to count."""
        return max(self.min_user_rows, self.min_item_rows) > 1

    @property
    def refines(self) -> bool:
        """Whether rows leave the logs, or train, after the split."""
        return self.duplicates in ("last", "sum") or self.has_core

    def refinements(self) -> list[str]:
        """What left, in sentences for the screen."""
        said = []
        if self.duplicates in ("last", "sum"):
            said.append(repeats_sentence(self.duplicates, self.repeats))
        if self.core is not None:
            said.append(self.core.sentence(self.min_user_rows, self.min_item_rows))
        return said


def split_logs(
    frame: pl.DataFrame,
    how: How = "time",
    *,
    valid_share: float = 0.1,
    test_share: float = 0.1,
    seed: int = 0,
    duplicates: Duplicates = "keep",
    min_user_rows: int = 0,
    min_item_rows: int = 0,
    cutoffs: Sequence[int] | None = None,
) -> tuple[pl.DataFrame, SplitRecord]:
    """Put every row of the logs in a part.

    Args:
        frame: Canonical logs of all domains.
        how: `time` cuts the global timeline at the two quantiles of the rows' timestamps, ties on
            one side; without any timestamp it becomes `random`, and a note says so.
            `leave-last-out` takes a user's last row in a domain for test and the one before for
            validation. `column` keeps the column `split`. `random` draws distinct (user, item,
            domain) so that no pair lies in two parts, and leaves every user a train row in each
            domain: that of the first pair there.
        valid_share: Share of rows for validation; of train rows, when `column` has no `valid`.
        test_share: Share of rows for test.
        seed: Of every draw.
        duplicates: What rows that repeat a (user, item, domain) do: `keep`; `last` and `sum`
            resolve them within each part, after the cut-offs were found on all rows; `refuse`.
        min_user_rows: Train rows that a user must have to be trained on, in all domains together;
            0 and 1 ask for nothing. Repeats are resolved first.
        min_item_rows: The same for an item; both hold for what remains (k-core).
        cutoffs: First seconds of validation and of test, and the first one after the test where it
            ends before the logs do: a split by time as it is told, without shares.

    Returns:
        The logs in the same order with `split` never null, and the record of the split. Train rows
        outside of the core have the part `outside-core`.

    Raises:
        ContractError: Rows repeat a (user, item, domain) and are refused.
        DataError: A part would be empty, rows lack a split or a timestamp, or no train is left.
    """
    if how not in get_args(How):
        raise DataError(f"There is no split {how!r}.{did_you_mean(how, get_args(How))}")
    if valid_share < 0 or test_share < 0 or valid_share + test_share >= 1:
        raise DataError(
            f"The shares of valid ({valid_share:g}) and test ({test_share:g}) must be 0 or above "
            f"and leave something to train on. Expected a sum below 1, such as 0.1 and 0.1."
        )
    if frame.height == 0:
        raise DataError("There are no rows to split. Expected at least one interaction.")
    notes: list[str] = []
    used = how
    if how == "time" and frame["timestamp"].null_count() == frame.height:
        used = "random"
        notes.append("No row has a timestamp: the split is a seeded random one, not by time.")
    plan = SplitRecord(
        how=how,
        used=used,
        seed=seed,
        valid_share=valid_share,
        test_share=test_share,
        duplicates=duplicates,
        min_user_rows=min_user_rows,
        min_item_rows=min_item_rows,
    )
    if used == "time":
        plan = _cut(frame, plan, cutoffs)
    if used == "random":
        cuts = draw_cuts(frame, [valid_share, test_share], seed)
        plan = plan.model_copy(update=drawn(cuts))
    if used == "column" and _must_cut_valid(frame, valid_share):
        train = frame.filter(pl.col("split") == "train")
        cuts = draw_cuts(train, [valid_share], seed)
        update = {"valid_cut_from_train": True, "cut_valid": cuts and cuts[0]}
        plan = plan.model_copy(update=update)
    split, plan = refined(in_parts(frame, plan), plan)
    if used == "leave-last-out":
        timeline.check_held_out(int((split["split"] == "test").sum()))
    notes += _notes(frame, split, plan) + plan.refinements()
    return split, plan.model_copy(update={"counts": count_parts(split), "notes": notes})


def _cut(frame: pl.DataFrame, plan: SplitRecord, cutoffs: Sequence[int] | None) -> SplitRecord:
    """A split by time with its cut-offs: as told, or by the shares."""
    times = frame["timestamp"]
    if cutoffs is None:
        t_valid, t_test = timeline.boundaries(times, plan.valid_share, plan.test_share)
        return plan.model_copy(update={"t_valid": t_valid, "t_test": t_test})
    timeline.check_complete(times.null_count(), frame.height)
    first, last = frame.select(pl.min("timestamp"), pl.max("timestamp").alias("last")).row(0)
    timeline.check_cutoffs(first, last, cutoffs)
    return plan.cut_at(cutoffs)


def drawn(cuts: Sequence[int] | None) -> dict[str, int]:
    """The numbers at which a random split is cut, as fields of its record.

    Raises:
        DataError: A part would be empty.
    """
    if cuts is None:
        raise DataError(
            "The logs are too small for a random split: too few users have two or more different "
            "items in a domain, so valid or test would be empty. Expected more interactions; or "
            "give a column `split` and use --split column."
        )
    return {"cut_valid": cuts[0], "cut_test": cuts[1]}


def apply_split(frame: pl.DataFrame, record: SplitRecord) -> pl.DataFrame:
    """Split logs as recorded: on the same logs, exactly the same parts.

    A time split uses the recorded seconds, so it also fits rows that came later. The rows of one
    domain alone get the parts that they have among all.

    Args:
        frame: Canonical logs, as they were before the split, or those of some domains.
        record: From `split_logs`.

    Returns:
        The logs in the same order, with `split` never null: repeats resolved and train rows
        outside of the core set apart, where the record says so.

    Raises:
        DataError: The logs do not hold what the recorded split needs.
    """
    return refined(in_parts(frame, record), record)[0]


def refined(split: pl.DataFrame, record: SplitRecord) -> tuple[pl.DataFrame, SplitRecord]:
    """Resolve repeats within each part, then set train rows outside of the core apart.

    Args:
        split: Logs of all domains with their parts.
        record: Says what is asked for.

    Returns:
        The rows that stay, and the record with what left.

    Raises:
        ContractError: Rows repeat a (user, item, domain) and are refused.
        DataError: No train row is in the core.
    """
    if record.duplicates == "refuse":
        check_repeats(split)
    split, repeats = resolved(split, record.duplicates)
    core = None
    if record.has_core:
        split, core = in_core(split, record.min_user_rows, record.min_item_rows)
    return split, record.model_copy(update={"repeats": repeats, "core": core})


def in_parts(frame: pl.DataFrame, record: SplitRecord) -> pl.DataFrame:
    """`apply_split`, every row kept in the part where it falls."""
    if record.used == "time":
        return timeline.by_time(frame, record.t_valid, record.t_test, record.t_end)
    if record.used == "leave-last-out":
        return timeline.leave_last_out(frame)
    if record.used == "random":
        parts = draw_parts(frame, draw_line(record), record.seed)
        return frame.with_columns(split=pl.Series(PARTS, dtype=pl.String).gather(pl.Series(parts)))
    _check_column(frame)
    return _cut_valid(frame, record) if record.valid_cut_from_train else frame


def _check_column(frame: pl.DataFrame) -> None:
    check_parts(dict(frame["split"].value_counts().iter_rows()))


def check_parts(counts: Mapping[str | None, int]) -> None:
    """Refuse a column `split` that cannot be used as it stands.

    Args:
        counts: Rows by value of the column; None counts those without one.

    Raises:
        DataError: Rows lack a value, or none is in train.
    """
    rows, null = sum(counts.values()), counts.get(None, 0)
    if null == rows:
        raise DataError(
            "The logs have no column `split`. Expected one with train, valid and test; name yours "
            'under [data.columns] in lorarec.toml (split = "my_split"), or use --split time.'
        )
    if null:
        raise DataError(
            f"{null:,} of {rows:,} rows have no split. Expected a value in each row when "
            f"--split column is used; fill the column or use --split time."
        )
    if "train" not in counts:
        values = sorted(name for name in counts if name is not None)[:5]
        raise DataError(
            f"The column `split` has no row `train`; it holds {', '.join(map(repr, values))}. "
            f"Expected train, and valid and test where there are any; rename the values or use "
            f"--split time."
        )


def _must_cut_valid(frame: pl.DataFrame, valid_share: float) -> bool:
    _check_column(frame)
    if valid_share == 0 or (frame["split"] == "valid").any():
        return False
    return can_draw(frame.filter(pl.col("split") == "train"))


def draw_line(record: SplitRecord) -> list[int]:
    """Where the line of drawn numbers is cut.

    Raises:
        DataError: The record is of a time when draws depended on all rows together.
    """
    cuts = [record.cut_valid, *([] if record.used == "column" else [record.cut_test])]
    found = [cut for cut in cuts if cut is not None]
    if len(found) < len(cuts):
        raise DataError(
            "The recorded split was drawn by an earlier lorarec, whose draw is no more. Expected "
            "the numbers at which it is cut; pretrain again."
        )
    return found


def _cut_valid(frame: pl.DataFrame, record: SplitRecord) -> pl.DataFrame:
    train = frame["split"] == "train"
    cut = np.zeros(frame.height, dtype=bool)
    cut[train.to_numpy()] = draw_parts(frame.filter(train), draw_line(record), record.seed) == 1
    split = pl.when(pl.Series(cut)).then(pl.lit("valid")).otherwise(pl.col("split"))
    return frame.with_columns(split=split)


def _notes(frame: pl.DataFrame, split: pl.DataFrame, record: SplitRecord) -> list[str]:
    notes = []
    if record.used != "column" and frame["split"].null_count() < frame.height:
        notes.append("The logs have a column `split` that was not used; --split column uses it.")
    if record.used == "leave-last-out":
        notes.append(LEAK)
        if frame["timestamp"].null_count():
            notes.append(TIMELESS)
    if record.used == "column":
        notes += _column_notes(split, record)
    present = set(split["split"].unique())
    if record.used != "column" and (empty := [p for p in PARTS if p not in present]):
        notes.append(f"No rows are in {' and '.join(empty)}.")
    return notes + _domains_without_train(split)


def _column_notes(split: pl.DataFrame, record: SplitRecord) -> list[str]:
    notes = []
    present = set(split["split"].unique())
    if record.valid_cut_from_train:
        notes.append(
            f"The column `split` has no `valid`: {record.valid_share:.0%} of the train pairs were "
            f"drawn for it with seed {record.seed}; every user keeps a train row."
        )
    elif "valid" not in present:
        notes.append("The column `split` has no `valid` and none was cut from train.")
    if "test" not in present:
        notes.append("The column `split` has no `test`: nothing is held out for evaluation.")
    others = other_splits(split)
    others.pop(OUTSIDE, None)
    if others:
        listed = ", ".join(f"{name} ({count:,} rows)" for name, count in list(others.items())[:5])
        notes.append(f"Kept out of training, to be evaluated by name: {listed}.")
    return notes


def _domains_without_train(split: pl.DataFrame) -> list[str]:
    trained = split.filter(pl.col("split") == "train")["domain"].unique()
    untrained = split.filter(~pl.col("domain").is_in(trained.implode()))["domain"].unique().sort()
    if untrained.is_empty():
        return []
    some = ", ".join(untrained.head(5))
    return [f"{len(untrained)} domains have no train row: {some}."]
