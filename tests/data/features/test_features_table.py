from __future__ import annotations

import numpy as np
import polars as pl

from lorarec.data.features import FeatureEncoder, FeatureSpec
from lorarec.data.features.table import bags_of

TRAIN = ["a", "b", "c", "d"]


def test_bags_are_sorted_distinct_and_say_missing_with_0() -> None:
    rows, codes = np.array([0, 0, 0, 3]), np.array([2, 0, 0, 1], dtype=np.int32)
    bags = bags_of(rows, codes, np.array([False, True, False, False]), size=3)
    assert bags.offsets.tolist() == [0, 2, 3, 3, 4]
    assert bags.values.tolist() == [0, 2, 0, 1]
    assert bags.values.dtype == np.int32


def test_no_bags() -> None:
    none = np.empty(0, dtype=np.int64)
    assert bags_of(none, none, none.astype(bool), 5).offsets.tolist() == [0]


def test_a_batch_is_what_its_ids_give(films: pl.DataFrame, specs: list[FeatureSpec]) -> None:
    encoder = FeatureEncoder.fit(films, "item_id", TRAIN, specs)
    ids = [*TRAIN, "cold", "stranger"]
    rows = [5, 0, 0, 3, 4, 2]
    batch = encoder.transform(films, ids).take(np.array(rows))
    asked = encoder.transform(films, [ids[row] for row in rows])
    assert len(batch) == 6
    for one, other in [
        (batch.known, asked.known),
        (batch.categorical["maker"], asked.categorical["maker"]),
        (batch.categories["genres"].offsets, asked.categories["genres"].offsets),
        (batch.categories["genres"].values, asked.categories["genres"].values),
        (batch.numeric, asked.numeric),
        (batch.numeric_missing, asked.numeric_missing),
        (batch.vectors["image"].values, asked.vectors["image"].values),
        (batch.vectors["image"].missing, asked.vectors["image"].missing),
    ]:
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_an_empty_batch(films: pl.DataFrame, specs: list[FeatureSpec]) -> None:
    encoder = FeatureEncoder.fit(films, "item_id", TRAIN, specs)
    assert len(encoder.transform(films, TRAIN).take(np.array([], dtype=np.int64))) == 0
    assert len(encoder.transform(films, [])) == 0
