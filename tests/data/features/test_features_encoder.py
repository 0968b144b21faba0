from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.features import FeatureEncoder, FeatureSpec, FeatureTable
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ConfigError, DataError, NotFoundError

TRAIN = ["a", "b", "c", "d"]
SPECS = [
    FeatureSpec(name="maker", kind="categorical", min_count=1),
    FeatureSpec(name="genres", kind="categories", min_count=1),
    FeatureSpec(name="price", kind="numeric"),
    FeatureSpec(name="image", kind="vector", dim=2),
]
few = settings(max_examples=25, deadline=None)
makers = st.sampled_from("xyz") | st.none()
floats = st.floats(-1e6, 1e6, width=32)
row = st.tuples(
    makers,
    st.none() | st.lists(st.sampled_from(["War", "Drama", "Rap"]) | st.none(), max_size=3),
    floats | st.none(),
    st.none() | st.tuples(floats, floats).map(list),
)


def table_of(rows: list[Any]) -> pl.DataFrame:
    schema = {
        "maker": pl.String,
        "genres": pl.List(pl.String),
        "price": pl.Float64,
        "image": pl.List(pl.Float64),
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(item_id=pl.int_range(frame.height))


def fit(films: pl.DataFrame, ids: list[str] = TRAIN) -> FeatureEncoder:
    return FeatureEncoder.fit(films, "item_id", ids, SPECS)


@pytest.fixture
def encoded(films: pl.DataFrame) -> FeatureTable:
    return fit(films).transform(films, [*TRAIN, "cold", "stranger"])


def test_categories_have_codes_and_0_is_unknown_or_missing(encoded: FeatureTable) -> None:
    assert encoded.categorical["maker"].tolist() == [1, 2, 1, 0, 0, 0]
    assert encoded.categorical["maker"].dtype == np.int32


def test_lists_of_categories_fold_the_unknown_into_one_0(encoded: FeatureTable) -> None:
    bags = encoded.categories["genres"]
    assert bags.offsets.tolist() == [0, 2, 3, 3, 4, 6, 7]
    assert bags.values.tolist() == [1, 2, 1, 0, 0, 2, 0]


def test_numbers_have_mean_0_over_train(encoded: FeatureTable) -> None:
    assert encoded.numeric_names == ("price",)
    assert encoded.numeric[[0, 1, 3], 0].mean() == pytest.approx(0.0, abs=1e-6)
    assert encoded.numeric_missing[:, 0].tolist() == [False, False, True, False, False, True]
    assert encoded.numeric[2, 0] == encoded.numeric[5, 0] == 0.0


def test_vectors_have_norm_1(encoded: FeatureTable) -> None:
    image = encoded.vectors["image"]
    np.testing.assert_allclose(image.values[0], [0.6, 0.8], rtol=1e-6)
    assert image.values[1].tolist() == [0.0, 0.0]
    assert image.missing.tolist() == [False] * 5 + [True]


def test_vectors_may_keep_their_length(films: pl.DataFrame) -> None:
    spec = FeatureSpec(name="image", kind="vector", dim=2, normalise=False)
    table = FeatureEncoder.fit(films, "item_id", TRAIN, [spec]).transform(films, ["cold"])
    assert table.vectors["image"].values.tolist() == [[5.0, 12.0]]


def test_a_cold_item_is_encoded_like_a_warm_one(films: pl.DataFrame) -> None:
    encoder = fit(films)
    twin = films.with_columns(item_id=pl.col("item_id").replace({"cold": "e", "a": "cold"}))
    warm, cold = encoder.transform(films, ["a"]), encoder.transform(twin, ["cold"])
    assert cold.known.all()
    assert warm.categorical["maker"].tolist() == cold.categorical["maker"].tolist()
    np.testing.assert_array_equal(warm.numeric, cold.numeric)
    np.testing.assert_array_equal(warm.vectors["image"].values, cold.vectors["image"].values)


def test_a_vocabulary_grown_by_the_table_covers_its_cold_items(films: pl.DataFrame) -> None:
    items = Vocabulary(["z", *TRAIN]).extend(films["item_id"])
    table = fit(films).transform(films, items.series)
    assert table.known.tolist() == [False] + [True] * 5
    assert table.categories["genres"].values[-2:].tolist() == [0, 2]


def test_no_features_at_all(films: pl.DataFrame) -> None:
    table = FeatureEncoder.fit(films, "item_id", TRAIN, []).transform(films, ["a", "z"])
    assert table.numeric.shape == (2, 0)
    assert table.known.tolist() == [True, False]


@few
@given(st.lists(row, min_size=2, max_size=8), st.lists(row, min_size=8, max_size=8))
def test_rows_outside_train_change_no_statistic(rows: list[Any], others: list[Any]) -> None:
    train = range(len(rows) // 2)
    replaced = rows[: len(train)] + others[: len(rows) - len(train)]
    ids = [str(i) for i in train]
    one, other = fit(table_of(rows), ids), fit(table_of(replaced), ids)
    assert one.digest() == other.digest()


def test_bad_values_outside_train_do_not_stop_the_fit(films: pl.DataFrame) -> None:
    broken = films.with_columns(
        price=pl.when(pl.col("item_id") == "cold").then(float("inf")).otherwise("price")
    )
    assert fit(broken).digest() == fit(films).digest()
    with pytest.raises(DataError, match="'price': 1 of 2 rows are infinite or too large: 'cold'"):
        fit(films).transform(broken, ["a", "cold"])


@few
@given(st.lists(row, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[Any], random: Any) -> None:
    frame = table_of(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    ids = [str(i) for i in order]
    one, other = fit(frame, ids), fit(frame[order], sorted(ids) * 2)
    assert one.digest() == other.digest()
    same = zip(
        one.transform(frame, ids).categories["genres"].values,
        other.transform(frame[order], ids).categories["genres"].values,
        strict=True,
    )
    assert all(a == b for a, b in same)


@few
@given(st.lists(row, min_size=1, max_size=6), st.lists(st.text(max_size=3), max_size=6))
def test_ids_without_a_row_are_missing_everywhere(rows: list[Any], strangers: list[str]) -> None:
    frame = table_of(rows).with_columns(item_id=pl.format("known {}", "item_id"))
    table = fit(frame, frame["item_id"].to_list()).transform(frame, strangers)
    assert not table.known.any()
    assert not table.categorical["maker"].any()
    assert table.categories["genres"].values.tolist() == [0] * len(strangers)
    assert table.numeric_missing.all()
    assert not table.numeric.any()
    assert table.vectors["image"].missing.all()
    assert not table.vectors["image"].values.any()


@few
@given(st.lists(row, min_size=1, max_size=6), st.lists(row, min_size=1, max_size=6))
def test_nothing_that_comes_out_is_nan_or_outside_its_table(
    train: list[Any], more: list[Any]
) -> None:
    frame = table_of(train + more)
    encoder = fit(frame, [str(i) for i in range(len(train))])
    table = encoder.transform(frame, frame["item_id"])
    assert np.isfinite(table.numeric).all()
    assert np.isfinite(table.vectors["image"].values).all()
    assert table.categorical["maker"].max() < encoder.sizes["maker"]
    assert (table.categories["genres"].values < encoder.sizes["genres"]).all()


@few
@given(st.lists(row, min_size=1, max_size=6), st.lists(row, min_size=1, max_size=6))
def test_growing_moves_no_code_and_no_number(old: list[Any], more: list[Any]) -> None:
    frame = table_of(old + more)
    ids = [str(i) for i in range(len(old))]
    encoder = fit(frame, ids)
    grown = encoder.extended(frame, frame["item_id"])
    assert grown.starts_with(encoder)
    assert grown.digest(encoder.sizes) == encoder.digest()
    assert grown.moments == encoder.moments
    before = encoder.transform(frame, ids).categorical["maker"]
    assert grown.transform(frame, ids).categorical["maker"].tolist() == before.tolist()


def test_new_categories_get_rows_behind_the_old_ones(films: pl.DataFrame) -> None:
    encoder = fit(films)
    grown = encoder.extended(films, ["cold"])
    assert (encoder.sizes, grown.sizes) == ({"maker": 3, "genres": 3}, {"maker": 4, "genres": 5})
    assert grown.transform(films, ["cold"]).categorical["maker"].tolist() == [3]
    assert not encoder.starts_with(grown)
    assert encoder.extended(films, TRAIN).digest() == encoder.digest()


def test_another_fit_is_another_digest(films: pl.DataFrame) -> None:
    encoder = fit(films)
    others = [
        fit(films, [*TRAIN, "cold"]),
        fit(films.with_columns(price=pl.col("price") + 1)),
        fit(films.with_columns(maker=pl.col("maker").replace("x", "w"))),
        FeatureEncoder.fit(films, "item_id", TRAIN, SPECS[:3]),
        FeatureEncoder.fit(films, "item_id", TRAIN, [*SPECS[1:], SPECS[0]]),
    ]
    assert len({encoder.digest(), *(other.digest() for other in others)}) == 6
    assert not any(other.starts_with(encoder) for other in others)


def test_the_digest_is_what_it_was_when_released(films: pl.DataFrame) -> None:
    known = "51ce57556260a283594591af9a75961a2f600a56d568c8ddf103e491e2ea14ef"
    assert fit(films).digest() == known


def test_a_digest_of_more_rows_than_there_are(films: pl.DataFrame) -> None:
    with pytest.raises(NotFoundError, match="Expected 0 to 2"):
        fit(films).digest({"maker": 9})


def test_train_ids_without_a_row_are_skipped(films: pl.DataFrame) -> None:
    assert fit(films, ["stranger", *TRAIN, "a"]).rows == 4


def test_no_train_id_with_a_row_is_refused(films: pl.DataFrame) -> None:
    with pytest.raises(DataError, match=r"None of 2 train ids \('y', 'z'\).*begins with 'a', 'b'"):
        fit(films, ["y", "z"])


def test_a_column_that_is_gone_is_named(films: pl.DataFrame) -> None:
    with pytest.raises(DataError, match=r"no column 'price'. Did you mean 'prices'"):
        fit(films).transform(films.rename({"price": "prices"}), ["a"])


def test_a_column_named_twice_is_refused(films: pl.DataFrame) -> None:
    with pytest.raises(ConfigError, match="1 features are named twice: 'maker'"):
        FeatureEncoder.fit(films, "item_id", TRAIN, [SPECS[0], SPECS[0]])


def test_repeated_ids_are_refused(films: pl.DataFrame) -> None:
    twice = pl.concat([films, films.head(1)])
    with pytest.raises(DataError, match="2 of 6 rows repeat an id: 'a'"):
        fit(twice)
    with pytest.raises(DataError, match="2 of 6 rows repeat an id: 'a'"):
        fit(films).transform(twice, ["b"])
