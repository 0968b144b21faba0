from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.splits import split_logs
from lorarec.data.timeline import boundaries, by_time, leave_last_out
from lorarec.errors import DataError

Canonical = Callable[..., pl.DataFrame]
times = st.lists(st.integers(0, 30), min_size=3, max_size=40)


@settings(max_examples=30, deadline=None)
@given(times.filter(lambda t: len(set(t)) >= 3))
def test_parts_are_filled_and_ordered(canonical: Canonical, seconds: list[int]) -> None:
    frame = canonical([f"u i d {t}" for t in seconds])
    split = by_time(frame, *boundaries(frame["timestamp"], 0.1, 0.1))
    ends = {
        name: (part["timestamp"].min(), part["timestamp"].max())
        for (name,), part in split.group_by("split")
    }
    assert ends["train"][1] < ends["valid"][0]
    assert ends["valid"][1] < ends["test"][0]


def test_shares_of_an_even_timeline() -> None:
    assert boundaries(pl.Series(range(100)), 0.1, 0.2) == (70, 80)


def test_ties_lie_on_one_side() -> None:
    t_valid, t_test = boundaries(pl.Series([1] * 6 + [2] * 2 + [3] * 2), 0.1, 0.1)
    assert (t_valid, t_test) == (2, 3)


def test_no_share_no_boundary() -> None:
    assert boundaries(pl.Series([1, 2]), 0.5, 0) == (2, None)
    assert boundaries(pl.Series([1, 2]), 0, 0.5) == (None, 2)


def test_too_few_times_name_the_way_out() -> None:
    with pytest.raises(DataError, match=r"2 distinct timestamps.*--split random or --split leave"):
        boundaries(pl.Series([1, 1, 2]), 0.1, 0.1)


def test_rows_without_a_time_are_counted() -> None:
    with pytest.raises(DataError, match="1 of 3 rows have no timestamp"):
        boundaries(pl.Series([1, None, 2]), 0.1, 0.1)


def test_last_rows_of_a_user_in_a_domain(canonical: Canonical) -> None:
    frame = canonical(["u a d 3", "u b d 1", "u c d 2", "u x e 9", "u y e 8", "v a d 1"])
    split = leave_last_out(frame)["split"].to_list()
    assert split == ["test", "train", "valid", "train", "train", "train"]


def test_ties_go_by_row_order(canonical: Canonical) -> None:
    split = leave_last_out(canonical(["u a d 5", "u b d 5", "u c d 5", "u d d 1"]))["split"]
    assert split.to_list() == ["train", "valid", "test", "train"]


def test_rows_without_time_go_by_row_order(canonical: Canonical) -> None:
    split = leave_last_out(canonical(["u a d", "u b d", "u c d"]))["split"]
    assert split.to_list() == ["train", "valid", "test"]


def test_short_histories_hold_nothing_out(canonical: Canonical) -> None:
    frame = canonical(["u a d 1", "u b d 2"])
    assert leave_last_out(frame)["split"].to_list() == ["train", "train"]
    with pytest.raises(DataError, match="three interactions"):
        split_logs(frame, "leave-last-out")


def test_what_comes_after_the_test_is_later(canonical: Canonical) -> None:
    split = by_time(canonical([f"u i{t} d {t}" for t in range(5)]), 1, 2, 4)["split"]
    assert split.to_list() == ["train", "valid", "test", "test", "later"]
