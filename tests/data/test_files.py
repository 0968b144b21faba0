from __future__ import annotations

import os
from pathlib import Path

import pytest

from lorarec.data.files import find_files
from lorarec.data.logs import load_logs
from lorarec.errors import DataError

HEAD = "user_id,item_id,domain\n"


def write(path: Path, text: str = HEAD + "u,i,d\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(*paths: Path | str) -> list[str]:
    return [file.path.name for file in find_files([Path(p) for p in paths])]


def test_a_pattern_stands_for_what_it_matches_by_name(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        write(tmp_path / name)
    assert names(tmp_path / "*") == ["a.csv", "b.csv"]
    assert names(tmp_path / "[a].csv") == ["a.csv"]


def test_two_stars_go_to_any_depth(tmp_path: Path) -> None:
    write(tmp_path / "2026" / "01" / "a.csv")
    assert names(tmp_path / "**" / "*.csv") == ["a.csv"]


def test_a_pattern_without_a_match_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"matches no log file \(it matches a\.txt\)"):
        find_files(tmp_path / "*.txt")


def test_hive_folders_give_their_column(tmp_path: Path) -> None:
    for domain in ("books", "movies"):
        write(tmp_path / f"domain={domain}" / "date=2026-01-01" / "a.csv", "user_id,item_id\nu,i\n")
    logs = load_logs([tmp_path])
    assert logs["domain"].to_list() == ["books", "movies"]


def test_a_hive_value_is_unescaped(tmp_path: Path) -> None:
    write(tmp_path / "domain=de%2FAT" / "a.csv", "user_id,item_id\nu,i\n")
    assert load_logs([tmp_path])["domain"].to_list() == ["de/AT"]


def test_the_files_own_column_goes_before_its_folders(tmp_path: Path) -> None:
    write(tmp_path / "domain=books" / "a.csv", HEAD + "u,i,own\n")
    assert load_logs([tmp_path])["domain"].to_list() == ["own"]


def test_a_hive_folder_can_give_the_time(tmp_path: Path) -> None:
    write(tmp_path / "date=1970-01-02" / "a.csv")
    assert load_logs([tmp_path], {"timestamp": "date"})["timestamp"].to_list() == [86_400]


@pytest.mark.parametrize("value", ["__HIVE_DEFAULT_PARTITION__", " "])
def test_a_hive_folder_without_a_value_breaks_the_contract(tmp_path: Path, value: str) -> None:
    write(tmp_path / f"domain={value}" / "a.csv", "user_id,item_id\nu,i\n")
    with pytest.raises(DataError, match="null or empty domain in 1 row"):
        load_logs([tmp_path])


def test_a_hive_date_that_is_none_breaks_the_contract(tmp_path: Path) -> None:
    write(tmp_path / "date=someday" / "a.csv")
    with pytest.raises(DataError, match=r"unreadable timestamp in 1 row.*someday"):
        load_logs([tmp_path], {"timestamp": "date"})


def test_markers_beside_the_logs_are_no_logs(tmp_path: Path) -> None:
    for name in ("_SUCCESS.csv", ".a.csv.crc", "a.csv"):
        write(tmp_path / name)
    assert names(tmp_path) == ["a.csv"]


def test_the_same_table_in_two_formats_is_refused(tmp_path: Path) -> None:
    for name in ("interactions.csv", "interactions.tsv"):
        write(tmp_path / name)
    with pytest.raises(DataError, match=r"interactions\.csv and interactions\.tsv"):
        find_files(tmp_path)


@pytest.mark.parametrize("place", [".", "day=1", "*.csv", "b.csv"])
def test_a_link_to_nothing_and_a_pipe_are_refused_by_name(tmp_path: Path, place: str) -> None:
    (tmp_path / "day=1").mkdir()
    folder = tmp_path / "day=1" if place == "day=1" else tmp_path
    asked = tmp_path if place == "day=1" else tmp_path / place
    if place != "day=1":
        (folder / "a.csv").touch()
    (folder / "b.csv").symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match=r"b\.csv (is a link to nothing|does not exist)"):
        find_files([asked])
    (folder / "b.csv").unlink()
    os.mkfifo(folder / "b.csv")
    with pytest.raises(DataError, match=r"b\.csv is no regular file"):
        find_files([asked])
