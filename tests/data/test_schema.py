from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.schema import SCHEMA, normalise
from lorarec.errors import ConfigError, DataError


def _canonical(columns: dict[str, str] | None = None, **values: object) -> pl.DataFrame:
    frame = pl.DataFrame({"user_id": ["u"], "item_id": ["i"], "domain": ["d"], **values})
    return normalise(frame.lazy(), columns).collect()


def test_all_columns_are_there_in_order() -> None:
    assert dict(_canonical().schema) == SCHEMA
    assert list(_canonical().columns) == list(SCHEMA)


def test_integer_ids_become_strings() -> None:
    assert _canonical(user_id=[7])["user_id"].item() == "7"


def test_extra_columns_are_dropped() -> None:
    assert "note" not in _canonical(note=["x"]).columns


def test_no_weight_is_one() -> None:
    assert _canonical()["weight"].item() == 1.0
    assert _canonical(weight=pl.Series([None], dtype=pl.Float64))["weight"].item() == 1.0


def test_renamed_column_wins_over_the_contract_name() -> None:
    frame = _canonical({"split": "mine"}, split=["theirs"], mine=["train"])
    assert frame["split"].item() == "train"


def test_an_empty_split_is_none() -> None:
    assert _canonical(split=[""])["split"].item() is None


@pytest.mark.parametrize(
    "value",
    [
        1_735_689_600,
        1_735_689_600.0,
        "1735689600",
        "1735689600.0",
        "2025-01-01",
        "2025-01-01 00:00",
        "2025-01-01 00:00:00",
        "2025-01-01T00:00:00Z",
        "2025-01-01T01:00:00.000+01:00",
        date(2025, 1, 1),
        datetime(2025, 1, 1),
        datetime(2025, 1, 1, tzinfo=UTC),
    ],
)
def test_timestamps_become_seconds_utc(value: object) -> None:
    assert _canonical(timestamp=[value])["timestamp"].item() == 1_735_689_600


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=20))
def test_seconds_written_as_text_are_read_back(seconds: list[int]) -> None:
    frame = pl.DataFrame({"user_id": "u", "item_id": "i", "domain": "d", "timestamp": seconds})
    text = frame.with_columns(pl.col("timestamp").cast(pl.String))
    assert normalise(text.lazy()).collect()["timestamp"].to_list() == seconds


def test_normalising_twice_changes_nothing() -> None:
    once = _canonical(timestamp=[5], rating=[3], weight=[2], split=["train"])
    assert normalise(once.lazy()).collect().equals(once)


def test_missing_column_is_named_with_what_was_found() -> None:
    with pytest.raises(DataError, match=r"'user_id' is missing: found item_id, domain"):
        normalise(pl.LazyFrame({"item_id": ["i"], "domain": ["d"]}))


def test_missing_renamed_column_is_an_error_even_if_optional() -> None:
    with pytest.raises(DataError, match="'splitt'"):
        _canonical({"split": "splitt"})


def test_renaming_a_column_that_is_not_in_the_contract() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'user_id'"):
        _canonical({"userid": "uid"})


def test_wrong_type_is_named() -> None:
    with pytest.raises(DataError, match="Float64"):
        _canonical(user_id=[1.5])
