"""Logs of any column types, in any order, with repeats and gaps: prepared as they are read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.contract import ContractError
from lorarec.data.logs import read_logs
from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import open_dataset
from lorarec.data.prepared.manifest import Options
from lorarec.errors import PassingError

Row = tuple[int | None, int | None, str | None, int | None, float | None]
ROWS: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, 5)),
        st.one_of(st.none(), st.integers(0, 5)),
        st.sampled_from([None, "a", "b", " "]),
        st.one_of(st.none(), st.integers(-2, 10**9)),
        st.sampled_from([None, -1.0, 0.0, 1.0, 2.5, float("nan")]),
    ),
    min_size=1,
    max_size=25,
)
Turned = Callable[[pl.Expr], pl.Expr]
IDS: dict[str, Turned] = {
    "Int64": lambda c: c,
    "UInt8": lambda c: c.cast(pl.UInt8),
    "String": lambda c: c.cast(pl.String),
    "Categorical": lambda c: c.cast(pl.String).cast(pl.Categorical),
}
TIMES: dict[str, Turned] = {
    "Int64": lambda c: c,
    "Float64": lambda c: c.cast(pl.Float64),
    "String": lambda c: c.cast(pl.String),
    "Datetime ms": lambda c: (c * 1_000).cast(pl.Datetime("ms")),
    "Datetime ns, zoned": lambda c: (c * 10**9).cast(pl.Datetime("ns", "Asia/Tokyo")),
}
WEIGHTS: dict[str, Turned] = {
    "Float64": lambda c: c,
    "Float32": lambda c: c.cast(pl.Float32),
    "String": lambda c: c.cast(pl.String),
}


def written(
    rows: list[Row], path: Path, user: Turned, item: Turned, time: Turned, w: Turned
) -> Path:
    frame = pl.DataFrame(
        rows,
        orient="row",
        schema={
            "user_id": pl.Int64,
            "item_id": pl.Int64,
            "domain": pl.String,
            "timestamp": pl.Int64,
            "weight": pl.Float64,
        },
    )
    frame = frame.with_columns(
        user(pl.col("user_id")),
        item(pl.col("item_id")),
        time(pl.col("timestamp")),
        w(pl.col("weight")),
    )
    frame.write_parquet(path)
    return path


@settings(max_examples=60, deadline=None)
@given(
    ROWS,
    *(st.sampled_from(list(kinds.values())) for kinds in (IDS, IDS, TIMES, WEIGHTS)),
)
def test_a_data_set_holds_what_the_logs_hold_and_counts_what_it_left_out(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Row],
    user: Turned,
    item: Turned,
    time: Turned,
    weight: Turned,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = written(rows, folder / "a.parquet", user, item, time, weight)
    bad: list[pl.DataFrame] = []
    options = Options(split="none", on_bad_rows="quarantine")
    try:
        logs = read_logs(path, bad_rows=bad.append)
    except ContractError:  # not one row is good
        with pytest.raises(ContractError):
            prepare([path], folder / "set", options)
        assert not (folder / "set").exists()
        return
    made = prepare([path], folder / "set", options)
    columns = ["user_id", "item_id", "domain", "timestamp", "weight"]
    for domain in logs.frame["domain"].unique():
        expected = logs.frame.filter(pl.col("domain") == domain).select(columns)
        assert made.frame(domain).select(columns).equals(expected, null_equal=True)
    assert (len(made), made.manifest.generations[0].dropped_bad) == (
        logs.frame.height,
        logs.dropped_bad,
    )
    assert sum(part.height for part in bad) == logs.dropped_bad == len(rows) - len(made)


@settings(max_examples=30, deadline=None)
@given(ROWS, ROWS, st.sampled_from(list(IDS.values())), st.sampled_from(list(IDS.values())))
def test_what_came_later_is_added_behind_whatever_its_types(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[Row],
    later: list[Row],
    one: Turned,
    other: Turned,
) -> None:
    folder = tmp_path_factory.mktemp("later")
    good: Row = (1, 1, "a", 1, 1.0)
    plain = TIMES["Int64"], WEIGHTS["Float64"]
    a = written([good, *first], folder / "a.parquet", one, one, *plain)
    b = written([*later, (2, 2, "b", 2, 1.0)], folder / "b.parquet", other, other, *plain)
    options = Options(split="none", on_bad_rows="drop")
    at_once = prepare([a, b], folder / "both", options)
    made = prepare([a], folder / "set", options)
    grown = append(made.folder, [b]).dataset
    assert grown.users == at_once.users
    assert grown.items == at_once.items
    assert grown.frame("a").equals(at_once.frame("a"), null_equal=True)
    assert grown.frame("b").equals(at_once.frame("b"), null_equal=True)


def test_of_appends_at_the_same_time_each_is_whole_or_refused(tmp_path: Path) -> None:
    def day(place: int, rows: int) -> Path:
        ids = [f"{place}-{row}" for row in range(rows)]
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        frame: dict[str, Any] = {"user_id": ids, "item_id": ids, "domain": "d"}
        path = tmp_path / f"{place}.parquet"
        pl.DataFrame(frame).with_columns(timestamp=pl.lit(moment)).write_parquet(path)
        return path

    made = prepare([day(0, 10)], tmp_path / "set", Options(split="none"))
    days = [day(place, 1000) for place in range(1, 5)]
    begin = Barrier(len(days))

    def appended(path: Path) -> bool:
        begin.wait()
        try:
            return append(made.folder, [path]).rows == 1000
        except PassingError:
            return False

    with ThreadPoolExecutor(len(days)) as pool:
        done = sum(pool.map(appended, days))
    assert done >= 1
    found = open_dataset(made.folder)
    assert len(found) == len(found.users) == 10 + 1000 * done
    assert append(made.folder, days).rows == 1000 * (len(days) - done)


@pytest.mark.parametrize("unit", ["ms", "us"])
def test_a_moment_that_no_calendar_has_is_set_aside_as_a_number(tmp_path: Path, unit: str) -> None:
    far = 2**63 - 1
    times = pl.Series([far, 5_000_000_000, 6_000_000_000, 7_000_000_000]).cast(pl.Datetime(unit))
    ids = {"user_id": ["a", "b", "c", "d"], "item_id": ["i"] * 4, "domain": ["d"] * 4}
    pl.DataFrame(ids).with_columns(timestamp=times).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ContractError, match=str(far)):
        prepare([tmp_path / "a.parquet"], tmp_path / "none", Options())
    made = prepare([tmp_path / "a.parquet"], tmp_path / "set", Options(on_bad_rows="quarantine"))
    (aside,) = (made.folder / "quarantine").iterdir()
    assert pl.read_parquet(aside)["timestamp"].to_list() == [str(far)]
    assert len(made) == 3
