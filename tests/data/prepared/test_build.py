"""Preparing and appending: the rows of the logs, in one piece or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data import batches
from lorarec.data.contract import ContractError
from lorarec.data.logs import load_logs
from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import PreparedDataset, open_dataset
from lorarec.data.prepared.manifest import NAME, Options
from lorarec.data.splits import apply_split, split_logs
from lorarec.data.synthetic import make_logs
from lorarec.errors import ArtifactError, DataError, PassingError, StoreError
from lorarec.record import sealed

DAY = 86_400


def logs_of(users: int = 60, seed: int = 0, rows: int = 1500) -> pl.DataFrame:
    return make_logs(("books", "movies", "games"), users, 50, rows, seed).drop("rating", "split")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    path = tmp_path / "logs.parquet"
    logs_of().write_parquet(path)
    return path


@pytest.fixture
def dataset(logs: Path, tmp_path: Path) -> PreparedDataset:
    return prepare([logs], tmp_path / "set", Options())


def same_rows(a: pl.DataFrame, b: pl.DataFrame) -> bool:
    columns = ["user_id", "item_id", "domain", "timestamp", "weight"]
    return a.select(columns).sort(columns).equals(b.select(columns).sort(columns))


def test_the_rows_are_those_of_the_logs(dataset: PreparedDataset, logs: Path) -> None:
    assert same_rows(dataset.frame(), load_logs(logs))
    assert len(dataset) == 1500


def test_a_domain_is_read_alone_in_the_order_of_the_logs(
    dataset: PreparedDataset, logs: Path
) -> None:
    books = load_logs(logs).filter(pl.col("domain") == "books")
    assert dataset.frame("books").equals(books)


def test_the_split_is_that_of_the_logs_in_memory(dataset: PreparedDataset, logs: Path) -> None:
    split, record = split_logs(load_logs(logs), "time")
    assert dataset.split is not None
    assert (dataset.split.t_valid, dataset.split.t_test) == (record.t_valid, record.t_test)
    assert dataset.split.counts == record.counts
    ours = apply_split(dataset.frame("games"), dataset.split)
    assert ours.equals(split.filter(pl.col("domain") == "games"))


def test_many_batches_make_the_same_data_set_but_for_its_files(
    logs: Path, dataset: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches.raw_batches, "__defaults__", (False, 100))
    other = prepare([logs], tmp_path / "other", Options())
    assert len(other.manifest.files("rows")) > 10
    assert other.users == dataset.users
    assert same_rows(other.frame(), dataset.frame())
    assert other.split == dataset.split


def test_the_digest_depends_on_the_logs_and_not_on_the_folder(logs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "copy.parquet"
    moved.parent.mkdir()
    shutil.copy(logs, moved)
    first = prepare([logs], tmp_path / "a", Options()).digest
    assert prepare([moved], tmp_path / "b", Options()).digest == first
    assert open_dataset(tmp_path / "a").digest == first
    logs_of(seed=1).write_parquet(logs)
    assert prepare([logs], tmp_path / "c", Options()).digest != first


def test_an_appended_day_moves_no_old_row(dataset: PreparedDataset, tmp_path: Path) -> None:
    day = tmp_path / "day.parquet"
    logs_of(users=90, seed=3, rows=300).write_parquet(day)
    added = append(dataset.folder, [day])
    assert added.rows == 300
    now = added.dataset
    assert now.users.starts_with(dataset.users)
    assert now.items.starts_with(dataset.items)
    assert same_rows(now.frame(), pl.concat([dataset.frame(), load_logs(day)]))
    assert now.split is not None
    assert dataset.split is not None
    assert now.split.t_test == dataset.split.t_test


def test_the_data_set_of_yesterday_can_still_be_read(
    dataset: PreparedDataset, tmp_path: Path
) -> None:
    before = dataset.frame()
    day = tmp_path / "day.parquet"
    logs_of(seed=4, rows=300).write_parquet(day)
    append(dataset.folder, [day])
    then = open_dataset(dataset.folder, dataset.digest)
    assert then.frame().equals(before)
    assert then.split == dataset.split
    with pytest.raises(DataError, match="never had the digest 0123"):
        open_dataset(dataset.folder, "0123")


def test_the_same_file_is_not_taken_twice(dataset: PreparedDataset, logs: Path) -> None:
    copy = logs.with_name("copy.parquet")
    shutil.copy(logs, copy)
    added = append(dataset.folder, [copy])
    assert added.known == (str(copy),)
    assert (added.rows, added.dataset.digest) == (0, dataset.digest)


@pytest.mark.parametrize("given", [["logs.parquet"], []], ids=["known logs", "no logs"])
def test_cut_offs_move_when_told(dataset: PreparedDataset, given: list[str]) -> None:
    split = dataset.split
    assert split is not None
    assert split.t_valid is not None
    known = [dataset.folder.parent / name for name in given]
    moved = append(dataset.folder, known, cutoffs=(split.t_valid - DAY, split.t_valid))
    found = moved.dataset.split
    assert found is not None
    assert (found.t_valid, found.t_test) == (split.t_valid - DAY, split.t_valid)
    assert found.counts["test"].rows > split.counts["test"].rows
    assert moved.rows == 0


def test_cut_offs_by_the_shares_are_those_of_all_rows(
    dataset: PreparedDataset, tmp_path: Path
) -> None:
    late = logs_of(seed=5, rows=600).with_columns(pl.col("timestamp") + 300 * DAY)
    late.write_parquet(tmp_path / "late.parquet")
    found = append(dataset.folder, [tmp_path / "late.parquet"], move_cutoff=True).dataset
    record = split_logs(found.frame(), "time")[1]
    assert found.split is not None
    assert (found.split.t_valid, found.split.t_test) == (record.t_valid, record.t_test)


def test_cut_offs_outside_the_rows_are_refused(dataset: PreparedDataset, logs: Path) -> None:
    with pytest.raises(DataError, match="leave a part empty"):
        append(dataset.folder, [logs], cutoffs=(1, 2))
    assert open_dataset(dataset.folder).digest == dataset.digest


def test_bad_rows_are_set_aside_with_the_reason_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "user_id,item_id,domain,timestamp\nu,i,d,1\n,i,d,2\nv,i,d,x\nv,i,d,3\nu,j,d,4\n"
    )
    found = prepare([path], tmp_path / "set", Options(on_bad_rows="quarantine"))
    (file,) = (tmp_path / "set" / "quarantine").iterdir()
    aside = pl.read_parquet(file)
    assert aside["reason"].to_list() == ["null or empty user_id", "unreadable timestamp"]
    assert found.last.dropped_bad == 2
    assert found.last.broken == {"null or empty user_id": 1, "unreadable timestamp": 1}
    assert len(found) == 3


def test_logs_that_break_the_contract_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,domain,weight\nu,i,d,1\nu,j,d,-1\n")
    with pytest.raises(ContractError, match="negative weight"):
        prepare([path], tmp_path / "set", Options(split="none"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_an_append_that_fails_leaves_the_data_set_as_it_was(
    dataset: PreparedDataset, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.parquet"
    logs_of(seed=6).with_columns(weight=pl.lit(-1.0)).write_parquet(bad)
    with pytest.raises(ContractError):
        append(dataset.folder, [bad])
    assert open_dataset(dataset.folder).digest == dataset.digest
    good = tmp_path / "good.parquet"
    logs_of(seed=7, rows=200).write_parquet(good)
    assert append(dataset.folder, [good]).rows == 200
    named = {
        f.name for t in ("rows", "users") for f in open_dataset(dataset.folder).manifest.files(t)
    }
    there = {f"rows/{p.name}" for p in (dataset.folder / "rows").iterdir()}
    assert there <= named


@pytest.mark.parametrize("table", ["rows", "users", "domains"])
@pytest.mark.parametrize("damage", ["truncated", "edited", "gone"])
def test_a_damaged_file_is_named(dataset: PreparedDataset, table: str, damage: str) -> None:
    (path,) = (dataset.folder / table).iterdir()
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        edited = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(content[:-7] if damage == "truncated" else edited)
    with pytest.raises(ArtifactError, match=str(path)):
        open_dataset(dataset.folder)


def test_an_edited_manifest_is_refused(dataset: PreparedDataset) -> None:
    path = dataset.folder / NAME
    manifest = json.loads(path.read_text())
    manifest["generations"][0]["split"]["t_test"] += 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="It was edited since it was written"):
        open_dataset(dataset.folder)
    path.write_text(json.dumps(sealed(manifest)))
    with pytest.raises(ArtifactError, match="generation 0 does not have the digest"):
        open_dataset(dataset.folder)


def test_a_second_append_at_the_same_time_is_refused(dataset: PreparedDataset, logs: Path) -> None:
    with open(dataset.folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(PassingError, match="Another process is appending"):
            append(dataset.folder, [logs])


def test_a_folder_that_is_none_is_told_how_to_become_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lorarec data prepare"):
        open_dataset(tmp_path)


def test_a_place_that_is_taken_is_refused(dataset: PreparedDataset, logs: Path) -> None:
    with pytest.raises(StoreError, match="not empty"):
        prepare([logs], dataset.folder, Options())


def test_a_column_split_needs_a_value_in_every_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,domain,split\nu,i,d,train\nu,j,d,\n")
    with pytest.raises(DataError, match="1 of 2 rows have no split"):
        prepare([path], tmp_path / "set", Options(split="column"))


def test_a_column_split_keeps_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,domain,split\nu,i,d,train\nu,j,d,test\nv,i,d,extra\n")
    found = prepare([path], tmp_path / "set", Options(split="column")).split
    assert found is not None
    assert {name: c.rows for name, c in found.counts.items()} == {"train": 1, "test": 1, "extra": 1}
    assert found.counts["test"].cold_items == 1


KILLED = """
import sys, os, signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from lorarec.data.prepared import build, writing
moment, folder, logs = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
calls = 0
def dying(function):
    def wrapper(*arguments, **options):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return wrapper
writing.write_shard = dying(writing.write_shard)
build.counted = dying(build.counted)
build.write_manifest = dying(build.write_manifest)
build.append(folder, [logs])
"""


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_an_append_killed_at_any_moment_changes_nothing(
    dataset: PreparedDataset, tmp_path: Path, moment: int
) -> None:
    day = tmp_path / "day.parquet"
    logs_of(users=90, seed=8, rows=300).write_parquet(day)
    arguments = [str(moment), str(dataset.folder), str(day)]
    ended = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    assert open_dataset(dataset.folder).digest == dataset.digest
    assert append(dataset.folder, [day]).rows == 300


_id = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
    st.integers(2**63 - 3, 2**63 - 1).map(str),
    st.just("x" * 5000),
).filter(lambda text: text.strip() != "")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(_id, _id, st.integers(0, 10**9)), min_size=3, max_size=20))
def test_any_ids_come_back_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    frame = frame.with_columns(domain=pl.lit("d"))
    frame.write_parquet(folder / "a.parquet")
    found = prepare([folder / "a.parquet"], folder / "set", Options(split="none")).frame()
    assert found.select("user_id", "item_id", "timestamp").rows() == rows


def test_numbers_as_ids_stay_distinct_near_the_end_of_their_type(tmp_path: Path) -> None:
    ids = np.array([2**63 - 1, 2**63 - 2, 0], dtype=np.int64)
    frame = pl.DataFrame({"user_id": ids, "item_id": ids[::-1].copy(), "domain": ["d"] * 3})
    frame.write_parquet(tmp_path / "a.parquet")
    found = prepare([tmp_path / "a.parquet"], tmp_path / "set", Options(split="none"))
    assert found.users.series.to_list() == [str(n) for n in ids]


def test_rows_without_a_timestamp_have_no_place_in_a_split_by_time(
    dataset: PreparedDataset, tmp_path: Path
) -> None:
    logs_of(seed=9).drop("timestamp").write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="have no timestamp"):
        append(dataset.folder, [tmp_path / "a.parquet"])
    assert open_dataset(dataset.folder).digest == dataset.digest
    assert len(list((dataset.folder / "rows").iterdir())) == 1


def test_a_full_disk_leaves_the_data_set_as_it_was(
    dataset: PreparedDataset,
    tmp_path: Path,
    room_for: Callable[[int], AbstractContextManager[None]],
) -> None:
    logs_of(seed=10, rows=1400).write_parquet(tmp_path / "a.parquet")
    with room_for(3000), pytest.raises(StoreError):
        append(dataset.folder, [tmp_path / "a.parquet"])
    assert open_dataset(dataset.folder).digest == dataset.digest
    assert len(list((dataset.folder / "rows").iterdir())) == 1


def test_an_append_that_fails_leaves_no_rows_set_aside(tmp_path: Path) -> None:
    def part(name: str, lines: str) -> Path:
        path = tmp_path / name
        path.write_text(f"user_id,item_id,domain,timestamp\n{lines}")
        return path

    first = part("a.csv", "u,i,d,1\nv,i,d,2\nw,i,d,3\n,i,d,4\n")
    made = prepare([first], tmp_path / "set", Options(on_bad_rows="quarantine"))
    broken = tmp_path / "b.parquet"
    broken.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="could not be read"):
        append(made.folder, [part("c.csv", ",i,d,5\nu,j,d,6\n"), broken])
    assert [p.name for p in (made.folder / "quarantine").iterdir()] == ["000000-00000.parquet"]


def test_what_is_not_of_its_making_is_left_in_the_quarantine(
    dataset: PreparedDataset, tmp_path: Path
) -> None:
    aside = dataset.folder / "quarantine"
    aside.mkdir()
    for name in ("mine.parquet", "000009-00000.parquet"):
        (aside / name).touch()
    (dataset.folder / f".{NAME}.0123abcd.tmp").touch()  # of a kill while it was written
    logs_of(seed=11, rows=200).write_parquet(tmp_path / "a.parquet")
    assert append(dataset.folder, [tmp_path / "a.parquet"]).rows == 200
    assert [p.name for p in aside.iterdir()] == ["mine.parquet"]
    assert list(dataset.folder.glob(f".{NAME}.*")) == []


def test_old_rows_are_checked_before_new_ones_are_compared_with_them(
    logs: Path, tmp_path: Path
) -> None:
    once = load_logs(logs).unique(["user_id", "item_id", "domain"], maintain_order=True)
    once.select("user_id", "item_id", "domain", "timestamp").write_parquet(logs)
    made = prepare([logs], tmp_path / "set", Options(duplicates="refuse"))
    (shard,) = (made.folder / "rows").iterdir()
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    new = pl.DataFrame({"user_id": ["u"], "item_id": ["i"], "domain": ["new"], "timestamp": [5]})
    new.write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ArtifactError, match=str(shard)):
        append(made.folder, [tmp_path / "b.parquet"])
