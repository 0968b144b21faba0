"""`lorarec evaluate --protocol`, as typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from world import Ended, World

from lorarec.data.splits import apply_split

Ran = Callable[..., Ended]
CHEAP = ("--domain", "books", "--arms", "popularity,base,ease")


def write_lists(world: World, path: Path) -> pl.DataFrame:
    """Each test row of books and nine train items that its user has not had."""
    frame = apply_split(world.frame.with_columns(split=None), world.load(world.base).info.split)
    books = frame.filter(domain="books")
    train = books.filter(split="train")
    held = books.filter(split="test").unique("user_id", maintain_order=True)
    rng = np.random.default_rng(0)
    items = set(train["item_id"])
    had = dict(books.group_by("user_id").agg("item_id").iter_rows())
    negatives = [
        rng.permutation(sorted(items - set(had[user])))[:9].tolist() for user in held["user_id"]
    ]
    lists = held.select("domain", "split", "user_id", pos_item_id="item_id").with_columns(
        neg_item_ids=pl.Series(negatives)
    )
    lists.write_parquet(path)
    return lists.with_columns(
        counts=pl.Series(
            [
                [train.filter(item_id=item)["user_id"].n_unique() for item in (positive, *others)]
                for positive, others in zip(held["item_id"], negatives, strict=True)
            ]
        )
    )


def test_the_metric_is_that_of_the_lists_and_the_table_has_what_was_published(
    world: World, ran: Ran, tmp_path: Path
) -> None:
    lists = write_lists(world, tmp_path / "lists.parquet")
    file, logs = str(tmp_path / "lists.parquet"), tmp_path / "twice.parquet"
    some = world.frame.filter(domain="books").sort("timestamp").head(200)
    pl.concat([world.frame, some]).write_parquet(logs)  # a repeated pair is one
    options = ("--protocol", "xmarket-ecir23", "--candidates", file, "--data", logs, "--json")
    done = ran("evaluate", *CHEAP, *options)
    assert done.code == 0, done.err
    ranks = [1 + sum(c >= own for c in others) for own, *others in lists["counts"].to_list()]
    expected = np.mean([1 / np.log2(rank + 1) if rank <= 10 else 0.0 for rank in ranks])
    found = done.json["ours"]["popularity"]["ndcg_at_10_sampled"]
    assert abs(found["mean"] - expected) < 1e-12
    assert done.json["cases"] == lists.height
    assert set(done.json["ours"]) == {"popularity", "base", "ease"}
    assert done.json["published"] == {}  # books is no market of theirs
    assert "ECIR 2023" in done.json["citation"]
    assert world.run(done.json["run"]).tag("protocol") == "xmarket-ecir23"


def test_lists_are_drawn_for_cdr_and_all_items_ranked_for_bars(world: World, ran: Ran) -> None:
    drawn = ran("evaluate", *CHEAP, "--protocol", "cdr-999", "--json").json
    again = ran("evaluate", *CHEAP, "--protocol", "cdr-999", "--json").json
    assert drawn["ours"] == again["ours"]
    assert set(drawn["ours"]["base"]) == {"hit_rate_at_10_sampled", "ndcg_at_10_sampled"}
    full = ran("evaluate", *CHEAP, "--protocol", "bars-gowalla")
    assert full.code == 0
    assert max(map(len, full.out.splitlines())) <= 100
    assert "SimpleX" in full.out
    assert "train rows alone are masked" in " ".join(full.err.split())


def test_what_does_not_fit_exits_with_2(world: World, ran: Ran, tmp_path: Path) -> None:
    for arguments, words in (
        (("--protocol", "xmarket"), "xmarket-ecir23"),
        (("--protocol", "wsdm22"), "--candidates FILE"),
        (("--protocol", "cdr-999", "--k", "5"), "cut-offs"),
        (("--candidates", "x.parquet"), "--protocol NAME"),
        (("--protocol", "cdr-999", "--on", "valid"), "its own part"),
        (("--protocol", "cdr-999", "--folds", "2", "--window", "7d"), "--folds"),
        (("--protocol", "wsdm22", "--candidates", str(tmp_path)), "no parquet table"),
    ):
        done = ran("evaluate", *CHEAP, *arguments)
        assert (done.code, done.out) == (2, ""), done.err
        assert words in " ".join(done.err.split())
