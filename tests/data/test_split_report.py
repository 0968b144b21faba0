from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lorarec.data.folds import rolling_folds
from lorarec.data.logs import load_logs
from lorarec.data.part_counts import count_parts
from lorarec.data.prepared.build import prepare
from lorarec.data.prepared.dataset import PreparedDataset
from lorarec.data.prepared.manifest import Options
from lorarec.data.split_report import (
    Sides,
    report_dataset,
    report_dataset_folds,
    report_folds,
    report_logs,
)
from lorarec.data.splits import How, SplitRecord, apply_split, split_logs
from lorarec.data.synthetic import make_logs
from lorarec.errors import DataError

Canonical = Callable[..., pl.DataFrame]
DAY = 86_400


def plan(how: How) -> SplitRecord:
    return SplitRecord(how=how, used=how, seed=2, valid_share=0.1, test_share=0.2)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "logs.parquet"
    frame = make_logs(("books", "movies", "games"), 60, 50, 1500, 0).drop("rating", "split")
    parts = pl.Series("split", ["train", "train", "valid", "test", "extra"] * 300)
    frame.with_columns(parts).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def dataset(logs: Path) -> PreparedDataset:
    return prepare([logs], logs.parent / "set", Options(split="none"))


def counted(split: pl.DataFrame) -> Sides:
    """The sides of a split, found another way."""
    train = split.filter(pl.col("split") == "train")
    held = split.filter(pl.col("split").is_in(["valid", "test"]))
    only = [len(set(train[c]) - set(held[c])) for c in ("user_id", "item_id")]
    return Sides(count_parts(split), *only)


@pytest.mark.parametrize("how", ["time", "column", "random", "leave-last-out"])
def test_a_data_set_reports_what_its_logs_do(
    logs: Path, dataset: PreparedDataset, how: How
) -> None:
    frame = load_logs(logs)
    split, record = split_logs(frame, how, valid_share=0.1, test_share=0.2, seed=2)
    (ours,), (theirs,) = (
        report_dataset(dataset, plan(how), by_domain=True),
        report_logs(frame, plan(how), by_domain=True),
    )
    assert ours.whole == theirs.whole == counted(split)
    assert ours.domains == theirs.domains
    assert list(ours.domains) == ["books", "games", "movies"]
    for name, sides in ours.domains.items():
        assert sides == counted(split.filter(pl.col("domain") == name))
    assert ours.record.counts == record.counts
    assert ours.record.cutoffs == record.cutoffs


def test_every_fold_is_counted_as_if_it_were_alone(logs: Path, dataset: PreparedDataset) -> None:
    frame = load_logs(logs)
    ours = report_dataset_folds(dataset, 3, 20 * DAY, by_domain=True)
    assert ours == report_folds(frame, 3, 20 * DAY, by_domain=True)
    span = frame.select(pl.min("timestamp"), pl.max("timestamp").alias("last")).row(0)
    for report, fold in zip(ours, rolling_folds(*span, 3, 20 * DAY), strict=True):
        assert report.record.cutoffs == fold.cutoffs
        assert report.whole == counted(apply_split(frame, fold))
    assert "later" in ours[0].whole.parts
    assert "later" not in ours[-1].whole.parts


def test_a_data_set_tells_its_own_split(logs: Path, tmp_path: Path) -> None:
    made = prepare([logs], tmp_path / "set", Options(split="random"))
    (found,) = report_dataset(made)
    assert made.split is not None
    assert found.record == made.split
    assert found.domains == {}


def test_a_data_set_without_a_split_asks_for_one(dataset: PreparedDataset) -> None:
    with pytest.raises(DataError, match="--split time"):
        report_dataset(dataset)


def test_cut_offs_are_checked_on_a_data_set_too(dataset: PreparedDataset) -> None:
    with pytest.raises(DataError, match="leave a part empty"):
        report_dataset(dataset, plan("time").cut_at([1, 2]))
    (found,) = report_dataset(dataset, plan("time").cut_at([1745000000, 1750000000, 1755000000]))
    assert list(found.whole.parts) == ["train", "valid", "test", "later"]


def test_cold_in_a_domain_is_what_has_no_train_row_there(canonical: Canonical) -> None:
    frame = canonical(["u i a", "u i b", "v j b"], split=["train", "test", "train"])
    (found,) = report_logs(frame, plan("column"), by_domain=True)
    assert found.whole.parts["test"].cold_users == 0
    assert found.domains["b"].parts["test"].cold_users == 1
    assert (found.whole.train_only_users, found.domains["b"].train_only_users) == (1, 1)


def test_folds_need_a_time_in_every_row(canonical: Canonical, tmp_path: Path) -> None:
    frame = canonical(["u i a", "u j b"])
    with pytest.raises(DataError, match="have no timestamp"):
        report_folds(frame, 1, 5)
    frame.select("user_id", "item_id", "domain").write_parquet(tmp_path / "a.parquet")
    made = prepare([tmp_path / "a.parquet"], tmp_path / "set", Options(split="none"))
    with pytest.raises(DataError, match="2 of 2 rows have no timestamp"):
        report_dataset_folds(made, 1, 5)
