from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.folds import rolling_folds, shown_window, window_seconds
from lorarec.data.part_counts import count_parts
from lorarec.data.splits import SplitRecord, apply_split
from lorarec.errors import DataError

Canonical = Callable[..., pl.DataFrame]
PLACE = {"train": 0, "valid": 1, "test": 2, "later": 3}


@st.composite
def asked(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """first, last, folds and window that fit together."""
    folds, window, first = draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(0, 9))
    return first, first + window * (folds + 1) + draw(st.integers(0, 20)), folds, window


@given(asked())
def test_windows_follow_each_other_to_the_end_of_the_logs(asked: tuple[int, int, int, int]) -> None:
    first, last, folds, window = asked
    found = rolling_folds(*asked)
    assert len(found) == folds
    assert found[-1].t_end == last + 1
    assert all(fold.cutoffs == sorted(set(fold.cutoffs)) for fold in found)
    assert all(b - a == window for fold in found for a, b in pairwise(fold.cutoffs))
    assert all((old.t_test, old.t_end) == (new.t_valid, new.t_test) for old, new in pairwise(found))
    assert found[0].cutoffs[0] > first


@settings(max_examples=40, deadline=None)
@given(asked(), st.data())
def test_every_fold_is_ordered_in_time_and_ties_lie_on_one_side(
    canonical: Canonical, asked: tuple[int, int, int, int], data: st.DataObject
) -> None:
    first, last, _, _ = asked
    times = [first, last, *data.draw(st.lists(st.integers(first, last), max_size=30))]
    frame = canonical([f"u i{n % 4} {'ab'[n % 2]} {t}" for n, t in enumerate(times)])
    for fold in rolling_folds(*asked):
        split = apply_split(frame, fold)
        by_time = split.sort("timestamp")
        assert by_time["split"].replace_strict(PLACE).is_sorted()
        assert by_time.group_by("timestamp").agg(pl.col("split").n_unique())["split"].max() == 1
        assert sum(part.rows for part in count_parts(split).values()) == len(times)


@settings(max_examples=30, deadline=None)
@given(asked())
def test_a_record_survives_json(asked: tuple[int, int, int, int]) -> None:
    for fold in rolling_folds(*asked):
        assert SplitRecord.model_validate_json(fold.model_dump_json()) == fold


def test_the_last_row_is_tested_and_the_first_trains(canonical: Canonical) -> None:
    frame = canonical([f"u i{t} d {t}" for t in range(10)])
    parts = [apply_split(frame, fold)["split"].to_list() for fold in rolling_folds(0, 9, 2, 3)]
    assert parts[1] == ["train"] * 4 + ["valid"] * 3 + ["test"] * 3
    assert parts[0] == ["train"] + ["valid"] * 3 + ["test"] * 3 + ["later"] * 3


def test_more_folds_than_there_is_time_for_are_refused() -> None:
    assert len(rolling_folds(0, 9, 2, 3)) == 2
    with pytest.raises(DataError, match="at most 2 folds"):
        rolling_folds(0, 9, 3, 3)
    with pytest.raises(DataError, match="a shorter window"):
        rolling_folds(0, 9, 1, 9)


@given(st.integers(0, 100), st.integers(1, 5), st.integers(1, 60))
def test_the_number_of_folds_that_is_told_is_the_most_that_fits(
    last: int, folds: int, window: int
) -> None:
    most = last // window - 1
    if folds <= most:
        rolling_folds(0, last, folds, window)
    else:
        with pytest.raises(DataError, match=f"at most {most} " if most >= 1 else "shorter"):
            rolling_folds(0, last, folds, window)


@pytest.mark.parametrize(("folds", "window"), [(0, 5), (-1, 5), (2, 0)])
def test_no_folds_are_refused(folds: int, window: int) -> None:
    with pytest.raises(DataError, match="--folds 4 --window 7d"):
        rolling_folds(0, 100, folds, window)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7d", 604_800), ("12h", 43_200), ("2w", 1_209_600), (" 1 d ", 86_400)]
)
def test_windows_are_read(text: str, seconds: int) -> None:
    assert window_seconds(text) == seconds
    assert window_seconds(shown_window(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "0d", "-7d", "7m", "1.5d", "7days"])
def test_windows_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="such as 7d"):
        window_seconds(text)
