from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.prepared.moments import HOUR, Moments
from lorarec.data.timeline import boundaries
from lorarec.errors import DataError


def streamed(seconds: list[int], size: int, shares: tuple[float, float]) -> object:
    moments = Moments()
    series = pl.Series("timestamp", seconds, dtype=pl.Int64)
    for start in range(0, len(seconds), size):
        moments.add(series.slice(start, size))

    def seconds_of(hours: list[int]) -> pl.DataFrame:
        near = series.filter((series // HOUR).is_in(hours))
        return near.to_frame().group_by("timestamp").agg(rows=pl.len())

    return moments.boundaries(*shares, seconds_of)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 40 * HOUR), min_size=3, max_size=60, unique=True),
    st.lists(st.integers(1, 9), min_size=60, max_size=60),
    st.sampled_from([(0.1, 0.1), (0.3, 0.2), (0.05, 0.6)]),
    st.integers(1, 40),
)
def test_cuts_are_those_of_all_timestamps_together(
    values: list[int], repeats: list[int], shares: tuple[float, float], size: int
) -> None:
    seconds = [s for s, n in zip(values, repeats, strict=False) for _ in range(n)]
    expected = boundaries(pl.Series(seconds, dtype=pl.Int64), *shares)
    assert streamed(seconds, size, shares) == expected


def test_rows_without_a_timestamp_are_counted_and_refused() -> None:
    moments = Moments()
    moments.add(pl.Series("timestamp", [1, None, 3], dtype=pl.Int64))
    with pytest.raises(DataError, match="1 of 3 rows have no timestamp"):
        moments.boundaries(0.1, 0.1, lambda _: pl.DataFrame({"timestamp": [1, 3], "rows": [1, 1]}))


def test_where_no_row_has_a_timestamp_all_are_counted() -> None:
    moments = Moments()
    moments.add(pl.Series("timestamp", [None, None], dtype=pl.Int64))
    with pytest.raises(DataError, match="2 of 2 rows have no timestamp"):
        moments.boundaries(0.1, 0.1, lambda _: pl.DataFrame())
