"""Where a time split cuts, found while logs stream by: exact, in memory of the hours they span."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from lorarec.data import timeline

HOUR = 3600
Counts = pl.DataFrame
"""`timestamp` and `rows`: how many rows each of some seconds has."""


class Moments:
    """Counts rows by hour, so that no more than the hours around a cut are looked at by second."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self.missing = 0
        self.rows = 0

    def add(self, timestamps: pl.Series) -> None:
        """Take in the seconds of a batch, Int64 with nulls."""
        self.rows += len(timestamps)
        self.missing += timestamps.null_count()
        self._parts.append(
            timestamps.drop_nulls()
            .alias("timestamp")
            .to_frame()
            .group_by(hour=pl.col("timestamp") // HOUR)
            .agg(rows=pl.len().cast(pl.Int64), timestamp=pl.col("timestamp").min())
        )
        if len(self._parts) > 64:
            self._parts = [self._merged()]

    def boundaries(
        self, valid_share: float, test_share: float, seconds_of: Callable[[list[int]], Counts]
    ) -> tuple[int | None, int | None]:
        """The cut-off seconds that `timeline.boundaries` finds on all timestamps.

        Args:
            valid_share: Share of rows for validation.
            test_share: Share of rows for test.
            seconds_of: Counts the rows of each second in some hours.

        Raises:
            DataError: Rows lack a timestamp, or too few distinct ones to fill the parts.
        """
        timeline.check_complete(self.missing, self.rows)
        hours = self._merged().sort("hour")
        reached = hours["rows"].cum_sum() / max(self.rows, 1)
        near: set[int] = set()
        for share in (1 - test_share, 1 - test_share - valid_share):
            place = min(int((reached < share).sum()), max(hours.height - 1, 0))
            # The nearest second may be the first of the next hour, or the last one before.
            near |= set(hours["hour"][max(place - 1, 0) : place + 2].to_list())
        if hours.height <= 4:
            near = set(hours["hour"].to_list())
        fine = seconds_of(sorted(near)).select("timestamp", pl.col("rows").cast(pl.Int64))
        coarse = hours.filter(~pl.col("hour").is_in(near)).select("timestamp", "rows")
        counts = pl.concat([fine, coarse]).sort("timestamp")
        return timeline.cuts(
            counts["timestamp"].to_numpy(), counts["rows"].to_numpy(), valid_share, test_share
        )

    def _merged(self) -> pl.DataFrame:
        if not self._parts:
            schema = {"hour": pl.Int64, "rows": pl.Int64, "timestamp": pl.Int64}
            return pl.DataFrame(schema=schema)
        return (
            pl.concat(self._parts).group_by("hour").agg(pl.col("rows").sum(), pl.min("timestamp"))
        )
