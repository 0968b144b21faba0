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


def test_a_split_is_shown_with_its_cut_offs_and_both_sides(ran: Ran, logs: Path) -> None:
    ended = ran("data", "split", logs, "--by-domain")
    assert ended.code == 0, ended.err
    assert "Split: time, valid from 2025-" in ended.out
    assert "cold users" in ended.out
    assert "In train alone: " in ended.out
    assert "Each domain by itself" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100


@pytest.mark.parametrize("how", ["time", "random", "leave-last-out"])
def test_a_data_set_and_its_logs_are_split_alike(ran: Ran, logs: Path, how: str) -> None:
    ran("data", "prepare", logs, "set", "--split", how)
    ours = ran("data", "split", "set", "--by-domain", "--json").json
    theirs = ran("data", "split", logs, "--split", how, "--by-domain", "--json").json
    for key in ("parts", "domains", "train_only_users", "train_only_items"):
        assert ours[key] == theirs[key]
    assert ours["split"]["counts"] == ours["parts"]


def test_leave_last_out_is_warned_of(ran: Ran, logs: Path) -> None:
    assert "leaks across users" in ran("data", "split", logs, "--split", "leave-last-out").err
    prepared = ran("data", "prepare", logs, "set", "--split", "leave-last-out")
    assert "leaks across users" in prepared.err
    assert "leaks across users" in ran("data", "split", "set").err


def test_folds_are_shown_oldest_first(ran: Ran, logs: Path) -> None:
    ended = ran("data", "split", logs, "--folds", 3, "--window", "4w", "--by-domain")
    assert ended.code == 0, ended.err
    assert "3 folds, oldest first" in ended.out
    assert "Fold 2, each domain by itself" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100
    found = ran("data", "split", logs, "--folds", 3, "--window", "4w", "--json").json["folds"]
    ends = [fold["split"]["t_end"] for fold in found]
    assert ends[1] - ends[0] == ends[2] - ends[1] == 28 * 86_400
    assert "later" not in found[-1]["parts"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--folds", 3), "--folds and --window together"),
        (("--window", "7d"), "--folds and --window together"),
        (("--folds", 3, "--window", "7d", "--split", "random"), "no other --split than time"),
        (("--folds", 3, "--window", "soon"), "such as 7d"),
        (("--folds", 300, "--window", "7d"), "Expected at most "),
    ],
)
def test_folds_that_cannot_be_are_usage(
    ran: Ran, logs: Path, options: tuple[object, ...], word: str
) -> None:
    ended = ran("data", "split", logs, *options)
    assert ended.code == 2
    assert word in " ".join(ended.err.split())


def test_a_base_is_pretrained_on_a_fold_of_logs_and_of_a_data_set(ran: Ran, world: World) -> None:
    ran("data", "prepare", world.logs, "set", "--split", "random")
    folds = ran("data", "split", "set", "--folds", 2, "--window", "4w", "--json").json["folds"]
    split = folds[0]["split"]
    cutoffs = ",".join(str(split[key]) for key in ("t_valid", "t_test", "t_end"))
    digests = set()
    for data in ("set", world.logs):
        ended = ran("pretrain", "--data", data, "--set", f"data.cutoffs={cutoffs}", "--json")
        assert ended.code == 0, ended.err
        record = world.load(ended.json["run"]).info.split
        assert record.cutoffs == [split["t_valid"], split["t_test"], split["t_end"]]
        assert record.counts["later"].rows == folds[0]["parts"]["later"]["rows"]
        digests.add(tuple(c.rows for c in record.counts.values()))
    assert len(digests) == 1
    assert ran("adapt", "--domain", "books").code == 0
    assert ran("evaluate", "--domain", "books", "--arms", "base,lora").code == 0
