"""Splits that follow time: one global timeline, or every user's last rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from lorarec.config.moments import shown_second
from lorarec.errors import DataError

_INSTEAD = "use --split random or --split leave-last-out"
LATER = "later"
"""The part of rows that come after the test of a back-test's fold: outside of it, and counted."""


def boundaries(
    timestamps: pl.Series, valid_share: float, test_share: float
) -> tuple[int | None, int | None]:
    """The two seconds that cut the global timeline nearest to the shares asked for.

    A boundary is always a timestamp that occurs, so that ties lie on one side, and every part
    with a share gets at least one row.

    Args:
        timestamps: Int64 seconds (n,), no nulls.
        valid_share: Share of rows for validation; 0 for none.
        test_share: Share of rows for test; 0 for none.

    Returns:
        (t_valid, t_test), None for a part without a share.

    Raises:
        DataError: Rows lack a timestamp, or too few distinct ones to fill the parts.
    """
    check_complete(timestamps.null_count(), len(timestamps))
    values, counts = np.unique(timestamps.to_numpy(), return_counts=True)
    return cuts(values, counts, valid_share, test_share)


def cuts(
    values: np.ndarray,
    counts: np.ndarray,
    valid_share: float,
    test_share: float,
) -> tuple[int | None, int | None]:
    """`boundaries`, of counted seconds.

    Args:
        values: int64 (m,): seconds that occur, ascending.
        counts: int64 (m,): rows of each.
        valid_share: Share of rows for validation; 0 for none.
        test_share: Share of rows for test; 0 for none.
    """
    parts = 1 + (valid_share > 0) + (test_share > 0)
    if len(values) < parts:
        shown = ", ".join(shown_second(v) for v in values)
        raise DataError(
            f"The logs have {len(values)} distinct timestamps ({shown}), so a part of a split by "
            f"time would be empty. Expected at least {parts}; {_INSTEAD}."
        )
    # before[j] is the share of rows strictly before values[j].
    before = (np.cumsum(counts) - counts) / counts.sum()
    end = len(values)
    t_test = t_valid = None
    if test_share > 0:
        end = _nearest(before, 1 - test_share, low=parts - 1, high=end)
        t_test = int(values[end])
    if valid_share > 0:
        t_valid = int(values[_nearest(before, 1 - test_share - valid_share, low=1, high=end)])
    return t_valid, t_test


def by_time(
    frame: pl.DataFrame, t_valid: int | None, t_test: int | None, t_end: int | None = None
) -> pl.DataFrame:
    """train < t_valid <= valid < t_test <= test < t_end, for every row of every domain.

    Args:
        frame: Canonical logs.
        t_valid: First second of validation; None for no validation.
        t_test: First second of test; None for no test.
        t_end: First second after the test, whose rows are `later`; None for no such rows.

    Returns:
        The logs with `split` set.

    Raises:
        DataError: Rows lack a timestamp.
    """
    check_complete(frame["timestamp"].null_count(), frame.height)
    time = pl.col("timestamp")
    begun = [
        pl.when(time >= second).then(pl.lit(name))
        for name, second in ((LATER, t_end), ("test", t_test), ("valid", t_valid))
        if second is not None
    ]
    part = pl.coalesce(*begun, pl.lit("train"))
    return frame.with_columns(split=part)


def leave_last_out(frame: pl.DataFrame, user: str = "user_id") -> pl.DataFrame:
    """A user's last row in a domain is test, the one before is valid.

    Users with fewer than three rows in a domain stay in train there. Of rows in the same second
    the later one in the table is the later one; a row without a timestamp is older than any.

    Args:
        frame: Canonical logs.
        user: Column of the users, where it has another name or holds numbers.

    Returns:
        The logs with `split` set; all of it train where no user has three rows in a domain.
    """
    place = pl.struct(pl.col("timestamp").fill_null(-1), pl.int_range(pl.len()))
    ranked = frame.select(
        back=place.rank("ordinal", descending=True).over(user, "domain"),
        rows=pl.len().over(user, "domain"),
    )
    back, rows = pl.col("back"), pl.col("rows")
    part = (
        pl.when((rows >= 3) & (back == 1))
        .then(pl.lit("test"))
        .when((rows >= 3) & (back == 2))
        .then(pl.lit("valid"))
        .otherwise(pl.lit("train"))
    )
    return frame.with_columns(ranked.select(part.alias("split"))["split"])


def check_held_out(held_out: int) -> None:
    """Refuse to leave the last rows out where that leaves out none."""
    if not held_out:
        raise DataError(
            "No user has three interactions in a domain, so leave-last-out would hold out nothing. "
            "Expected longer histories; use --split time or --split random."
        )


def _nearest(before: np.ndarray, share: float, low: int, high: int) -> int:
    """The index in [low, high) whose share of earlier rows is nearest to `share`; ties: first."""
    return low + int(np.argmin(np.abs(before[low:high] - share)))


def check_complete(missing: int, rows: int) -> None:
    """Refuse a split by time of rows of which some have no timestamp."""
    if missing:
        raise DataError(
            f"{missing:,} of {rows:,} rows have no timestamp, so they have no place on "
            f"the timeline. Expected one in every row for --split time; {_INSTEAD}."
        )


def check_cutoffs(first: int, last: int, cutoffs: Sequence[int]) -> None:
    """Refuse cut-offs that leave train, valid or test without a moment of its own.

    Args:
        first: Second of the first row.
        last: Second of the last row.
        cutoffs: First seconds of validation, of test, and of what comes after it where it ends.
    """
    rising = all(a < b for a, b in pairwise([first, *cutoffs]))
    if not (rising and len(cutoffs) in (2, 3) and cutoffs[1] <= last):
        shown = ", ".join(shown_second(moment) for moment in cutoffs)
        raise DataError(
            f"The cut-offs {shown} leave a part empty: the rows are from {shown_second(first)} to "
            f"{shown_second(last)}. Expected validation to begin after the first row, and the test "
            f"after it and not after the last row."
        )
