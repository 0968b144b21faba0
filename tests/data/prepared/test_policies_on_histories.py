"""Repeats and the core beside a split that looks at histories: as for the logs in memory."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lorarec.data.logs import load_logs
from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import PreparedDataset
from lorarec.data.prepared.manifest import Options
from lorarec.data.splits import split_logs


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    path = tmp_path / "logs.parquet"
    rows = [(n * 7 % 23, n * 5 % 11, n) for n in range(300)] + [(40 + n, 50, n) for n in range(5)]
    pl.DataFrame(
        {
            "user_id": [f"u{user}" for user, _, _ in rows],
            "item_id": [f"i{item}" for _, item, _ in rows],
            "domain": ["ab"[user % 2] for user, _, _ in rows],
            "timestamp": [second for *_, second in rows],
        }
    ).write_parquet(path)
    return path


@pytest.mark.parametrize("how", ["random", "leave-last-out"])
@pytest.mark.parametrize("duplicates", ["keep", "last", "sum"])
def test_the_parts_are_those_of_the_logs_in_memory(
    logs: Path, tmp_path: Path, how: str, duplicates: str
) -> None:
    asked = {"duplicates": duplicates, "min_user_rows": 2, "min_item_rows": 2}
    dataset = prepare(
        [logs], tmp_path / "set", Options.model_validate({"split": how, "seed": 3, **asked})
    )
    frame, record = split_logs(load_logs(logs), how, seed=3, **asked)  # type: ignore[arg-type]
    assert dataset.split is not None
    assert dataset.split.counts == record.counts
    assert dataset.split.core == record.core
    assert "outside-core" in record.counts
    columns = ["user_id", "item_id", "domain", "timestamp", "weight", "split"]
    for domain in ("a", "b"):
        found = dataset.split_frame(dataset.split, domain).select(columns)
        wanted = frame.filter(pl.col("domain") == domain).select(columns)
        assert found.sort(columns).equals(wanted.sort(columns))


def test_an_append_counts_them_anew(logs: Path, tmp_path: Path) -> None:
    options = Options(split="random", duplicates="last", min_user_rows=2)
    dataset = prepare([logs], tmp_path / "set", options)
    more = tmp_path / "more.parquet"
    pl.read_parquet(logs).head(20).with_columns(pl.col("timestamp") + 1000).write_parquet(more)
    grown = append(dataset.folder, [more]).dataset
    assert grown.split is not None
    held = {name: rows.height for (name,), rows in _parts(grown).group_by("split")}
    assert {name: part.rows for name, part in grown.split.counts.items()} == held


def _parts(dataset: PreparedDataset) -> pl.DataFrame:
    assert dataset.split is not None
    return dataset.split_frame(dataset.split)
