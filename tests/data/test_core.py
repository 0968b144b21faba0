"""The k-core of train: beside a loop that takes one id out at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorarec.data.core import OUTSIDE, in_core, k_core
from lorarec.data.splits import SplitRecord, apply_split, split_logs
from lorarec.errors import DataError

Canonical = Callable[..., pl.DataFrame]
Pairs = list[tuple[int, int]]

pairs = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=80)


def one_by_one(pairs: Pairs, min_user: int, min_item: int) -> Pairs:
    """Take out the first id that has too few rows, until none has."""
    while True:
        for place, least in ((0, min_user), (1, min_item)):
            ids = [pair[place] for pair in pairs]
            low = next((name for name in ids if ids.count(name) < least), None)
            if low is not None:
                pairs = [pair for pair in pairs if pair[place] != low]
                break
        else:
            return pairs


@given(pairs, st.integers(0, 4), st.integers(0, 4))
def test_the_core_is_what_taking_ids_out_one_by_one_leaves(
    pairs: Pairs, min_user: int, min_item: int
) -> None:
    user, item = (np.array([p[c] for p in pairs], dtype=np.uint32) for c in (0, 1))
    users, items, _ = k_core(user, item, (10, 10), min_user, min_item)
    left = one_by_one(pairs, min_user, min_item)
    assert [p for p in pairs if not users[p[0]] and not items[p[1]]] == left
    assert set(np.flatnonzero(users)) == {p[0] for p in pairs} - {p[0] for p in left}
    assert set(np.flatnonzero(items)) == {p[1] for p in pairs} - {p[1] for p in left}


parts = st.sampled_from(["train", "train", "train", "valid", "test"])
logs = st.lists(st.tuples(st.sampled_from("uvwxy"), st.sampled_from("ijkl"), parts), max_size=60)


@given(logs)
def test_only_train_rows_count_and_only_they_move(rows: list[tuple[str, str, str]]) -> None:
    solid = [(f"s{n % 3}", f"t{n % 2}", "train") for n in range(24)]
    frame = pl.DataFrame(
        [*rows, *solid], schema=["user_id", "item_id", "split"], orient="row"
    ).with_columns(domain=pl.lit("a"))
    found, core = in_core(frame, 3, 4)
    train = [(u, i) for u, i, part in [*rows, *solid] if part == "train"]
    left = set(one_by_one(train, 3, 4))  # type: ignore[arg-type]
    expected = [
        part if part != "train" or (u, i) in left else OUTSIDE for u, i, part in [*rows, *solid]
    ]
    assert found["split"].to_list() == expected
    gone_users = {u for u, _ in train} - {u for u, _ in left}
    gone_items = {i for _, i in train} - {i for _, i in left}
    assert (core.users, core.items) == (len(gone_users), len(gone_items))
    assert core.rows == expected.count(OUTSIDE)
    for part in ("valid", "test"):
        cold = [u in gone_users or i in gone_items for u, i, p in rows if p == part]
        assert core.cold_rows.get(part, 0) == sum(cold)


def test_it_takes_rounds_until_no_more_ids_fall() -> None:
    # A chain: each item that falls leaves its user with too few rows.
    user = np.array([0, 1, 1, 2, 2, 3, 3, 3, 4, 4], dtype=np.int64)
    item = np.array([0, 0, 1, 1, 2, 2, 5, 6, 5, 6], dtype=np.int64)
    users, items, rounds = k_core(user, item, (5, 7), 2, 2)
    assert rounds > 2
    assert np.flatnonzero(~users).tolist() == [3, 4]
    assert np.flatnonzero(items).tolist() == [0, 1, 2]


def test_held_out_rows_of_what_fell_are_cold_and_counted(canonical: Canonical) -> None:
    rows = [f"u{n % 4} i{n % 3} a {n}" for n in range(80)] + ["rare i0 a 5", "rare i1 a 99"]
    split, record = split_logs(canonical(rows), min_user_rows=5)
    assert record.core is not None
    assert (record.core.users, record.core.items, record.core.rows) == (1, 0, 1)
    assert record.core.cold_rows == {"test": 1}
    assert record.counts["test"].cold_users == 1
    assert record.counts[OUTSIDE].rows == 1
    assert split.height == 82
    assert "1 users and 0 items are outside of the core" in " ".join(record.notes)
    again = SplitRecord.model_validate_json(record.model_dump_json())
    assert again == record
    assert apply_split(canonical(rows), again).equals(split)


def test_repeats_are_resolved_before_rows_are_counted(canonical: Canonical) -> None:
    rows = [f"u{n % 4} i{n // 4 % 5} a {n}" for n in range(80)] + ["once i0 a 1"] * 9
    kept = split_logs(canonical(rows), min_user_rows=4)[1]
    last = split_logs(canonical(rows), min_user_rows=4, duplicates="last")[1]
    assert kept.core is not None
    assert last.core is not None
    assert (kept.core.users, last.core.users) == (0, 1)


def test_minimums_that_leave_nothing_are_refused(canonical: Canonical) -> None:
    rows = [f"u{n % 4} i{n % 3} a {n}" for n in range(40)]
    with pytest.raises(DataError, match="min_user_rows 50"):
        split_logs(canonical(rows), min_user_rows=50)
