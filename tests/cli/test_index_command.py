"""`lorarec index` and `lorarec recommend` for many, as typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from world import Ended, World

Ran = Callable[..., Ended]
BOOKS = ("--domain", "books")


def test_help_shows_examples(ran: Ran) -> None:
    for command in ([], ["build"], ["show"], ["add"], ["remove"]):
        done = ran("index", *command, "-h")
        assert (done.code, "lorarec index" in done.out.split("Example:")[1]) == (0, True)


def test_an_index_is_built_shown_changed_and_used(world: World, ran: Ran) -> None:
    built = ran("index", "build", *BOOKS, "--index", "HNSW32", "--out", "a", "--json")
    assert built.code == 0, built.err
    assert built.json["report"]["recall"] > 0.9
    shown = ran("index", "show", "a")
    assert "recall@20" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 100
    best = ran("recommend", *BOOKS, "--user", "u00057", "--index", "a", "--json").json["items"]
    assert best == ran("recommend", *BOOKS, "--user", "u00057", "--json").json["items"]
    Path("gone.txt").write_text(best[0]["item"])
    assert ran("index", "remove", "a", "--items", "gone.txt", "--out", "b").code == 0
    without = ran("recommend", *BOOKS, "--user", "u00057", "--index", "b", "--json")
    assert without.json["items"][0]["item"] == best[1]["item"]
    added = ran("index", "add", "b", "--items", "gone.txt", "--out", "c", "--json")
    assert added.json["items"] == built.json["items"]
    other = ran("recommend", *BOOKS, "--user", "x", "--index", "a", "--adapter", "none")
    assert other.code == 2
    assert built.json["adapter_digest"] in other.err


def test_lists_of_all_users_are_those_of_each(world: World, ran: Ran) -> None:
    done = ran("recommend", *BOOKS, "--all-users", "--out", "lists.parquet", "--k", 4, "--json")
    assert done.code == 0, done.err
    lists = pl.read_parquet("lists.parquet")
    members = world.frame.filter(pl.col("domain") == "books")["user_id"].n_unique()
    assert 0 < done.json["users"] == lists["user_id"].n_unique() <= members
    assert done.json["rows"] == lists.height
    for user in lists["user_id"].unique().sort()[:3]:
        alone = ran("recommend", *BOOKS, "--user", user, "--k", 4, "--json").json["items"]
        own = lists.filter(pl.col("user_id") == user)
        assert own["item_id"].to_list() == [item["item"] for item in alone]
        assert own["rank"].to_list() == [1, 2, 3, 4]
        assert own["fallback"].null_count() == own["reason"].null_count() == 4


def test_users_of_a_file_come_in_its_order_with_reasons(world: World, ran: Ran) -> None:
    Path("who.csv").write_text("user_id\nnobody\nu00057\nnobody\n")
    done = ran("recommend", *BOOKS, "--users", "who.csv", "--out", "l.parquet", "--k", 3)
    assert done.code == 0, done.err
    lists = pl.read_parquet("l.parquet")
    assert lists["user_id"].to_list() == ["nobody"] * 3 + ["u00057"] * 3
    assert lists["fallback"].to_list() == ["popular"] * 3 + [None] * 3
    assert lists["reason"].to_list() == ["unknown user"] * 3 + [None] * 3
    assert "1 of 2 users have no vector" in done.err


def test_rules_hold_for_known_and_unknown_users(world: World, ran: Ran) -> None:
    books = world.frame.filter(pl.col("domain") == "books")["item_id"].unique().sort()
    table = pl.DataFrame({"item_id": books}).with_row_index("n")
    table = table.with_columns(brand="b" + (pl.col("n") % 3).cast(pl.String), stock=pl.col("n") % 4)
    table.write_csv("items.csv")
    Path("block.txt").write_text("\n".join(books[:5]))
    Path("who.txt").write_text("nobody\nu00057\nu00003\n")
    done = ran(
        "recommend", *BOOKS, "--users", "who.txt", "--out", "l.parquet", "--k", 9,
        "--block", "block.txt", "--items", "items.csv", "--max-per", "brand:2",
        "--min-stock", "stock:2",
    )  # fmt: skip
    assert done.code == 0, done.err
    lists = pl.read_parquet("l.parquet").join(table, on="item_id", how="left")
    assert lists.group_by("user_id", "brand").len()["len"].to_list() == [2] * 9
    assert lists["stock"].min() == 2
    assert not set(lists["item_id"]) & set(books[:5])
    assert set(lists["reason"]) == {"unknown user", "fewer than k left"}
    assert "3 of 3 users have fewer than 9 items left" in done.err


def test_a_user_for_whom_nothing_is_left_has_one_row_without_an_item(
    world: World, ran: Ran
) -> None:
    had = world.frame.filter((pl.col("domain") == "books") & (pl.col("user_id") == "u00057"))
    Path("allow.txt").write_text("\n".join(had["item_id"].unique()[:2]))
    Path("who.txt").write_text("u00057\nnobody\n")
    asked = ("recommend", *BOOKS, "--users", "who.txt", "--out", "l.parquet")
    assert ran(*asked, "--allow", "allow.txt").code == 0
    first = pl.read_parquet("l.parquet").row(0)
    assert first == ("u00057", None, None, None, None, "fewer than k left")
    assert pl.read_parquet("l.parquet").height == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "one of --user U"),
        (("--user", "a", "--all-users"), "one of --user U"),
        (("--all-users",), "--out FILE"),
        (("--user", "a", "--out", "l.parquet"), "--out FILE"),
        (("--all-users", "--out", "l.csv"), "parquet"),
        (("--all-users", "--out", "l.parquet", "--max-per", "brand"), "no COLUMN:NUMBER"),
        (("--all-users", "--out", "l.parquet", "--max-per", "brand:inf"), "no COLUMN:NUMBER"),
        (("--all-users", "--out", "l.parquet", "--max-per", "brand:1.5"), "whole number"),
        (("--all-users", "--out", "l.parquet", "--index", "nowhere"), "no index in nowhere"),
        (("--users", "none.txt", "--out", "l.parquet"), "none.txt cannot be read"),
    ],
)
def test_wrong_usage_exits_with_2_and_writes_nothing(
    world: World, ran: Ran, options: tuple[str, ...], expected: str
) -> None:
    done = ran("recommend", *BOOKS, *options)
    assert (done.code, done.out) == (2, "")
    assert expected in done.err
    assert not list(Path().glob("*l.parquet*"))
