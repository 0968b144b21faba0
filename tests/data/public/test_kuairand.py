from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from lorarec.data.public.get import import_data
from lorarec.errors import DataError

Imported = Callable[..., pl.DataFrame]
Write = Callable[..., Path]
HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab\n"
)


def row(user: int, video: int, click: int, hate: int = 0, tab: int = 1) -> str:
    return f"{user},{video},20220421,400,1650485801301,{click},0,0,0,0,{hate},1,9,9,0,0,0,0,{tab}\n"


@pytest.fixture
def pure(write: Write) -> Path:
    rows = row(0, 10, 1) + row(0, 11, 0) + row(1, 12, 1, hate=1) + row(1, 10, 1, tab=14)
    write("KuaiRand-Pure/data/log_standard_4_08_to_4_21_pure.csv", HEADER + rows)
    write("KuaiRand-Pure/data/log_standard_4_22_to_5_08_pure.csv", HEADER + row(2, 13, 1, tab=0))
    write("KuaiRand-Pure/data/log_random_4_22_to_5_08_pure.csv", HEADER + row(2, 99, 1))
    write(
        "KuaiRand-Pure/data/user_features_pure.csv",
        "user_id,user_active_degree,follow_user_num\n0,full_active,5\n9,UNKNOWN,0\n",
    )
    return write(
        "KuaiRand-Pure/data/video_features_basic_pure.csv",
        'video_id,author_id,tag\n10,441,"12,65"\n99,1,8\n',
    )


def test_clicks_that_were_not_hated_are_kept(pure: Path, imported: Imported) -> None:
    logs = imported("kuairand", pure)
    assert logs.select("user_id", "item_id", "domain", "timestamp").rows() == [
        ("0", "10", "tab_1", 1650485801),
        ("1", "10", "tab_14", 1650485801),
        ("2", "13", "tab_0", 1650485801),
    ]


def test_what_was_left_out_is_told(pure: Path, tmp_path: Path) -> None:
    assert "3 of 5 rows are kept" in import_data("kuairand", pure, tmp_path / "out").notes[0]


def test_features_are_of_those_who_occur(pure: Path, tmp_path: Path) -> None:
    import_data("kuairand", pure, tmp_path / "out")
    users = pl.read_parquet(tmp_path / "out" / "users.parquet")
    assert users.rows() == [("0", "full_active", 5)]
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items.columns[0] == "item_id"
    assert items.rows() == [("10", 441, "12,65")]


def test_logs_alone_will_do(pure: Path, tmp_path: Path) -> None:
    log = pure / "KuaiRand-Pure" / "data" / "log_standard_4_22_to_5_08_pure.csv"
    made = import_data("kuairand", log, tmp_path / "out")
    assert made.rows == 1
    assert made.side_tables == ()


def test_a_log_without_clicks_holds_nothing(write: Write, imported: Imported) -> None:
    folder = write("log_standard_4_08_to_4_21_1k.csv", HEADER + row(0, 1, 0))
    with pytest.raises(DataError, match="hold no interaction"):
        imported("kuairand", folder)


def test_another_form_is_told(write: Write, imported: Imported) -> None:
    folder = write("log_standard_4_08_to_4_21_1k.csv", "user_id,video_id\n1,2\n")
    with pytest.raises(DataError, match="no column 'time_ms'"):
        imported("kuairand", folder)
