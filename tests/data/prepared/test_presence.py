"""An append counts its own rows alone, and finds what counting all rows finds."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import PreparedDataset
from lorarec.data.prepared.manifest import Options
from lorarec.data.splits import SplitRecord, apply_split

Rows = list[tuple[int, int, int]]
ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 99)), min_size=1)


def logs(rows: Rows, path: Path) -> Path:
    pl.DataFrame(
        {
            "user_id": [f"u{user}" for user, _, _ in rows],
            "item_id": [f"i{item}" for _, item, _ in rows],
            "domain": ["ab"[user % 2] for user, _, _ in rows],
            "timestamp": [second for *_, second in rows],
            "split": ["train" if second < 70 else "later" for *_, second in rows],
        }
    ).write_parquet(path)
    return path


def record_of(dataset: PreparedDataset) -> SplitRecord:
    assert dataset.split is not None
    return dataset.split


@given(ROWS, ROWS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("split", ["time", "column"])
def test_counts_are_those_of_all_rows_at_once(
    tmp_path_factory: pytest.TempPathFactory, split: str, old: Rows, new: Rows
) -> None:
    folder = tmp_path_factory.mktemp("sets")
    begin = [(0, 0, 0), (1, 1, 50), (2, 2, 99)]  # something in each part
    first = logs([*begin, *old], folder / "first.parquet")
    second = logs(new, folder / "second.parquet")
    options = Options.model_validate({"split": split})
    dataset = prepare([first], folder / "set", options)
    grown = append(dataset.folder, [second]).dataset
    cuts, whole = record_of(grown), grown.frame()
    by_hand = {name: rows.height for (name,), rows in apply_split(whole, cuts).group_by("split")}
    assert {name: part.rows for name, part in cuts.counts.items()} == by_hand
    train = apply_split(whole, cuts).filter(pl.col("split") == "train")
    for name, part in cuts.counts.items():
        rows = apply_split(whole, cuts).filter(pl.col("split") == name)
        assert part.users == rows["user_id"].n_unique()
        assert part.cold_users == len(set(rows["user_id"]) - set(train["user_id"]))
        assert part.cold_items == len(set(rows["item_id"]) - set(train["item_id"]))
        assert (part.first, part.last) == (rows["timestamp"].min(), rows["timestamp"].max())
    (folder / "set" / "presence" / "000001.parquet").unlink()
    third = logs([(9, 9, 99)], folder / "third.parquet")
    counted_anew = record_of(append(dataset.folder, [third]).dataset).counts
    assert sum(part.rows for part in counted_anew.values()) == len(grown) + 1


def test_only_the_newest_generation_keeps_it(tmp_path: Path) -> None:
    rows = [(n % 5, n % 7, n) for n in range(100)]
    dataset = prepare([logs(rows, tmp_path / "a.parquet")], tmp_path / "set", Options())
    append(dataset.folder, [logs([(9, 9, 99)], tmp_path / "b.parquet")])
    kept = [path.name for path in (dataset.folder / "presence").iterdir()]
    assert kept == ["000001.parquet"]


def test_a_damaged_one_is_not_believed(tmp_path: Path) -> None:
    rows = [(n % 5, n % 7, n) for n in range(100)]
    dataset = prepare([logs(rows, tmp_path / "a.parquet")], tmp_path / "set", Options())
    path = dataset.folder / "presence" / "000000.parquet"
    flags = pl.read_parquet(path)
    flags.select(~pl.all()).write_parquet(path)
    grown = append(dataset.folder, [logs([(0, 0, 99)], tmp_path / "b.parquet")]).dataset
    assert record_of(grown).counts["train"].users == record_of(dataset).counts["train"].users
