from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from lorarec.data.features.values import as_members, as_numbers, as_text, as_vectors
from lorarec.errors import DataError


def ids(column: pl.Series) -> pl.Series:
    return pl.Series([f"i{n}" for n in range(len(column))])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pl.Series([" a ", "", None, "  "]), ["a", None, None, None]),
        (pl.Series([1, None, -2]), ["1", None, "-2"]),
        (pl.Series([1.0, None, float("nan"), 0.5, -0.0]), ["1", None, None, "0.5", "0"]),
        (pl.Series([1.0, 0.5], dtype=pl.Float32), ["1", "0.5"]),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), [str(2**64 - 1)]),
        (pl.Series([True, None]), ["true", None]),
        (pl.Series(["a"], dtype=pl.Categorical), ["a"]),
        (pl.Series([date(2020, 1, 2)]), ["2020-01-02"]),
        (pl.Series([None]), [None]),
    ],
)
def test_categories_are_text(column: pl.Series, expected: list[str | None]) -> None:
    assert as_text(column).to_list() == expected


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([["a", "b", "a", None, ""], None, [], ["c"]]),
        pl.Series(["a|b |a||", None, "|", "c"]),
    ],
)
def test_members_stand_once_in_a_row(column: pl.Series) -> None:
    rows, text, missing = as_members(column)
    assert rows.tolist() == [0, 0, 3]
    assert text.to_list() == ["a", "b", "c"]
    assert missing.tolist() == [False, True, False, False]


def test_a_value_that_is_no_list_is_a_list_of_one() -> None:
    rows, text, missing = as_members(pl.Series([5, None]))
    assert (rows.tolist(), text.to_list(), missing.tolist()) == ([0], ["5"], [False, True])


def test_arrays_are_lists() -> None:
    column = pl.Series([["a", "b"], None], dtype=pl.Array(pl.String, 2))
    assert as_members(column)[1].to_list() == ["a", "b"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pl.Series([1, None]), [1.0, np.nan]),
        (pl.Series([0.5, float("nan")]), [0.5, np.nan]),
        (pl.Series([" 2.5", "", "007"]), [2.5, np.nan, 7.0]),
        (pl.Series([True, None]), [1.0, np.nan]),
        (pl.Series([date(1970, 1, 3), None]), [2.0, np.nan]),
        (pl.Series([datetime(1970, 1, 1, 12)]), [0.5]),
        (pl.Series([datetime(1970, 1, 2, tzinfo=UTC)]).dt.convert_time_zone("Asia/Tokyo"), [1.0]),
        (pl.Series([None]), [np.nan]),
    ],
)
def test_numbers_are_floats_and_nan_is_missing(column: pl.Series, expected: list[float]) -> None:
    np.testing.assert_array_equal(as_numbers(column, ids(column)), expected)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), 1e39])
def test_numbers_that_float32_cannot_hold_are_named(bad: float) -> None:
    column = pl.Series("price", [1.0, bad, None, *[bad] * 6])
    with pytest.raises(DataError, match=r"'price': 7 of 9 rows are infinite or too large: 'i1'"):
        as_numbers(column, ids(column))


def test_text_that_is_no_number_is_named() -> None:
    column = pl.Series("price", ["1", "ten", "x" * 100])
    with pytest.raises(DataError, match=r"2 of 3 rows are no numbers: 'i1' has 'ten', 'i2'"):
        as_numbers(column, ids(column))


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([[1.0, 2.0], None]),
        pl.Series([[1, 2], None]),
        pl.Series([[1.0, 2.0], None], dtype=pl.Array(pl.Float64, 2)),
        pl.Series(["1|2.0", ""]),
        pl.Series([["1", "2"], None]),
    ],
)
def test_vectors_of_every_type(column: pl.Series) -> None:
    values, missing = as_vectors(column, 2, ids(column))
    assert values.dtype == np.float32
    assert values.tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert missing.tolist() == [False, True]


@pytest.mark.parametrize("column", [pl.Series([None, None]), pl.Series([], dtype=pl.String)])
def test_no_vectors_at_all(column: pl.Series) -> None:
    values, missing = as_vectors(column, 3, ids(column))
    assert values.shape == (len(column), 3)
    assert missing.all()


def test_vectors_of_another_length_are_named() -> None:
    column = pl.Series("image", [[1.0, 2.0], [1.0], [], None])
    expected = r"'image': 2 of 4 rows have another number of elements: 'i1' has 1, 'i2' has 0. "
    with pytest.raises(DataError, match=expected + "Expected 2"):
        as_vectors(column, 2, ids(column))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None, 1e39])
def test_a_vector_with_a_hole_is_named(bad: float | None) -> None:
    column = pl.Series("image", [None, [1.0, 2.0], [1.0, bad]])
    with pytest.raises(DataError, match=r"1 of 3 rows hold null, NaN or infinite numbers: 'i2'"):
        as_vectors(column, 2, ids(column))


@pytest.mark.parametrize(
    ("read", "column"),
    [
        (as_text, pl.Series("x", [["a"]])),
        (as_text, pl.Series("x", [b"a"])),
        (as_members, pl.Series("x", [[["a"]]])),
        (lambda column: as_numbers(column, ids(column)), pl.Series("x", [["a"]])),
        (lambda column: as_vectors(column, 1, ids(column)), pl.Series("x", [1.0])),
        (lambda column: as_vectors(column, 1, ids(column)), pl.Series("x", [[[1.0]]])),
    ],
)
def test_a_wrong_type_is_named_with_the_remedy(read: Any, column: pl.Series) -> None:
    with pytest.raises(DataError, match=r"Column 'x' is .* Expected .* kind = 'ignore'"):
        read(column)
