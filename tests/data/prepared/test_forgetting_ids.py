"""A data set without some ids, as if their rows had never been, under everybody's old numbers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lorarec.config.sections import Data
from lorarec.data.forgotten import Forgotten
from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import PreparedDataset, open_dataset
from lorarec.data.prepared.forgetting import discard, put_in_place, rewritten
from lorarec.data.prepared.manifest import Options
from lorarec.data.source import DataSource
from lorarec.errors import DataError

GONE = Forgotten.of(["u3", "u11"], ["i4"])


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    rows = [(n * 7 % 23, n * 5 % 11, n) for n in range(300)]
    frame = pl.DataFrame(
        {
            "user_id": [f"u{user}" for user, _, _ in rows],
            "item_id": [f"i{item}" for _, item, _ in rows],
            "domain": ["ab"[user % 2] for user, _, _ in rows],
            "timestamp": [second for *_, second in rows],
            "split": [("train", "train", "valid", "test")[n % 4] for n in range(300)],
        }
    )
    paths = [tmp_path / "first.parquet", tmp_path / "second.parquet"]
    frame[:200].write_parquet(paths[0])
    frame[200:].write_parquet(paths[1])
    return paths


def made(logs: list[Path], folder: Path, **asked: object) -> PreparedDataset:
    """Of two generations."""
    prepare([logs[0]], folder, Options.model_validate(asked))
    return append(folder, [logs[1]]).dataset


def forgot(folder: Path, gone: Forgotten = GONE) -> PreparedDataset:
    found = rewritten(folder, gone)
    assert found is not None
    put_in_place(found)
    return open_dataset(folder)


@pytest.mark.parametrize("how", ["time", "column", "random"])
@pytest.mark.parametrize("least", [0, 2])
def test_what_stays_has_its_numbers_and_its_part(
    logs: list[Path], tmp_path: Path, how: str, least: int
) -> None:
    before = made(logs, tmp_path / "set", split=how, seed=3, min_user_rows=least)
    split = before.split
    assert split is not None
    frame = before.split_frame(split)
    after = forgot(tmp_path / "set")
    assert after.users.ids.tolist() == before.users.without(["u3", "u11"]).ids.tolist()
    assert after.items.ids.tolist() == before.items.without(["i4"]).ids.tolist()
    assert after.digest != before.digest
    assert after.split is not None
    left = after.split_frame(after.split)
    wanted = GONE.kept(frame)
    columns = ["user_id", "item_id", "domain", "timestamp"]
    assert left.select(columns).sort(columns).equals(wanted.select(columns).sort(columns))
    if how != "random":  # whose first pair is gone keeps another in train
        assert left.sort(columns).equals(wanted.sort(columns))
    held = {str(name): count for name, count in left["split"].value_counts().iter_rows()}
    assert {name: counts.rows for name, counts in after.split.counts.items()} == held
    assert after.domain_rows() == dict(left["domain"].value_counts().iter_rows())


def test_every_generation_is_there_under_its_old_digest_too(
    logs: list[Path], tmp_path: Path
) -> None:
    first = prepare([logs[0]], tmp_path / "set", Options())
    second = append(tmp_path / "set", [logs[1]]).dataset
    frames = {each.digest: each.frame() for each in (first, second)}
    after = forgot(tmp_path / "set")
    for before in (first, second):
        then = open_dataset(tmp_path / "set", before.digest)
        assert then.frame().equals(GONE.kept(frames[before.digest]))
        assert len(then) < len(before)
    assert after.manifest.generations[0].was == [first.digest]
    again = forgot(tmp_path / "set", Forgotten.of(["u5"]))
    assert again.manifest.generations[0].was == [first.digest, after.manifest.generations[0].digest]
    assert len(open_dataset(tmp_path / "set", first.digest)) < len(first)


def test_a_base_of_then_reads_what_is_left_under_the_digest_that_it_knows(
    logs: list[Path], tmp_path: Path
) -> None:
    made(logs, tmp_path / "set")
    source = DataSource.of([tmp_path / "set"], Data())
    frame, split, recorded = source.read_split(Data(), 0)
    forgot(tmp_path / "set")
    left, now = recorded.read_again(split)
    columns = ["user_id", "item_id", "domain", "timestamp", "split"]
    assert left.select(columns).equals(GONE.kept(frame).select(columns))
    assert now.digest == recorded.digest


def test_an_append_goes_on_and_gives_the_forgotten_a_new_row(
    logs: list[Path], tmp_path: Path
) -> None:
    made(logs, tmp_path / "set", split="random")
    after = forgot(tmp_path / "set")
    known = append(tmp_path / "set", logs)
    assert known.rows == 0, "the logs that were taken are known still"
    more = pl.read_parquet(logs[0]).filter(pl.col("user_id") == "u3").head(2)
    more.write_parquet(tmp_path / "more.parquet")
    grown = append(tmp_path / "set", [tmp_path / "more.parquet"]).dataset
    assert grown.users.rows(["u3"]).tolist() == [len(after.users)]
    assert grown.users.starts_with(after.users)


def test_no_file_names_them_and_none_is_left_over(logs: list[Path], tmp_path: Path) -> None:
    bad = pl.read_parquet(logs[0]).head(3).with_columns(user_id=pl.lit("u3"), domain=pl.lit(None))
    pl.concat([pl.read_parquet(logs[0]), bad.cast({"domain": pl.String})]).write_parquet(logs[0])
    made(logs, tmp_path / "set", on_bad_rows="quarantine", min_item_rows=2)
    assert list((tmp_path / "set" / "quarantine").iterdir())
    after = forgot(tmp_path / "set")
    named = {record.name for g in after.manifest.generations for record in g.files}
    for path in (tmp_path / "set").rglob("*.parquet"):
        frame = pl.read_parquet(path, glob=False)
        for column in frame.select(pl.selectors.string()).iter_columns():
            assert not column.is_in(["u3", "u11", "i4"]).any(), path
        name = path.relative_to(tmp_path / "set").as_posix()
        assert name in named or name.startswith("quarantine/")
    assert rewritten(tmp_path / "set", GONE) is None


def test_what_was_written_beside_can_be_thrown_away(logs: list[Path], tmp_path: Path) -> None:
    before = made(logs, tmp_path / "set")
    files = sorted((tmp_path / "set").rglob("*"))
    found = rewritten(tmp_path / "set", GONE)
    assert found is not None
    discard(found)
    assert sorted((tmp_path / "set").rglob("*")) == files
    assert open_dataset(tmp_path / "set").digest == before.digest


def test_an_item_of_leave_last_out_is_refused_and_a_user_is_not(
    logs: list[Path], tmp_path: Path
) -> None:
    made(logs, tmp_path / "set", split="leave-last-out")
    with pytest.raises(DataError, match="leave-last-out"):
        rewritten(tmp_path / "set", GONE)
    left = forgot(tmp_path / "set", Forgotten.of(["u3"]))
    assert left.users.forgotten == 1


def test_a_data_set_of_them_alone_is_refused(logs: list[Path], tmp_path: Path) -> None:
    before = made(logs, tmp_path / "set", split="none")
    everyone = Forgotten.of(before.users.series.to_list())
    with pytest.raises(DataError, match="no row left"):
        rewritten(tmp_path / "set", everyone)
    assert open_dataset(tmp_path / "set").digest == before.digest
