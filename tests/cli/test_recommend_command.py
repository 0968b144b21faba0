"""`lorarec recommend`, as typed."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from world import OUTSIDE, Ended, World

Ran = Callable[..., Ended]
BOOKS = ("recommend", "--domain", "books", "--user", "u00057")


def test_help_shows_an_example(ran: Ran) -> None:
    done = ran("recommend", "-h")
    assert done.code == 0
    assert "lorarec recommend --domain" in done.out.split("Example:")[1]


def test_it_prints_k_items_ranked_from_one(world: World, ran: Ran) -> None:
    lines = ran(*BOOKS, "--k", 3).out.splitlines()
    assert lines[0] == "u00057 in books"
    assert [line.split()[0] for line in lines[3:]] == ["1", "2", "3"]


def test_json_is_all_of_stdout(world: World, ran: Ran) -> None:
    found = ran(*BOOKS, "--k", 4, "--json").json
    scores = [item["score"] for item in found["items"]]
    assert (found["user"], found["domain"], found["fallback"]) == ("u00057", "books", None)
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)


def test_what_was_chosen_is_said_on_stderr(world: World, ran: Ran) -> None:
    done = ran(*BOOKS, "--json")
    assert f"Base: {world.base}" in done.err
    assert f"Adapter: {world.adapter}" in done.err


def test_adapter_none_is_the_bare_base(world: World, ran: Ran) -> None:
    bare = ran(*BOOKS, "--adapter", "none", "--json")
    assert "Adapter: none, the bare base." in bare.err
    assert bare.json["items"] != ran(*BOOKS, "--json").json["items"]


def test_a_domain_without_an_adapter_is_served_by_the_base_and_said(world: World, ran: Ran) -> None:
    done = ran("recommend", "--domain", "movies", "--user", "u00057")
    assert done.code == 0
    assert "the bare base is used" in done.err


def test_a_k_beyond_the_catalogue_gives_what_there_is_and_says_so(world: World, ran: Ran) -> None:
    done = ran(*BOOKS, "--k", 100_000, "--json")
    items = [item["item"] for item in done.json["items"]]
    assert done.code == 0
    assert 0 < len(items) == len(set(items)) < 80
    assert f"has only {len(items)} items left" in done.err


def test_an_unknown_user_gets_popular_items_marked_so(world: World, ran: Ran) -> None:
    ask = ["recommend", "--domain", "books", "--user", "nobody"]
    done = ran(*ask, "--json")
    assert (done.code, done.json["fallback"]) == (0, "popular")
    assert len(done.json["items"]) == 10
    assert "fallback: popular" in ran(*ask).out


@pytest.mark.parametrize("k", [0, -1, "many"])
def test_a_k_that_is_none_exits_with_2(world: World, ran: Ran, k: object) -> None:
    assert ran(*BOOKS, "--k", k).code == 2


def test_an_unknown_domain_exits_with_2_and_the_nearest(world: World, ran: Ran) -> None:
    done = ran("recommend", "--domain", "boks", "--user", "u00057")
    assert (done.code, done.out) == (2, "")
    assert "Did you mean 'books'?" in done.err


def test_an_adapter_of_another_base_exits_with_2_and_both_digests(world: World, ran: Ran) -> None:
    both = ["--base", world.base, "--adapter", world.other_adapter]
    done = ran("recommend", "--domain", OUTSIDE, "--user", "x", *both)
    assert done.code == 2
    assert all(world.load(uri).digest in done.err for uri in (world.base, world.other_base))


def test_an_adapter_of_another_domain_exits_with_2(world: World, ran: Ran) -> None:
    done = ran("recommend", "--domain", "movies", "--user", "x", "--adapter", world.adapter)
    assert done.code == 2
    assert "'books'. Expected one of 'movies'" in done.err


def test_changed_logs_exit_with_2_and_data_says_that_they_are_meant(world: World, ran: Ran) -> None:
    pl.concat([world.frame, world.frame.tail(2)]).write_parquet(world.logs)
    assert ran(*BOOKS).code == 2
    assert ran(*BOOKS, "--data", world.logs).code == 0


def test_it_records_no_run(world: World, ran: Ran) -> None:
    before = world.runs()
    assert ran(*BOOKS).code == 0
    assert world.runs() == before


def test_it_makes_no_store_where_there_is_none(bare_project: object, ran: Ran) -> None:
    done = ran(*BOOKS)
    assert done.code == 2
    assert "lorarec pretrain" in done.err


def test_ids_of_any_script_are_asked_for_as_they_are(world: World, ran: Ran) -> None:
    frame = world.frame.with_columns(
        user_id=pl.lit("Ł 🎻 ") + pl.col("user_id"),
        item_id=pl.lit("книга [bold] ") + pl.col("item_id"),
        domain=pl.lit("bücher"),
    )
    world.pretrain(frame)
    done = ran("recommend", "--domain", "bücher", "--user", "Ł 🎻 u00057", "--k", 2, "--json")
    assert done.json["fallback"] is None
    assert all(item["item"].startswith("книга [bold] i") for item in done.json["items"])
