from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from lorarec.data.features import Inferred, infer_specs
from lorarec.errors import ConfigError, DataError

ROWS = 120


def infer(column: pl.Series, **arguments: Any) -> Inferred:
    frame = pl.DataFrame({"id": pl.int_range(len(column), eager=True), "x": column})
    return infer_specs(frame, "id", **arguments)


def cycle(values: list[Any], **arguments: Any) -> pl.Series:
    return pl.Series([values[i % len(values)] for i in range(ROWS)], **arguments)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (cycle(["a", "b", None]), "categorical"),
        (cycle(["a", "b"], dtype=pl.Categorical), "categorical"),
        (cycle(["a", "b"], dtype=pl.Enum(["a", "b"])), "categorical"),
        (cycle([True, False]), "categorical"),
        (cycle([1, 2, 3]), "categorical"),
        (cycle(list(range(60))), "numeric"),
        (cycle([0.5, 1.5]), "numeric"),
        (cycle([Decimal("0.5"), Decimal("1.5")]), "numeric"),
        (cycle([date(2020, 1, 1), date(2021, 1, 1)]), "numeric"),
        (cycle([datetime(2020, 1, 1), datetime(2021, 1, 1)]), "numeric"),
        (cycle([["a"], ["a", "b"], []]), "categories"),
        (cycle([[1], [2, 3]]), "categories"),
        (cycle([[0.5, 1.0], None]), "vector"),
        (cycle([[1, 2]], dtype=pl.Array(pl.Int8, 2)), "vector"),
        (cycle([["a", "b"]], dtype=pl.Array(pl.String, 2)), "categories"),
    ],
)
def test_types_say_the_kind(column: pl.Series, kind: str) -> None:
    assert [spec.kind for spec in infer(column).specs] == [kind]


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (
            pl.Series([f"title {i}" for i in range(ROWS)]),
            "120 of its 120 values differ, like an id",
        ),
        (pl.Series(range(ROWS)), "120 of its 120 values differ, like an id"),
        (pl.Series([None] * ROWS), "it is empty"),
        (cycle(["a"]), "it is the same in every row"),
        (cycle([[0.5], [0.5, 1.0]]), "its lists have 1 to 2 numbers, and a vector one length"),
        (cycle([{"a": 1}]), "is no kind of feature"),
        (cycle([[["a"]]]), "is no kind of feature"),
        (cycle([b"a", b"b"]), "Binary is no kind of feature"),
    ],
)
def test_what_is_left_out_is_said(column: pl.Series, reason: str) -> None:
    found = infer(column)
    assert found.specs == ()
    assert reason in found.left_out["x"]


def test_only_the_rows_of_the_given_ids_are_looked_at() -> None:
    column = cycle([[0.5, 1.0]]).extend(pl.Series([[0.5]]))
    assert infer(column).specs == ()
    assert infer(column, ids=[str(i) for i in range(ROWS)]).specs[0].dim == 2


def test_settings_replace_what_was_found() -> None:
    column = cycle([1, 2, 3])
    (spec,) = infer(column, overrides={"x": {"kind": "numeric", "log1p": True}}).specs
    assert (spec.kind, spec.log1p) == ("numeric", True)
    (spec,) = infer(column, overrides={"x": {"min_count": 7}}).specs
    assert (spec.kind, spec.min_count) == ("categorical", 7)


def test_a_vector_may_become_something_else_and_its_dim_goes() -> None:
    (spec,) = infer(cycle([[0.5, 1.0]]), overrides={"x": {"kind": "categories"}}).specs
    assert spec.dim is None


def test_settings_leave_a_column_out_or_bring_it_back() -> None:
    assert infer(cycle([1, 2]), overrides={"x": {"kind": "ignore"}}).left_out == {
        "x": "the settings say so"
    }
    assert infer(pl.Series(range(ROWS)), overrides={"x": {"kind": "numeric"}}).left_out == {}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"y": {"kind": "numeric"}}, "describe the feature 'y'"),
        ({"x": {"kind": "colour"}}, "Feature 'x', kind: Input should be"),
        ({"x": {"kind": "vector"}}, "Feature 'x': a vector needs dim"),
        ({"x": {"rank": 4}}, "Feature 'x', rank: Extra inputs"),
    ],
)
def test_settings_that_say_nothing_are_refused(overrides: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        infer(cycle([1, 2]), overrides=overrides)


def test_ids_are_checked_first() -> None:
    with pytest.raises(DataError, match="repeat an id: 'a'"):
        infer_specs(pl.DataFrame({"id": ["a", "a"]}), "id")
