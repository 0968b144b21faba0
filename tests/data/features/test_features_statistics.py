from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.features import FeatureSpec
from lorarec.data.features.statistics import Categories, Moments, fit_moments, unit_rows

few = settings(max_examples=40, deadline=None)
words = st.lists(st.sampled_from("abcdef") | st.none(), max_size=30)
numbers = st.lists(
    st.floats(allow_nan=False, allow_infinity=False, width=32) | st.just(float("nan")), max_size=20
)


def spec(**options: object) -> FeatureSpec:
    return FeatureSpec.model_validate(
        {"name": "x", "kind": "categorical", "min_count": 1} | options
    )


def text(values: list[str | None]) -> pl.Series:
    return pl.Series(values, dtype=pl.String)


def test_codes_follow_falling_count_and_then_the_alphabet() -> None:
    learnt = Categories().extended(text(["b", "c", "a", "c", None]), spec())
    assert learnt.vocabulary.ids.tolist() == ["c", "a", "b"]
    assert learnt.counts.tolist() == [2, 1, 1]
    assert learnt.codes(text(["b", "c", "z", None])).tolist() == [3, 1, 0, 0]
    assert learnt.size == 4


def test_rare_categories_share_the_unknown_row() -> None:
    learnt = Categories().extended(text(["a", "a", "b"]), spec(min_count=2))
    assert learnt.vocabulary.ids.tolist() == ["a"]


def test_the_most_frequent_are_kept() -> None:
    learnt = Categories().extended(text(["a", "b", "b", "c", "c"]), spec(max_categories=2))
    assert learnt.vocabulary.ids.tolist() == ["b", "c"]
    assert learnt.extended(text(["d"] * 9), spec(max_categories=2)) is learnt


@few
@given(words, words)
def test_old_codes_and_counts_never_move(old: list[str | None], more: list[str | None]) -> None:
    learnt = Categories().extended(text(old), spec())
    grown = learnt.extended(text(more), spec())
    assert grown.vocabulary.starts_with(learnt.vocabulary)
    assert grown.counts[: len(learnt.counts)].tolist() == learnt.counts.tolist()
    assert grown.codes(text(old)).tolist() == learnt.codes(text(old)).tolist()


@few
@given(words, st.randoms())
def test_the_order_of_rows_does_not_matter(values: list[str | None], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (Categories().extended(text(v), spec()) for v in (values, shuffled))
    assert one.vocabulary == other.vocabulary


def test_numbers_are_standardised_with_the_moments_of_train() -> None:
    moments = fit_moments(np.array([1.0, 3.0, np.nan]), spec(kind="numeric", min_count=2))
    assert moments == Moments(2.0, 1.0)
    values, missing = moments.standardise(
        np.array([5.0, np.nan, 2.0]), spec(kind="numeric", min_count=2)
    )
    assert values.tolist() == [3.0, 0.0, 0.0]
    assert missing.tolist() == [False, True, False]


def test_log1p_keeps_the_sign() -> None:
    logged = FeatureSpec(name="x", kind="numeric", log1p=True)
    values, _ = Moments().standardise(np.array([np.e - 1, 1 - np.e, 0.0]), logged)
    np.testing.assert_allclose(values, [1, -1, 0], rtol=1e-6)


@pytest.mark.parametrize("values", [[], [np.nan], [0.1] * 7, [0.0, 0.0]])
def test_numbers_that_do_not_differ_have_deviation_1(values: list[float]) -> None:
    moments = fit_moments(np.array(values), FeatureSpec(name="x", kind="numeric"))
    assert moments.std == 1.0


@few
@given(numbers, numbers, st.booleans())
def test_standardised_numbers_are_finite_and_clipped(
    train: list[float], values: list[float], log1p: bool
) -> None:
    numeric = FeatureSpec(name="x", kind="numeric", log1p=log1p, clip=8)
    found, missing = fit_moments(np.array(train), numeric).standardise(np.array(values), numeric)
    assert np.isfinite(found).all()
    assert (np.abs(found) <= 8).all()
    assert (found[missing] == 0).all()


@few
@given(st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=2, max_size=2))
def test_rows_have_norm_1_or_0(row: list[float]) -> None:
    norm = np.linalg.norm(unit_rows(np.array([row], dtype=np.float32)))
    assert norm == pytest.approx(1.0 if any(row) else 0.0, rel=1e-4)
