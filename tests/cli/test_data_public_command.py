from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from file_server import FileServer

from lorarec.data.public.catalogue import SOURCES, find_source

if TYPE_CHECKING:
    from world import Ended

Ran = Callable[..., "Ended"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Amazon's Video_Games on a server of this machine; nobody waits between attempts."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("lorarec.data.public.download.time.sleep", lambda _: None)
    text = "user_id,parent_asin,rating,timestamp\nAG3,B07G,5.0,1454676557999\n"
    with FileServer() as server:
        server.files["5core/Video_Games.csv.gz"] = gzip.compress(text.encode(), mtime=0)
        source = find_source("amazon-2023")
        urls = {"{variant}/{category}.csv.gz": server.url("{variant}/{category}.csv.gz")}
        monkeypatch.setitem(SOURCES, source.name, replace(source, urls=urls))
        yield server


@pytest.fixture
def archive(bare_project: Path) -> Path:
    folder = bare_project / "ml-100k"
    folder.mkdir()
    (folder / "u.data").write_text("1\t10\t3\t881250949\n2\t10\t5\t881250950\n")
    (folder / "u.user").write_text("1|24|M|technician|85711\n2|53|F|other|94043\n")
    return folder


def test_get_writes_logs_and_says_so(bare_project: Path, server: FileServer, ran: Ran) -> None:
    ended = ran("data", "get", "amazon-2023", "--category", "video_games")
    assert ended.code == 0, ended.err
    path = "data/amazon-2023/interactions.parquet"
    assert f"Wrote 1 interactions of 1 users and 1 items in 1 domain to {path}." in ended.out
    assert "Video_Games" in ended.out
    assert ran("data", "check", path).code == 0


def test_licence_and_citation_are_talk(bare_project: Path, server: FileServer, ran: Ran) -> None:
    ended = ran("data", "get", "amazon-2023", "out", "--category", "Video_Games")
    assert "Licence: The source states no licence" in ended.err
    assert "Please cite: Yupeng Hou" in ended.err
    assert "Next: lorarec data check out" in ended.err
    assert "Licence" not in ended.out


def test_get_prints_one_json_document(bare_project: Path, server: FileServer, ran: Ran) -> None:
    ended = ran("data", "get", "amazon-2023", "out", "--category", "Video_Games", "--json")
    found = json.loads(ended.out)
    assert {
        "name", "path", "rows", "users", "items", "domains", "digest", "licence", "citation"
    } <= set(found)  # fmt: skip
    assert found["domains"] == {"Video_Games": 1}
    assert list(found["files"]) == ["5core/Video_Games.csv.gz"]
    assert "Getting http" in ended.err


def test_import_does_the_same_for_files_at_hand(archive: Path, ran: Ran) -> None:
    ended = ran("data", "import", "movielens-100k", archive, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["path"] == "data/movielens-100k/interactions.parquet"
    assert found["domains"] == {"zip8": 1, "zip9": 1}
    assert found["side_tables"] == ["data/movielens-100k/users.parquet"]
    assert "no redistribution" in ended.err


def test_import_takes_the_domain(archive: Path, ran: Ran) -> None:
    ended = ran("data", "import", "movielens-100k", archive, "out", "--domain-by", "none")
    assert "in 1 domain to out/interactions.parquet" in ended.out
    assert "All rows are of one domain, movies." in ended.err


def test_the_list_shows_every_source_and_fits(ran: Ran, bare_project: Path) -> None:
    out = ran("data", "get", "--list").out
    assert all(name in out for name in SOURCES)
    assert "CC BY-SA 4.0" in out
    assert max(len(line) for line in out.splitlines()) <= 100


def test_the_list_is_json_too(ran: Ran, bare_project: Path) -> None:
    found = json.loads(ran("data", "get", "--list", "--json").out)
    assert [source["name"] for source in found] == list(SOURCES)
    assert found[3]["defaults"]["--category"] == ["Electronics"]


def test_an_unknown_name_gets_the_nearest(ran: Ran, bare_project: Path) -> None:
    for ended in (ran("data", "get", "movielens"), ran("data", "import", "movielens", ".")):
        assert ended.code == 2
        assert "Did you mean 'movielens-1m'" in ended.err
        assert ended.out == ""


def test_no_name_is_a_question(ran: Ran, bare_project: Path) -> None:
    ended = ran("data", "get")
    assert ended.code == 2
    assert "lorarec data get --list" in ended.err


def test_a_server_that_fails_says_what_to_do(
    bare_project: Path, server: FileServer, ran: Ran
) -> None:
    server.faults["5core/Video_Games.csv.gz"] = [500] * 9
    ended = ran("data", "get", "amazon-2023", "out", "--category", "Video_Games")
    assert ended.code == 2
    assert "Trying again" in ended.err
    assert "lorarec data import amazon-2023 PATH" in ended.err
    assert not (bare_project / "out" / "interactions.parquet").exists()


def test_a_record_of_progress_is_left_in_a_log(
    bare_project: Path, server: FileServer, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorarec.cli.output.SECONDS_BETWEEN_LINES", 0.0)
    ended = ran("data", "get", "amazon-2023", "out", "--category", "Video_Games")
    assert "5core/Video_Games.csv.gz (MB): 100%, 0 s left" in ended.err


@pytest.mark.parametrize("command", ["get", "import"])
def test_help_has_an_example(ran: Ran, bare_project: Path, command: str) -> None:
    assert f"lorarec data {command} " in ran("data", command, "-h").out.split("Example:")[1]
