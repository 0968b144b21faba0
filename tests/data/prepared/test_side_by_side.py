"""Files that workers read: data set and errors are those of one process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.data import batches
from lorarec.data.prepared import writing
from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import PreparedDataset
from lorarec.data.prepared.manifest import Options
from lorarec.data.synthetic import make_logs
from lorarec.errors import LorarecError, StoreError
from lorarec.fanout.job import Engine
from lorarec.fanout.serial import SerialEngine
from lorarec.fanout.spawn import SpawnEngine

BAD = "user_id,item_id,domain,timestamp\nu1,i1,books,5\n,i2,books,6\nu2,,games,7\nu3,i1,games,x\n"


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    """Four files of several kinds and sizes that share users, items and domains."""
    frame = make_logs(("books", "movies", "games"), 60, 50, 1500, 0).drop("rating", "split")
    folder = tmp_path / "logs"
    folder.mkdir()
    frame[:700].write_parquet(folder / "a.parquet")
    frame[700:710].write_csv(folder / "b.csv")
    frame[710:1400].write_csv(folder / "c.csv.gz", compression="gzip")
    frame[1400:].write_ndjson(folder / "d.ndjson")
    return sorted(folder.iterdir())


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a file has several; in this process alone."""
    monkeypatch.setattr(batches.raw_batches, "__defaults__", (False, 97))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a data set but the manifest, whose digest says it again."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def both(
    paths: Sequence[Path], folder: Path, options: Options, engine: Engine
) -> tuple[PreparedDataset, PreparedDataset]:
    """The data set of one process, and of an engine."""
    return (
        prepare(paths, folder / "one", options),
        prepare(paths, folder / "other", options, engine=engine),
    )


def told(paths: Sequence[Path], out: Path, options: Options, engine: Engine | None) -> str:
    """Why logs are refused; nothing is left of the data set then."""
    with pytest.raises(LorarecError) as caught:
        prepare(paths, out, options, engine=engine)
    assert not out.exists()
    assert not list(out.parent.glob(f".{out.name}.*"))
    return f"{type(caught.value).__name__}: {caught.value}"


def test_two_workers_make_the_same_data_set_to_the_byte(logs: list[Path], tmp_path: Path) -> None:
    one, other = both(logs, tmp_path, Options(), SpawnEngine(2))
    assert other.digest == one.digest
    assert contents(tmp_path / "other") == contents(tmp_path / "one")
    assert other.frame().equals(one.frame())


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("on_bad_rows", ["quarantine", "drop"])
def test_batches_and_bad_rows_are_those_of_one_process(
    logs: list[Path], tmp_path: Path, on_bad_rows: str
) -> None:
    for name in ("a2.csv", "zz.csv"):  # one between the others, one behind
        (logs[0].parent / name).write_text(BAD)
    options = Options.model_validate({"on_bad_rows": on_bad_rows, "split": "none"})
    one, other = both([logs[0].parent], tmp_path, options, SerialEngine())
    assert other.digest == one.digest
    found = contents(tmp_path / "one")
    assert contents(tmp_path / "other") == found
    assert sum(name.startswith("quarantine/") for name in found) == 2 * (on_bad_rows != "drop")
    assert len([name for name in found if name.startswith("rows/")]) > 10


def test_what_is_appended_later_goes_on_from_either(logs: list[Path], tmp_path: Path) -> None:
    both(logs[:2], tmp_path, Options(), SerialEngine())
    added = [append(tmp_path / name, logs[2:]).dataset.digest for name in ("one", "other")]
    assert added[0] == added[1]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (BAD, {}),
        ("user_id,item\nu,i\n", {}),
        ("user_id,item\nu,i\n", {"on_bad_rows": "drop"}),
        ("", {}),
        ("user_id,item_id,domain,rating\nu,i,d,3\n", {"min_rating": 9.0}),
    ],
    ids=["bad rows", "no column", "no column, dropped", "empty", "all rated low"],
)
def test_what_is_refused_is_refused_in_the_same_words(
    tmp_path: Path, text: str, options: dict[str, object]
) -> None:
    files = [tmp_path / "x.csv", tmp_path / "y.csv"]
    files[0].write_text("user_id,item_id,domain,rating\nu,i,d,2\n")
    files[1].write_text(text)
    asked = Options.model_validate({"split": "none", **options})
    words = [told(files, tmp_path / "set", asked, engine) for engine in (None, SerialEngine())]
    assert words[0] == words[1]


def test_where_writing_fails_workers_end_and_nothing_is_left(
    logs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(writing, "write_shard", full)
    assert "disk is full" in told(logs, tmp_path / "set", Options(), SpawnEngine(2))
    assert multiprocessing.active_children() == []


def test_files_of_which_no_row_is_left_are_none_among_others(tmp_path: Path) -> None:
    for name, rating in (("x", 2), ("y", 5)):
        (tmp_path / f"{name}.csv").write_text(f"user_id,item_id,domain,rating\nu,i,d,{rating}\n")
    files = [tmp_path / "x.csv", tmp_path / "y.csv"]
    options = Options(min_rating=4.0, split="none")
    one, other = both(files, tmp_path, options, SerialEngine())
    assert (one.digest, len(one)) == (other.digest, 1)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(*[st.sampled_from("abcd")] * 3), min_size=1, max_size=8),
        min_size=1,
        max_size=4,
    )
)
def test_any_files_give_the_digest_of_one_process(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[tuple[str, ...]]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for number, rows in enumerate(files):
        columns = ["user_id", "item_id", "domain"]
        pl.DataFrame(rows, schema=columns, orient="row").write_csv(folder / f"{number}.csv")
    paths = sorted(folder.glob("*.csv"))
    one, other = both(paths, folder, Options(split="none"), SerialEngine())
    assert other.digest == one.digest
