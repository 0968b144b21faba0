"""Random and leave-last-out splits of a data set: found on numbers, equal to those of the logs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data.logs import load_logs
from lorarec.data.prepared import pieces as module
from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import PreparedDataset, open_dataset
from lorarec.data.prepared.manifest import Options
from lorarec.data.prepared.pieces import pieces
from lorarec.data.source import DataSource, absolute
from lorarec.data.splits import How, SplitRecord, apply_split, split_logs
from lorarec.data.synthetic import make_logs
from lorarec.errors import DataError

HISTORIES = ("random", "leave-last-out")


def logs_of(users: int = 60, seed: int = 0, rows: int = 1500) -> pl.DataFrame:
    return make_logs(("books", "movies", "games"), users, 50, rows, seed).drop("rating", "split")


def written(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_parquet(path)
    return path


def by_row(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("domain", maintain_order=True)


def counts(record: SplitRecord | None) -> dict[str, int]:
    assert record is not None
    return {name: part.rows for name, part in record.counts.items()}


@pytest.fixture(params=HISTORIES)
def how(request: pytest.FixtureRequest) -> How:
    found: How = request.param
    return found


@pytest.fixture
def dataset(tmp_path: Path, how: How) -> PreparedDataset:
    path = written(logs_of(), tmp_path / "logs.parquet")
    return prepare([path], tmp_path / "set", Options(split=how, seed=5))


def test_the_split_is_that_of_the_logs_in_memory(
    dataset: PreparedDataset, tmp_path: Path, how: How
) -> None:
    split, record = split_logs(load_logs(tmp_path / "logs.parquet"), how, seed=5)
    found = dataset.split
    assert found is not None
    assert found == record
    assert apply_split(dataset.frame(), found).equals(by_row(split))
    games = pl.col("domain") == "games"
    assert apply_split(dataset.frame("games"), found).equals(split.filter(games))


def test_small_pieces_give_the_same_split(
    dataset: PreparedDataset, tmp_path: Path, how: How, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.pieces, "__defaults__", (module.COLUMNS, 40))
    other = prepare([tmp_path / "logs.parquet"], tmp_path / "other", Options(split=how, seed=5))
    assert other.split == dataset.split


@settings(max_examples=15, deadline=None)
@given(most=st.integers(1, 2000))
def test_a_piece_holds_whole_histories_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, most: int
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    path = written(logs_of(rows=500), folder / "logs.parquet")
    dataset = prepare([path], folder / "set", Options(split="none"))
    found = list(pieces(dataset.folder, dataset.manifest.all_files, most=most))
    histories = [set(piece.select("user", "domain").iter_rows()) for piece in found]
    assert sum(map(len, histories)) == len(set.union(*histories))
    whole = dataset.scan().select(module.COLUMNS).collect()
    order = ["domain", "user"]
    assert (
        pl.concat(found)
        .sort(order, maintain_order=True)
        .equals(whole.sort(order, maintain_order=True))
    )


def test_an_appended_day_moves_no_drawn_row(tmp_path: Path) -> None:
    old, new = logs_of(), logs_of(users=90, seed=3, rows=700)
    path = written(old, tmp_path / "old.parquet")
    dataset = prepare([path], tmp_path / "set", Options(split="random"))
    then = dataset.split
    added = append(dataset.folder, [written(new, tmp_path / "new.parquet")]).dataset
    now = added.split
    assert then is not None
    assert now is not None
    assert (now.cut_valid, now.cut_test) == (then.cut_valid, then.cut_test)
    both = load_logs([tmp_path / "old.parquet", tmp_path / "new.parquet"])
    whole = apply_split(both, now)
    assert whole.head(old.height).equals(apply_split(load_logs(path), then))
    assert apply_split(added.frame("books"), now).equals(whole.filter(pl.col("domain") == "books"))
    assert counts(now) == dict(whole["split"].value_counts().iter_rows())


def test_leave_last_out_moves_with_the_last_rows_and_yesterdays_is_kept(tmp_path: Path) -> None:
    path = written(logs_of(), tmp_path / "old.parquet")
    dataset = prepare([path], tmp_path / "set", Options(split="leave-last-out"))
    before = apply_split(dataset.frame(), dataset.split)  # type: ignore[arg-type]
    late = logs_of(seed=3, rows=700).with_columns(pl.col("timestamp") + 10**8)
    added = append(dataset.folder, [written(late, tmp_path / "new.parquet")]).dataset
    both = load_logs([path, tmp_path / "new.parquet"])
    assert counts(added.split) == counts(split_logs(both, "leave-last-out")[1])
    assert counts(added.split) != counts(dataset.split)
    again = open_dataset(dataset.folder, dataset.digest)
    assert again.split == dataset.split
    assert apply_split(again.frame(), again.split).equals(before)  # type: ignore[arg-type]


def test_a_base_on_a_drawn_data_set_may_go_on_with_what_was_appended(tmp_path: Path) -> None:
    path = written(logs_of(), tmp_path / "old.parquet")
    new = written(logs_of(seed=3, rows=300), tmp_path / "new.parquet")
    for how in HISTORIES:
        folder = tmp_path / how
        prepare([path], folder, Options(split=how))  # type: ignore[arg-type]
        frame, source = DataSource(paths=absolute([folder])).read()
        record = source.split
        assert record is not None
        append(folder, [new])
        assert source.read_again(record)[0].equals(apply_split(frame, record))
        if how == "random":
            assert source.read_again(record, [folder])[0].height == 1800
        else:
            with pytest.raises(DataError, match="would become validation or test"):
                source.read_again(record, [folder])
        with pytest.raises(DataError, match="would become validation or test"):
            source.read_again(record, [new])


def test_leave_last_out_warns_of_the_leak(tmp_path: Path) -> None:
    path = written(logs_of().drop("timestamp"), tmp_path / "logs.parquet")
    found = prepare([path], tmp_path / "set", Options(split="leave-last-out")).split
    assert found is not None
    assert found.notes == split_logs(load_logs(path), "leave-last-out")[1].notes
    assert "leaks across users" in found.notes[0]


@pytest.mark.parametrize(("how", "word"), [("random", "too small"), ("leave-last-out", "three")])
def test_logs_that_hold_nothing_to_leave_out_are_refused(
    tmp_path: Path, how: How, word: str
) -> None:
    (tmp_path / "a.csv").write_text("user_id,item_id,domain\nu,i,d\nv,j,d\n")
    with pytest.raises(DataError, match=word):
        prepare([tmp_path / "a.csv"], tmp_path / "set", Options(split=how))
    assert not (tmp_path / "set").exists()
