"""`lorarec adapt --from`, as typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree

import polars as pl
import pytest
from world import Ended, World

from lorarec.lora.adapter import AdapterInfo
from lorarec.record import load_record

Ran = Callable[..., Ended]


@pytest.fixture
def more(world: World, tmp_path: Path) -> Path:
    """Logs of a few new train rows of books, and one user never seen."""
    path = tmp_path / "more.parquet"
    some_rows(world).write_parquet(path)
    return path


def some_rows(world: World) -> pl.DataFrame:
    rows = world.frame.filter(pl.col("domain") == "books").sort("timestamp").head(60)
    moved = rows.select("user_id", "item_id", "domain", pl.col("timestamp") + 7)
    first = moved.head(1).with_columns(user_id=pl.lit("nobody yet"))
    return pl.concat([moved, first])


def test_it_goes_on_and_prints_what_moved(world: World, ran: Ran, more: Path) -> None:
    done = ran("adapt", "--domain", "books", "--from", "books", "--data", more)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 100
    assert world.newest().uri in done.out
    assert world.adapter in done.out
    for text in ("mean drift", "before", "after"):
        assert text in done.out
    assert "61 new train rows of books" in done.err
    assert "Next: lorarec evaluate --domain books" in done.err
    assert ran("evaluate", "--domain", "books", "--arms", "base,lora").code == 0


def test_json_is_all_of_stdout(world: World, ran: Ran, more: Path) -> None:
    options = ("--from", world.adapter, "--data", more, "--freeze-shared", "--json")
    found = ran("adapt", "--domain", "books", *options).json
    run = world.newest()
    assert (found["run"], found["parents"]) == (run.uri, [world.adapter])
    assert found["new"]["rows"] == 61
    assert found["new"]["grown_users"] == 1
    assert found["drift"]["users"]["largest"] == found["drift"]["items"]["largest"] == 0.0
    assert found["metrics"]["valid_ndcg"] >= found["before"]["valid_ndcg"]
    shown = ran("adapters", "show", found["run"], "--json").json
    assert shown["made_of"]["how"] == "continue"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--domain", "books", "--from", "books", "--rank", "4"), "--rank 4 stands beside --from"),
        (("--domain", "books", "--from", "books", "--targets", "bias"), "--targets bias stands"),
        (("--domain", "books", "--from", "books", "--set", "adapt.rank=4"), "--set adapt.rank=4"),
        (("--domain", "books", "--from", "books", "--set", "adapt.alpha = 2"), "of its adapter"),
        (("--set", "adapt.grown_ridge=2", "--domain", "books", "--from", "books"), "new ids begin"),
        (("--all-domains", "--from", "books"), "from one adapter"),
        (("--domain", "books", "--freeze-shared"), "goes with --from ADAPTER"),
        (("--domain", "movies", "--from", "books"), "is of domain 'books'"),
        (("--domain", "books", "--from", "bookss"), "There is no adapter 'bookss'"),
    ],
)
def test_what_cannot_be_asked_for_together_exits_with_2(
    world: World, ran: Ran, options: tuple[str, ...], said: str
) -> None:
    done = ran("adapt", *options)
    assert done.code == 2
    assert said in " ".join(done.err.split())


def test_another_base_exits_with_2_and_points_at_rebase(world: World, ran: Ran, more: Path) -> None:
    options = ("--from", world.adapter, "--base", world.other_base, "--data", more)
    done = ran("adapt", "--domain", "books", *options)
    assert done.code == 2
    for text in (world.load(world.base).digest, world.load(world.other_base).digest):
        assert text in done.err
    assert f"lorarec adapters rebase {world.adapter} --to {world.other_base}" in done.err


def test_a_prepared_data_set_is_gone_on_with_by_generation(
    world: World, ran: Ran, more: Path, tmp_path: Path
) -> None:
    data, copy = tmp_path / "prepared", tmp_path / "as it was"
    assert ran("data", "prepare", world.logs, data).code == 0
    assert ran("pretrain", "--data", data).code == 0
    assert ran("adapt", "--domain", "books").code == 0
    go = ("adapt", "--domain", "books", "--from", "books", "--json")
    none = ran(*go)
    assert none.code == 2
    assert "No train row of 'books'" in none.err
    copytree(data, copy)
    assert ran("data", "append", data, more).code == 0
    done = ran(*go)
    assert done.code == 0
    assert done.json["new"]["rows"] == 61
    assert ran(*go).code == 2  # nothing was appended since
    cuts = [int(world.frame["timestamp"].quantile(q)) for q in (0.9, 0.95)]  # type: ignore[arg-type]
    again = tmp_path / "again.parquet"
    some_rows(world).with_columns(pl.col("timestamp") + 7).write_parquet(again)
    assert ran("data", "append", data, again, "--cutoff", f"{cuts[0]},{cuts[1]}").code == 0
    moved = ran(*go)
    assert moved.json["new"]["rows"] > 61 + 20
    assert f"to {cuts[0]}: the adapter is evaluated on rows after it" in moved.err
    assert world.newest().tag("cutoff") == str(cuts[1])
    rmtree(data)
    copytree(copy, data)
    old = ran(*go)
    assert old.code == 2
    assert "was trained on a generation that is not here" in old.err


def test_an_adapter_of_a_domain_that_the_base_never_had_goes_on(
    world: World, ran: Ran, tmp_path: Path
) -> None:
    data, apart = tmp_path / "prepared", tmp_path / "apart.parquet"
    known = tmp_path / "known.parquet"
    world.frame.filter(pl.col("domain") != "games").write_parquet(known)
    rows = world.frame.filter(pl.col("domain") == "games")
    rows.write_parquet(apart)
    assert ran("data", "prepare", known, data).code == 0
    assert ran("pretrain", "--data", data).code == 0
    assert ran("adapt", "--domain", "games", "--data", apart).code == 0
    more = tmp_path / "more.parquet"
    pl.concat(
        [rows, rows.sort("timestamp").head(30).with_columns(pl.col("timestamp") + 7)]
    ).write_parquet(more)
    done = ran("adapt", "--domain", "games", "--from", "games", "--data", more, "--json")
    assert done.code == 0
    assert done.json["new"]["rows"] == 30
    info = load_record(world.artifacts(done.json["run"]) / "adapter" / "adapter.json", AdapterInfo)
    assert [each.paths for each in info.trained_on] == [[str(apart)], [str(more)]]


def test_later_commands_read_the_rows_that_it_went_on_with(
    world: World, ran: Ran, tmp_path: Path
) -> None:
    """What was appended, and trained it, is had: it is evaluated and served after that."""
    data, before, after = tmp_path / "prepared", tmp_path / "a.parquet", tmp_path / "b.parquet"
    moments = world.frame["timestamp"]
    end, valid, test = (int(moments.quantile(q)) for q in (0.6, 0.8, 0.9))  # type: ignore[arg-type]
    world.frame.filter(pl.col("timestamp") < end).write_parquet(before)
    later = world.frame.filter(pl.col("timestamp") >= end)
    new = later.filter(pl.col("domain") == "books").head(1).with_columns(item_id=pl.lit("new item"))
    pl.concat([later, new]).write_parquet(after)
    assert ran("data", "prepare", before, data).code == 0
    assert ran("pretrain", "--data", data).code == 0
    assert ran("adapt", "--domain", "books").code == 0
    assert ran("data", "append", data, after, "--cutoff", f"{valid},{test}").code == 0
    assert ran("adapt", "--domain", "books", "--from", "books").code == 0
    found = ran("evaluate", "--domain", "books", "--arms", "popularity,base,lora", "--json")
    assert found.code == 0, found.err
    assert "other logs" not in found.err
    books = world.frame.filter(pl.col("domain") == "books")
    users = books.filter(pl.col("timestamp") >= test)["user_id"].n_unique()
    assert found.json["arms"]["lora"]["counts"]["users"] == users
    user = new["user_id"][0]
    had = set(books.filter(user_id=user)["item_id"]) | {"new item"}
    assert ran("index", "all", "--out", "all").code == 0
    for index in ((), ("--index", "all")):
        asked = ("recommend", "--domain", "books", "--user", user, "--k", "500", "--json")
        items = {each["item"] for each in ran(*asked, *index).json["items"]}
        assert not items & had
        others = ran("recommend", "--domain", "books", "--user", "nobody", "--k", "500", "--json",
                     *index).json["items"]  # fmt: skip
        assert "new item" in {each["item"] for each in others}
    assert ran("adapters", "truncate", "books", "--rank", "1").code == 0
    assert ran("adapters", "merge", "books", "--out", "merged").code == 0
    served = ("recommend", "--domain", "books", "--user", "nobody", "--k", "500", "--json")
    merged = ran(*served, "--base", "merged", "--adapter", "none").json["items"]
    assert "new item" in {each["item"] for each in merged}
