from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from lorarec.data.source import DataSource, absolute
from lorarec.data.splits import How, SplitRecord, split_logs
from lorarec.errors import DataError

ROWS = "user_id,item_id,domain,timestamp,rating\n" + "".join(
    f"u{n % 5},i{n % 7},books,{n + 1},{n % 5 + 1}\n" for n in range(40)
)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    path = tmp_path / "logs.csv"
    path.write_text(ROWS)
    return path


@pytest.fixture
def read(logs: Path) -> tuple[pl.DataFrame, DataSource]:
    return DataSource(paths=absolute([logs])).read()


def split_of(frame: pl.DataFrame) -> tuple[pl.DataFrame, SplitRecord]:
    return split_logs(frame, "time")


def test_reading_fills_in_digest_and_rows(read: tuple[pl.DataFrame, DataSource]) -> None:
    frame, source = read
    assert source.rows == frame.height == 40
    assert len(source.digest) == 64
    assert source.dropped == 0


def test_reading_twice_gives_the_same_source(
    logs: Path, read: tuple[pl.DataFrame, DataSource]
) -> None:
    assert DataSource(paths=absolute([logs])).read()[1] == read[1]


def test_a_source_survives_json(read: tuple[pl.DataFrame, DataSource]) -> None:
    assert DataSource.model_validate_json(read[1].model_dump_json()) == read[1]


def test_reading_again_gives_the_same_split_rows(read: tuple[pl.DataFrame, DataSource]) -> None:
    frame, source = read
    split, record = split_of(frame)
    again, found = source.read_again(record)
    assert again.equals(split)
    assert found == source


def test_logs_that_have_changed_are_refused_with_both_digests(
    logs: Path, read: tuple[pl.DataFrame, DataSource]
) -> None:
    frame, source = read
    logs.write_text(ROWS + "u9,i1,books,99,5\n")
    changed = DataSource(paths=absolute([logs])).read()[1]
    with pytest.raises(DataError, match="have changed") as refused:
        source.read_again(split_of(frame)[1])
    assert source.digest[:12] in str(refused.value)
    assert changed.digest[:12] in str(refused.value)
    assert "41 rows" in str(refused.value)
    assert refused.value.exit_code == 2


def test_the_order_of_rows_is_part_of_the_digest(
    logs: Path, read: tuple[pl.DataFrame, DataSource]
) -> None:
    header, *rows = ROWS.splitlines(keepends=True)
    logs.write_text(header + "".join(reversed(rows)))
    assert DataSource(paths=absolute([logs])).read()[1].digest != read[1].digest


def test_logs_that_are_gone_are_refused_by_name(
    logs: Path, read: tuple[pl.DataFrame, DataSource]
) -> None:
    logs.unlink()
    with pytest.raises(DataError, match=r"logs\.csv"):
        read[1].read_again(split_of(read[0])[1])


def test_other_paths_are_read_by_choice(
    tmp_path: Path, read: tuple[pl.DataFrame, DataSource]
) -> None:
    frame, source = read
    other = tmp_path / "other.csv"
    other.write_text(ROWS + "u9,i1,books,99,5\n")
    again, found = source.read_again(split_of(frame)[1], [other])
    assert again.height == 41
    assert found.paths == [str(other)]
    assert found.digest != source.digest


def test_other_paths_are_cut_where_the_record_says(
    tmp_path: Path, read: tuple[pl.DataFrame, DataSource]
) -> None:
    frame, source = read
    record = split_of(frame)[1]
    other = tmp_path / "other.csv"
    other.write_text("user_id,item_id,domain,timestamp\nu1,i1,books,1\nu1,i2,books,1000000\n")
    again, _ = source.read_again(record, [other])
    assert again["split"].to_list() == ["train", "test"]


COLUMN = "user_id,item_id,domain,timestamp,rating,split\n" + "".join(
    f"u{n % 5},i{n % 7},books,{n + 1},{n % 5 + 1},{'test' if n % 4 == 0 else 'train'}\n"
    for n in range(40)
)
"""A column `split` without `valid`, which is then drawn from train."""


@pytest.mark.parametrize(
    ("how", "rows"), [("random", ROWS), ("leave-last-out", ROWS), ("column", COLUMN)]
)
def test_a_split_that_follows_the_rows_is_refused_on_other_logs(
    tmp_path: Path, logs: Path, how: How, rows: str
) -> None:
    logs.write_text(rows)
    frame, source = DataSource(paths=absolute([logs])).read()
    split, record = split_logs(frame, how)
    assert record.follows_the_rows
    other = tmp_path / "other.csv"
    other.write_text("".join(rows.splitlines(keepends=True)[:-3]))
    with pytest.raises(DataError, match="would become validation or test") as refused:
        source.read_again(record, [other])
    assert source.digest[:12] in str(refused.value)
    assert f"lorarec pretrain --data {other}" in str(refused.value)
    other.write_text(rows)
    assert source.read_again(record, [other])[0].equals(split)


def test_to_serve_a_drawn_split_may_fall_as_it_likes(
    tmp_path: Path, read: tuple[pl.DataFrame, DataSource]
) -> None:
    frame, source = read
    record = split_logs(frame, "random")[1]
    other = tmp_path / "other.csv"
    other.write_text(ROWS + "u9,i1,books,99,5\n")
    assert source.read_again(record, [other], learns=False)[0].height == 41


def test_changed_logs_are_not_offered_where_they_would_be_refused(
    logs: Path, read: tuple[pl.DataFrame, DataSource]
) -> None:
    frame, source = read
    logs.write_text(ROWS + "u9,i1,books,99,5\n")
    record = split_logs(frame, "random")[1]
    with pytest.raises(DataError, match="have changed") as refused:
        source.read_again(record)
    assert "--data" not in str(refused.value)
    with pytest.raises(DataError, match="--data"):
        source.read_again(record, learns=False)


def test_a_given_column_tells_each_row_by_itself(tmp_path: Path, logs: Path) -> None:
    rows = COLUMN.replace(",train\n", ",valid\n", 1)
    logs.write_text(rows)
    frame, source = DataSource(paths=absolute([logs])).read()
    record = split_logs(frame, "column")[1]
    assert not record.follows_the_rows
    other = tmp_path / "other.csv"
    other.write_text(rows + "u9,i1,books,99,5,test\n")
    assert source.read_again(record, [other])[0].height == 41


def test_a_recorded_rating_limit_is_used_again(logs: Path) -> None:
    frame, source = DataSource(paths=absolute([logs]), min_rating=4.0).read()
    assert (frame.height, source.rows, source.dropped) == (16, 16, 24)
    again, _ = source.read_again(split_of(frame)[1])
    assert again.height == 16


def test_recorded_rating_weights_are_used(logs: Path) -> None:
    frame, source = DataSource(paths=absolute([logs]), rating_weight=True).read()
    assert frame["weight"].to_list() == frame["rating"].to_list()
    assert source.rating_weight


def test_recorded_column_names_are_used(logs: Path) -> None:
    logs.write_text(ROWS.replace("user_id", "customer", 1))
    frame, source = DataSource(paths=absolute([logs]), columns={"user_id": "customer"}).read()
    assert frame["user_id"][0] == "u0"
    assert source.read_again(split_of(frame)[1])[0].height == 40


def test_a_relative_path_holds_in_another_folder(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(logs.parent)
    source = DataSource(paths=absolute([Path("logs.csv")]))
    monkeypatch.chdir("/")
    assert source.read()[1].rows == 40


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="pathes"):
        DataSource.model_validate({"paths": [], "pathes": []})
