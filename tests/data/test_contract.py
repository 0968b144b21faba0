from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from lorarec.data.contract import check_frame

GOOD: dict[str, list[Any]] = {
    "user_id": ["u", "v", "u"],
    "item_id": [1, 2, 1],
    "domain": ["a", "a", "b"],
    "timestamp": [10, 20, 30],
    "weight": [1.0, 0.0, 2.0],
    "rating": [5, None, 0],
    "split": ["train", "test_cold_item", None],
}


def _check(**changed: object) -> list[tuple[str, int]]:
    report = check_frame(pl.DataFrame(GOOD).with_columns(**changed))  # type: ignore[arg-type]
    return [(violation.rule, violation.count) for violation in report.violations]


def test_good_logs_pass() -> None:
    assert check_frame(pl.DataFrame(GOOD)).ok


@pytest.mark.parametrize(
    ("column", "values", "rule", "count"),
    [
        ("user_id", [None, "", "u"], "null or empty user_id", 2),
        ("item_id", ["i", " ", "j"], "null or empty item_id", 1),
        ("domain", ["a", "", None], "null or empty domain", 2),
        ("user_id", [1.5, 2.5, 3.5], "wrong type of user_id", 3),
        ("weight", [-1.0, -2.0, 1.0], "negative weight", 2),
        ("weight", [float("nan"), float("inf"), 1.0], "weight that is not finite", 2),
        ("weight", ["1", "two", None], "unreadable weight", 1),
        ("weight", [float("-inf"), 0.0, 0.0], "weight that is not finite", 1),
        ("rating", [-1, 4, None], "negative rating", 1),
        ("timestamp", [1_700_000_000_000, 5, 5], "timestamp in milliseconds", 1),
        ("timestamp", [1_700_000_000_000_000, 5, 5], "timestamp in microseconds", 1),
        ("timestamp", [1_700_000_000_000_000_000, 5, 5], "timestamp in nanoseconds", 1),
        ("timestamp", [-5, 5, 5], "negative timestamp", 1),
        ("timestamp", ["soon", "5", ""], "unreadable timestamp", 1),
        ("timestamp", [0.5, 5.0, 5.0], "unreadable timestamp", 1),
        ("timestamp", pl.Series([3_000_000, 5, 5]).cast(pl.Date), "timestamp in milliseconds", 1),
        ("split", [[1], [2], [3]], "wrong type of split", 3),
    ],
)
def test_each_rule_has_its_name_and_count(
    column: str, values: list[Any], rule: str, count: int
) -> None:
    assert _check(**{column: pl.Series(values)}) == [(rule, count)]


def test_missing_column() -> None:
    report = check_frame(pl.DataFrame(GOOD).drop("domain"))
    assert [v.rule for v in report.violations] == ["missing column domain"]


def test_all_violations_are_reported_at_once() -> None:
    assert len(_check(weight=pl.Series([-1, 1, 1]), timestamp=pl.Series([-1, 1, 1]))) == 2


def test_an_all_null_column_counts_as_absent() -> None:
    assert _check(weight=pl.lit(None), timestamp=pl.lit(None), split=pl.lit(None)) == []


def test_the_sample_has_five_rows_and_their_places() -> None:
    frame = pl.DataFrame({"user_id": "u", "item_id": "i", "domain": "d", "weight": range(-9, 3)})
    (violation,) = check_frame(frame).violations
    assert violation.count == 9
    assert [row["row"] for row in violation.sample] == [1, 2, 3, 4, 5]
    assert violation.sample[0]["weight"] == -9


def test_the_message_says_found_expected_and_next() -> None:
    frame = pl.DataFrame(GOOD).with_columns(weight=pl.Series([-3.5, 1, 1]))
    message = check_frame(frame).message()
    assert "-3.5" in message
    assert "Expected 0 or above" in message
    assert "lorarec data check" in message


def test_own_names_are_checked_and_named() -> None:
    frame = pl.DataFrame(GOOD).rename({"weight": "w"}).with_columns(w=pl.Series([-1, 1, 1]))
    (violation,) = check_frame(frame, {"weight": "w"}).violations
    assert "Column 'w'" in violation.found


def test_repeats_and_other_splits_are_legal_and_counted() -> None:
    frame = pl.concat([pl.DataFrame(GOOD), pl.DataFrame(GOOD).head(2)])
    report = check_frame(frame)
    assert report.ok
    assert report.repeated_pairs == 2
    assert report.other_splits == {"test_cold_item": 2}
