"""A split by time that has moved on, and what has not."""

from __future__ import annotations

from typing import Any

import pytest

from lorarec.data.later_split import goes_on, latest
from lorarec.data.splits import SplitRecord


def record(**values: Any) -> SplitRecord:
    known = {"how": "time", "used": "time", "seed": 0, "valid_share": 0.1, "test_share": 0.1}
    return SplitRecord(**{**known, "t_valid": 100, "t_test": 200, **values})


def test_a_later_or_the_same_cut_off_goes_on() -> None:
    assert goes_on(record(), record())
    assert goes_on(record(t_valid=150, t_test=180), record())
    assert goes_on(record(t_test=300, counts={}, notes=["other"]), record())


@pytest.mark.parametrize(
    "values",
    [{"t_valid": 99}, {"duplicates": "last"}, {"min_user_rows": 3}, {"used": "random"}],
)
def test_an_earlier_one_or_other_rules_do_not(values: dict[str, Any]) -> None:
    assert not goes_on(record(**values), record())


def test_drawn_splits_go_on_only_as_they_are() -> None:
    drawn = record(used="random", t_valid=None, t_test=None)
    assert goes_on(drawn, drawn)
    assert not goes_on(drawn.model_copy(update={"seed": 1}), drawn)


def test_the_latest_is_the_one_with_the_last_cut_off() -> None:
    assert latest([record(), record(t_valid=170), record(t_valid=120)]).t_valid == 170
