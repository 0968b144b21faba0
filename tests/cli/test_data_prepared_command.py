from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from world import Ended, World

Ran = Callable[..., Ended]


@pytest.fixture
def logs(ran: Ran, bare_project: Path) -> Path:
    assert ran("data", "synth", "a.csv", "--interactions", 900, "--users", 60).code == 0
    return bare_project / "a.csv"


def test_prepare_says_what_is_in_it(ran: Ran, logs: Path) -> None:
    ended = ran("data", "prepare", logs, "set")
    assert ended.code == 0, ended.err
    assert "set: 900 rows (900 of them new), 60 users" in ended.out
    assert "Split: time" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100
    assert "lorarec pretrain --data set" in ended.err


def test_json_is_one_document(ran: Ran, logs: Path) -> None:
    found = ran("data", "prepare", logs, "set", "--json").json
    assert (found["rows"], found["rows_added"], found["generation"]) == (900, 900, 0)
    again = ran("data", "append", "set", logs, "--json").json
    assert again["digest"] == found["digest"]
    assert again["files_known"] == [str(logs)]


def test_workers_make_the_same_data_set(ran: Ran, logs: Path) -> None:
    assert ran("data", "synth", "b.csv", "--interactions", 500, "--seed", 1).code == 0
    alone = ran("data", "prepare", logs, "b.csv", "one", "--json").json
    aside = ran("data", "prepare", logs, "b.csv", "two", "--workers", 2, "--json").json
    assert aside == alone | {"path": aside["path"]}
    refused = ran("data", "prepare", logs, "three", "--workers", 0)
    assert (refused.code, (logs.parent / "three").exists()) == (2, False)


def test_rows_left_out_are_counted_by_rule(ran: Ran, bare_project: Path) -> None:
    (bare_project / "b.csv").write_text("user_id,item_id,domain\nu,i,d\n,i,d\nv,,d\n")
    ended = ran("data", "prepare", "b.csv", "set", "--split", "none", "--on-bad-rows", "quarantine")
    assert ended.code == 0
    assert "null or empty user_id: 1 rows" in ended.err
    assert "2 rows break the contract: written to set/quarantine/000000-*.parquet." in ended.err


def test_bad_rows_are_refused_unless_told_otherwise(ran: Ran, bare_project: Path) -> None:
    (bare_project / "b.csv").write_text("user_id,item_id,domain\nu,i,d\n,i,d\n")
    ended = ran("data", "prepare", "b.csv", "set", "--split", "none")
    assert ended.code == 2
    assert "null or empty user_id in 1 row" in ended.err
    assert not (bare_project / "set").exists()


@pytest.mark.parametrize("text", ["soon,later", "2026-01-01", "1,2,3"])
def test_cut_offs_that_cannot_be_read_are_usage(ran: Ran, logs: Path, text: str) -> None:
    ran("data", "prepare", logs, "set")
    ended = ran("data", "append", "set", logs, "--cutoff", text)
    assert ended.code == 2
    assert "--cutoff 2026-11-01,2026-11-15" in ended.err


def test_two_ways_to_move_a_cut_off_exclude_each_other(ran: Ran, logs: Path) -> None:
    ran("data", "prepare", logs, "set")
    assert ran("data", "append", "set", logs, "--cutoff", "1,2", "--move-cutoff").code == 2


def test_a_base_on_a_data_set_still_finds_its_logs_after_an_append(ran: Ran, world: World) -> None:
    assert ran("data", "prepare", world.logs, "set").code == 0
    assert ran("pretrain", "--data", "set").code == 0
    assert ran("adapt", "--domain", "books").code == 0
    options = ("--domain", "books", "--arms", "base,lora", "--json")
    before = ran("evaluate", *options)
    assert before.code == 0, before.err
    ran("data", "synth", "new.csv", "--domains", "books,new", "--interactions", 600, "--users", 60)
    assert ran("data", "append", "set", "new.csv").code == 0
    after = ran("evaluate", *options)
    assert after.json["arms"] == before.json["arms"]
    grown = ran("evaluate", *options, "--data", "set")
    assert grown.json["arms"] != before.json["arms"]


def test_a_data_set_among_other_paths_is_refused(ran: Ran, world: World) -> None:
    ran("data", "prepare", world.logs, "set")
    ended = ran("pretrain", "--data", "set", "--data", world.logs)
    assert ended.code == 2
    assert "lorarec data append" in ended.err


def test_a_data_set_is_described_and_checked_like_its_logs(ran: Ran, logs: Path) -> None:
    ran("data", "prepare", logs, "set")
    for command in ("describe", "check"):
        ours, theirs = (ran("data", command, path, "--json").json for path in ("set", logs))
        assert ours["domains"] == theirs["domains"]
        assert ours["item_overlap"] == theirs["item_overlap"]
