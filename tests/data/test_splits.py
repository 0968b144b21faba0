from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.splits import SplitRecord, apply_split, split_logs
from lorarec.errors import DataError

Canonical = Callable[..., pl.DataFrame]
TIMED = [f"u{i % 6} i{i} {'ab'[i % 2]} {i}" for i in range(60)]
UNTIMED = [" ".join(row.split()[:3]) for row in TIMED]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["time", "leave-last-out", "random", "column"]), st.integers(0, 9))
def test_a_recorded_split_is_recomputed_exactly(canonical: Canonical, how: str, seed: int) -> None:
    frame = canonical(TIMED, split=["train"] * 50 + ["test"] * 10)
    split, record = split_logs(frame, how, seed=seed)  # type: ignore[arg-type]
    again = SplitRecord.model_validate_json(record.model_dump_json())
    assert apply_split(frame, again).equals(split)
    assert split["split"].null_count() == 0
    assert split.drop("split").equals(frame.drop("split"))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["time", "leave-last-out", "column"]), st.randoms())
def test_row_order_does_not_matter(canonical: Canonical, how: str, random) -> None:
    frame = canonical(TIMED, split=["train"] * 40 + ["valid"] * 10 + ["test"] * 10)
    order = list(range(60))
    random.shuffle(order)
    assert split_logs(frame[order], how)[0].equals(split_logs(frame, how)[0][order])


def test_time_is_global_over_domains(canonical: Canonical) -> None:
    split, record = split_logs(canonical(TIMED))
    assert (record.t_valid, record.t_test) == (48, 54)
    assert split["split"].to_list() == ["train"] * 48 + ["valid"] * 6 + ["test"] * 6


def test_a_recorded_time_fits_later_rows(canonical: Canonical) -> None:
    _, record = split_logs(canonical(TIMED))
    assert apply_split(canonical(["new x a 999", "new y a 50"]), record)["split"].to_list() == [
        "test",
        "valid",
    ]


def test_without_time_it_is_random_and_said(canonical: Canonical) -> None:
    _, record = split_logs(canonical(UNTIMED))
    assert (record.how, record.used) == ("time", "random")
    assert "No row has a timestamp" in record.notes[0]


def test_leave_last_out_warns_of_the_leak(canonical: Canonical) -> None:
    _, record = split_logs(canonical(TIMED), "leave-last-out")
    assert any("leaks across users" in note for note in record.notes)


def test_an_unused_column_is_noted(canonical: Canonical) -> None:
    _, record = split_logs(canonical(TIMED, split=["train"] * 60))
    assert any("--split column uses it" in note for note in record.notes)


def test_a_given_column_is_kept(canonical: Canonical) -> None:
    values = ["train"] * 40 + ["valid"] * 10 + ["test"] * 5 + ["test_cold_item"] * 5
    split, record = split_logs(canonical(TIMED, split=values), "column")
    assert split["split"].to_list() == values
    assert not record.valid_cut_from_train
    assert list(record.counts) == ["train", "valid", "test", "test_cold_item"]
    assert any("test_cold_item (5 rows)" in note for note in record.notes)


def test_valid_is_cut_from_train_and_said(canonical: Canonical) -> None:
    split, record = split_logs(canonical(TIMED, split=["train"] * 50 + ["test"] * 10), "column")
    assert record.valid_cut_from_train
    assert split["split"].to_list()[50:] == ["test"] * 10
    assert record.counts["valid"].rows == 5
    assert record.counts["valid"].cold_users == 0
    assert any("no `valid`" in note for note in record.notes)


def test_train_alone_without_a_second_item_has_no_valid(canonical: Canonical) -> None:
    frame = canonical(["u i d", "v j d"], split=["train", "train"])
    split, record = split_logs(frame, "column")
    assert not record.valid_cut_from_train
    assert split["split"].to_list() == ["train", "train"]
    assert any("none was cut" in note for note in record.notes)


def test_a_column_without_train(canonical: Canonical) -> None:
    frame = canonical(["u i d", "v j d"], split=["Train", "test"])
    with pytest.raises(DataError, match="it holds 'Train', 'test'"):
        split_logs(frame, "column")


def test_a_column_that_is_absent_or_partly_null(canonical: Canonical) -> None:
    with pytest.raises(DataError, match="no column `split`"):
        split_logs(canonical(["u i d"]), "column")
    with pytest.raises(DataError, match="1 of 2 rows have no split"):
        split_logs(canonical(["u i d", "v j d"], split=["train", None]), "column")


def test_cold_users_and_items_are_counted(canonical: Canonical) -> None:
    frame = canonical(
        ["u i d", "u j d", "v i d", "v k d"], split=["train", "valid", "test", "test"]
    )
    counts = split_logs(frame, "column")[1].counts
    assert (counts["valid"].cold_users, counts["valid"].cold_items) == (0, 1)
    assert (counts["test"].cold_users, counts["test"].cold_items) == (1, 1)


def test_a_domain_without_train_is_noted(canonical: Canonical) -> None:
    frame = canonical(["u i a", "u j b"], split=["train", "test"])
    notes = split_logs(frame, "column")[1].notes
    assert any("no train row: b" in note for note in notes)


def test_too_small_for_a_random_split(canonical: Canonical) -> None:
    with pytest.raises(DataError, match="too small"):
        split_logs(canonical(["u i d", "v j d"]), "random")


@pytest.mark.parametrize(("valid", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.1, 1.0)])
def test_shares_leave_something_to_train_on(
    canonical: Canonical, valid: float, test: float
) -> None:
    with pytest.raises(DataError, match="Expected a sum below 1"):
        split_logs(canonical(TIMED), valid_share=valid, test_share=test)


def test_an_unknown_split_names_the_nearest(canonical: Canonical) -> None:
    with pytest.raises(DataError, match="Did you mean 'time'"):
        split_logs(canonical(TIMED), "times")  # type: ignore[arg-type]


def test_no_rows(canonical: Canonical) -> None:
    with pytest.raises(DataError, match="no rows"):
        split_logs(canonical(TIMED).head(0))


def test_cut_offs_are_used_as_told(canonical: Canonical) -> None:
    split, record = split_logs(canonical(TIMED), "time", cutoffs=(10, 20, 30))
    parts = ["train"] * 10 + ["valid"] * 10 + ["test"] * 10 + ["later"] * 30
    assert split["split"].to_list() == parts
    assert (record.cutoffs, record.valid_share) == ([10, 20, 30], 0.0)
    assert record.counts["later"].rows == 30
    assert apply_split(canonical(TIMED), record).equals(split)


@pytest.mark.parametrize("cutoffs", [(0, 20), (20, 20), (30, 20), (10, 60), (10, 20, 20), (10,)])
def test_cut_offs_that_leave_a_part_empty_are_refused(
    canonical: Canonical, cutoffs: tuple[int, ...]
) -> None:
    with pytest.raises(DataError, match="leave a part empty"):
        split_logs(canonical(TIMED), "time", cutoffs=cutoffs)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["time", "leave-last-out", "random", "column"]))
def test_a_domain_alone_is_split_as_among_all(canonical: Canonical, how: str) -> None:
    frame = canonical(TIMED, split=["train"] * 50 + ["test"] * 10)
    split, record = split_logs(frame, how)  # type: ignore[arg-type]
    alone = apply_split(frame.filter(pl.col("domain") == "a"), record)
    assert alone.equals(split.filter(pl.col("domain") == "a"))


def test_a_draw_of_an_earlier_release_is_not_drawn_otherwise(canonical: Canonical) -> None:
    _, record = split_logs(canonical(TIMED), "random")
    earlier = record.model_copy(update={"cut_valid": None, "cut_test": None})
    with pytest.raises(DataError, match="earlier lorarec"):
        apply_split(canonical(TIMED), earlier)
