"""Repeats of a (user, item, domain): each policy beside a loop over the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorarec.data.contract import ContractError
from lorarec.data.duplicates import check_repeats, count_repeats, resolved
from lorarec.data.splits import SplitRecord, apply_split, split_logs

Canonical = Callable[..., pl.DataFrame]
Row = tuple[str, str, str, int | None, float, str]
NAMES = ["user_id", "item_id", "domain", "timestamp", "weight", "split"]

rows = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.sampled_from("ij"),
        st.sampled_from("ab"),
        st.none() | st.integers(0, 3),
        st.floats(0, 1e6, width=32),
        st.sampled_from(["train", "valid", "test", "extra"]),
    ),
    min_size=1,
    max_size=40,
)


def frame_of(rows: list[Row]) -> pl.DataFrame:
    schema = dict.fromkeys(NAMES, pl.String()) | {"timestamp": pl.Int64(), "weight": pl.Float32()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def by_hand(rows: list[Row], how: str) -> list[Row]:
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, (user, item, domain, _, _, part) in enumerate(rows):
        groups[user, item, domain, part].append(place)
    kept: dict[int, Row] = {}
    for places in groups.values():
        times = {p: -1 if rows[p][3] is None else rows[p][3] for p in places}
        places.sort(key=lambda p: (times[p], p))
        last = rows[places[-1]]
        total = np.float32(sum(np.float64(rows[p][4]) for p in places))
        weight = last[4] if how == "last" else float(total)
        kept[places[-1]] = (*last[:4], weight, last[5])
    return [kept[place] for place in sorted(kept)]


@given(rows, st.sampled_from(["last", "sum"]))
def test_what_stays_is_what_a_loop_over_the_rows_keeps(rows: list[Row], how: Any) -> None:
    found, left_out = resolved(frame_of(rows), how)
    expected = frame_of(by_hand(rows, how))
    assert found.drop("weight").equals(expected.drop("weight"))
    assert np.allclose(found["weight"], expected["weight"], rtol=1e-6)
    before = frame_of(rows)["split"].value_counts().rows()
    after = dict(found["split"].value_counts().iter_rows())
    assert left_out == {p: n - after[p] for p, n in before if n > after[p]}


@given(rows)
def test_repeats_are_counted_with_the_first_of_them(rows: list[Row]) -> None:
    pairs = [row[:3] for row in rows]
    count, first = count_repeats(frame_of(rows))
    repeated = [p for p in dict.fromkeys(pairs) if pairs.count(p) > 1]
    assert count == len(pairs) - len(set(pairs))
    assert first.rows() == [(*p, pairs.count(p)) for p in repeated[:5]]


def test_keep_is_the_default_and_leaves_a_record_as_it_always_was(canonical: Canonical) -> None:
    frame = canonical([f"u{n % 4} i{n % 3} a {n}" for n in range(40)])
    split, record = split_logs(frame)
    assert split.height == 40
    assert not {"duplicates", "repeats", "core", "min_user_rows"} & set(record.model_dump())


def test_a_later_row_of_test_takes_no_row_out_of_train(canonical: Canonical) -> None:
    frame = canonical([f"u i{n % 5} a {n}" for n in range(100)])
    split, record = split_logs(frame, duplicates="last")
    assert record.t_test == split_logs(frame)[1].t_test
    assert {p: c.rows for p, c in record.counts.items()} == {"train": 5, "valid": 5, "test": 5}
    assert record.repeats == {"test": 5, "train": 75, "valid": 5}
    # The train rows are those that no row of valid or test has ever been looked at for.
    only_train = frame.filter(pl.col("timestamp") < record.t_valid).with_columns(
        split=pl.lit("train")
    )
    assert split.filter(pl.col("split") == "train").equals(resolved(only_train, "last")[0])
    assert apply_split(frame, SplitRecord.model_validate_json(record.model_dump_json())).equals(
        split
    )


def test_what_is_left_out_is_said(canonical: Canonical) -> None:
    frame = canonical([f"u i{n % 5} a {n}" for n in range(100)])
    notes = " ".join(split_logs(frame, duplicates="sum")[1].notes)
    assert "85 rows repeat" in notes
    assert "75 in train" in notes
    assert "duplicates is sum" in notes


def test_refused_repeats_are_counted_and_the_first_five_pairs_named(canonical: Canonical) -> None:
    frame = canonical([f"u i{n % 7} a {n}" for n in range(16)])
    with pytest.raises(ContractError) as refused:
        check_repeats(frame)
    text = str(refused.value)
    assert "in 9 rows" in text
    assert "('u', 'i0', 'a') in 3 rows" in text
    assert len(refused.value.report.violations[0].sample) == 5
    with pytest.raises(ContractError):
        split_logs(frame, duplicates="refuse")
    check_repeats(frame.unique(["item_id"]))
