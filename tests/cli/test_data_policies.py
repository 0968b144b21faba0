"""Repeats, the core and small domains: what a person reads, and what the run keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from world import Ended, World

Ran = Callable[..., Ended]


@pytest.fixture
def logs(bare_project: Path) -> Path:
    """80 rows of books that repeat every pair, and 3 of a user with few."""
    rows = [f"u{n % 4},i{n // 4 % 5},books,{n}" for n in range(80)]
    rows += ["rare,i0,books,1", "rare,i1,books,79", "rare,i0,tiny,2"]
    path = bare_project / "a.csv"
    path.write_text("user_id,item_id,domain,timestamp\n" + "\n".join(rows) + "\n")
    return path


def test_prepare_says_what_left_the_parts(ran: Ran, logs: Path) -> None:
    ended = ran("data", "prepare", logs, "set", "--duplicates", "last", "--min-user-rows", 3)
    assert ended.code == 0, ended.err
    assert "rows repeat a (user, item, domain) of their part and are left out" in ended.err
    assert "1 users and 0 items are outside of the core of 3 train rows a user" in ended.err
    assert "outside-core" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100
    again = ran("data", "describe", "set")
    assert "outside of the core" in again.err
    found = ran("data", "describe", "set", "--json").json["split"]
    assert (found["duplicates"], found["core"]["users"]) == ("last", 1)


def test_a_split_that_is_left_to_later_leaves_repeats_and_core_to_it(ran: Ran, logs: Path) -> None:
    ended = ran("data", "prepare", logs, "set", "--split", "none", "--duplicates", "last")
    assert "by the settings [data] of pretrain" in ended.err
    assert ran("data", "prepare", logs, "refused", "--split", "none", "--duplicates", "refuse").code


def test_refused_repeats_end_check_and_prepare(ran: Ran, logs: Path, bare_project: Path) -> None:
    for command in (["check", logs], ["prepare", logs, "set"]):
        ended = ran("data", *command, "--set", "data.duplicates=refuse")
        assert ended.code == 2
        assert "repeated (user, item, domain) in 60 rows" in ended.out + ended.err
        assert "('u0', 'i0', 'books') in 4 rows" in ended.out + ended.err
    assert not (bare_project / "set").exists()


def test_small_domains_are_named_with_size_and_threshold(ran: Ran, logs: Path) -> None:
    ran("data", "prepare", logs, "set")
    for command in (["check", logs], ["describe", logs], ["prepare", logs, "other"],
                    ["append", "set", logs]):  # fmt: skip
        err = ran("data", *command).err
        assert "2 domains have fewer than 100 rows" in err
        assert "tiny (1), books (82)" in err
    ended = ran("data", "check", logs, "--set", "data.min_domain_rows=2", "--json")
    assert ended.json["small_domains"] == {"tiny": 1}
    assert "fewer than" not in ran("data", "check", logs, "--set", "data.min_domain_rows=0").err


def test_the_run_keeps_what_was_left_out(ran: Ran, world: World) -> None:
    frame = pl.concat([world.frame, world.frame.head(700)])
    frame.write_parquet(world.logs)
    policies = ["--set", "data.duplicates=sum", "--set", "data.min_item_rows=8"]
    small = ["--set", "data.min_domain_rows=5000"]
    ended = ran("pretrain", "--data", world.logs, *policies, *small)
    assert ended.code == 0, ended.err
    assert "rows repeat a (user, item, domain)" in ended.err
    assert "3 domains have fewer than 5,000 train rows" in ended.err
    run, split = world.newest(), world.load(world.newest().uri).info.split
    assert split.core is not None
    assert split.core.rows > 0
    assert run.metrics["rows_repeated"] == sum(split.repeats.values()) > 0
    assert run.metrics["core_rows_out"] == split.core.rows
    assert run.metrics["core_items_out"] == split.core.items
    assert run.metrics["small_domains"] == 3
    # Later commands split as the base was, and what is outside of the core is not evaluated.
    assert ran("adapt", "--domain", "books").code == 0
    assert ran("evaluate", "--domain", "books", "--arms", "base,lora").code == 0
    refused = ran("evaluate", "--domain", "books", "--arms", "base", "--on", "outside-core")
    assert refused.code == 2
    assert "The part outside-core cannot be evaluated" in refused.err


def test_a_prepared_data_set_gives_the_base_of_its_logs(ran: Ran, world: World) -> None:
    policies = ["--set", "data.duplicates=last", "--set", "data.min_user_rows=15"]
    assert ran("data", "prepare", world.logs, "set", *policies).code == 0
    bases = []
    for path in (world.logs, "set"):
        assert ran("pretrain", "--data", path, *policies).code == 0
        bases.append(world.load(world.newest().uri).info)
    assert bases[0].split.counts == bases[1].split.counts
    assert (bases[0].users, bases[0].items) == (bases[1].users, bases[1].items)
    ended = ran("pretrain", "--data", "set", "--set", "data.duplicates=sum", "--epochs", 1)
    assert "prepared with [data] duplicates last: duplicates sum is not used" in ended.err


def test_adapting_to_a_small_domain_warns_and_goes_on(ran: Ran, world: World) -> None:
    small = ("--set", "data.min_domain_rows=99999")
    ended = ran("adapt", "--domain", "books", *small)
    assert ended.code == 0
    assert "Warning: 1 domain has fewer than 99,999 train rows" in ended.err
    run = world.newest()
    assert f"books ({run.metrics['train_rows']:,.0f})" in ended.err
    assert "fewer than 99,999" in ran("adapt", "--domain", "books", *small, "--json").json[
        "warnings"
    ][-1]  # fmt: skip


def test_a_user_outside_of_the_core_is_not_offered_what_it_had(ran: Ran, world: World) -> None:
    few = world.frame.filter(pl.col("domain") == "books").group_by("user_id").len().sort("len")
    user = few["user_id"][0]
    had = world.frame.filter((pl.col("user_id") == user) & (pl.col("domain") == "books"))
    rows = had["item_id"].unique().to_list()
    total = world.frame.filter(pl.col("user_id") == user).height
    policies = ["--set", f"data.min_user_rows={total + 1}"]
    assert ran("pretrain", "--data", world.logs, *policies).code == 0
    options = ("--domain", "books", "--user", user, "--k", 80, "--adapter", "none", "--json")
    found = ran("recommend", *options).json
    items = [row["item"] for row in found["items"]]
    assert found["fallback"] == "popular"
    assert items
    assert not set(items) & set(rows)
