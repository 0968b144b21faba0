from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lorarec.data import batches
from lorarec.data.contract import Checker, ContractError
from lorarec.data.logs import read_logs
from lorarec.errors import DataError

EVENTS = {"view": 1.0, "buy": 5.0}


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    path = tmp_path / "clicks.csv"
    path.write_text(
        "user_id,item_id,domain,event,weight\nu,i,d,view,\nu,j,d,buy,2\n,k,d,view,\nv,i,d,buy,-1\n"
    )
    return path


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a batch, so that a few rows are many batches."""
    monkeypatch.setattr(batches.raw_batches, "__defaults__", (False, 2))


def test_an_events_weight_multiplies_the_rows_own(clicks: Path) -> None:
    kept: list[pl.DataFrame] = []
    logs = read_logs(clicks, events=EVENTS, bad_rows=kept.append)
    assert logs.frame["weight"].to_list() == [1.0, 10.0]


def test_an_event_without_a_weight_breaks_the_contract(clicks: Path) -> None:
    with pytest.raises(ContractError, match=r"unknown event in 2 rows.*'buy'.*one of view"):
        read_logs(clicks, events={"view": 1.0}, bad_rows=None)


def test_events_need_their_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,domain\nu,i,d\n")
    with pytest.raises(DataError, match="'event' is missing"):
        read_logs(path, events=EVENTS)


def test_a_rating_weighs_only_a_row_without_a_weight(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,domain,rating,weight\nu,i,d,4,2\nu,j,d,4,\nu,k,d,,\n")
    assert read_logs(path, rating_weight=True).frame["weight"].to_list() == [2, 4, 1]


def test_bad_rows_come_with_their_file_and_the_first_rule(clicks: Path) -> None:
    kept: list[pl.DataFrame] = []
    logs = read_logs(clicks, bad_rows=kept.append)
    bad = pl.concat(kept)
    assert bad["reason"].to_list() == ["null or empty user_id", "negative weight"]
    assert bad["file"].unique().to_list() == [str(clicks)]
    assert (logs.frame.height, logs.dropped_bad) == (2, 2)


def test_logs_without_a_good_row_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,domain\n,i,d\n")
    with pytest.raises(ContractError, match="null or empty user_id"):
        read_logs(path, bad_rows=lambda _: None)


def test_a_table_that_lacks_a_column_is_refused_whatever_becomes_of_bad_rows(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,domain\nu,d\n")
    with pytest.raises(ContractError, match="missing column item_id"):
        read_logs(path, bad_rows=lambda _: None)


@pytest.mark.usefixtures("small_batches")
def test_batches_change_neither_rows_nor_counts_nor_places(clicks: Path) -> None:
    with pytest.raises(ContractError) as caught:
        read_logs(clicks)
    found = {v.rule: [row["row"] for row in v.sample] for v in caught.value.report.violations}
    assert found == {"null or empty user_id": [3], "negative weight": [4]}
    assert caught.value.report.rows == 4


def test_a_rule_broken_in_many_batches_is_one_with_the_first_sample() -> None:
    checker = Checker()
    for start in (0, 4):
        frame = pl.DataFrame({"user_id": "u", "item_id": "i", "domain": "d", "weight": [-1.0] * 4})
        checker.check(frame, offset=start)
    (violation,) = checker.violations
    assert violation.count == 8
    assert [row["row"] for row in violation.sample] == [1, 2, 3, 4]
    assert violation.found.endswith(", ....")


def test_an_event_of_a_wrong_type_is_told_as_any_column_is(tmp_path: Path) -> None:
    rows = {"user_id": ["u"], "item_id": ["i"], "domain": ["d"], "event": [["view"]]}
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(
        ContractError, match=r"wrong type of event in 1 row.*a string or an integer"
    ):
        read_logs(tmp_path / "a.parquet", events=EVENTS)
    assert read_logs(tmp_path / "a.parquet").frame.height == 1


def test_an_event_may_be_a_number(tmp_path: Path) -> None:
    rows = {"user_id": ["u"], "item_id": ["i"], "domain": ["d"], "event": [3]}
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    assert read_logs(tmp_path / "a.parquet", events={"3": 2.0}).frame["weight"].to_list() == [2.0]
