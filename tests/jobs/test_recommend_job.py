"""Recommending to a user and scoring given pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from world import OUTSIDE, Words, World

from lorarec.errors import DataError, NotFoundError
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.recommend import Ready, Scored, as_dict, prepare, recommend, score_pairs

USER = "u00057"
"""Has books."""


@pytest.fixture
def ready(world: World) -> Ready:
    """Books with its adapter."""
    return prepare("books", world.store)


def scored(
    ready: Ready, world: World, pairs: pl.DataFrame, name: str = "pairs.parquet", **options: Any
) -> tuple[pl.DataFrame, Scored]:
    """Pairs written, scored and read again."""
    path, out = world.folder / name, world.folder / f"scored{Path(name).suffix}"
    pairs.write_parquet(path) if path.suffix == ".parquet" else pairs.write_csv(path)
    done = score_pairs(ready, path, out, world.settings, **options)
    return (pl.read_parquet if out.suffix == ".parquet" else pl.read_csv)(out), done


def some_pairs(world: World, rows: int = 40) -> pl.DataFrame:
    """Pairs of books in no order, some of them unknown."""
    books = world.frame.filter(pl.col("domain") == "books").head(rows).reverse()
    strangers = pl.DataFrame({"user_id": ["nobody", USER], "item_id": ["i00001", "nothing"]})
    return pl.concat([books.select("user_id", "item_id"), strangers])


def test_nothing_that_the_user_has_had_is_recommended(world: World, ready: Ready) -> None:
    had = world.frame.filter((pl.col("user_id") == USER) & (pl.col("domain") == "books"))
    items = recommend(ready, USER, 100).items
    catalogue = set(ready.arena.catalogue.ids)
    assert set(items) == catalogue - set(had["item_id"])
    assert had.height > 0


def test_items_come_best_first_and_once(ready: Ready) -> None:
    found = recommend(ready, USER, 20)
    assert found.scores == sorted(found.scores, reverse=True)
    assert len(set(found.items)) == 20
    assert found.fallback is None


def test_a_recommendation_scores_as_the_pair_does(ready: Ready) -> None:
    found = recommend(ready, USER, 5)
    pairs = ready.scorer.score([USER] * 5, found.items)
    np.testing.assert_allclose(found.scores, pairs, rtol=1e-5)


def test_a_k_beyond_the_catalogue_gives_what_there_is(ready: Ready) -> None:
    found = recommend(ready, "nobody", 10_000)
    assert len(found.items) == len(found.scores) == len(ready.arena.catalogue)


def test_an_unknown_user_gets_the_popular_items_marked_so(ready: Ready) -> None:
    found = recommend(ready, "nobody", 5)
    best = np.sort(ready.arena.popularity)[::-1][:5]
    assert found.fallback == "popular"
    assert found.scores == best.tolist()


def test_an_adapter_changes_what_is_recommended(world: World) -> None:
    with_it, without = (
        prepare("books", world.store, adapter=uri) for uri in (world.adapter, "none")
    )
    assert recommend(with_it, USER, 10).scores != recommend(without, USER, 10).scores


def test_with_the_adapter_off_scores_are_the_bases_bit_for_bit(world: World) -> None:
    base = world.load(world.base)
    world.adapt("books", {"adapt.epochs": 3})
    pairs = some_pairs(world).head(40)
    ready = prepare("books", world.store, adapter="none")
    users, items = (
        torch.from_numpy(vocabulary.rows(pairs[column]))
        for vocabulary, column in ((base.users, "user_id"), (base.items, "item_id"))
    )
    with torch.no_grad():
        product = (base.model.user_vectors(users) * base.model.item_vectors(items)).numpy().sum(1)
        bias = base.model.item_bias(items)
    expected = product if bias is None else product + bias.numpy()
    ours = ready.scorer.score(pairs["user_id"], pairs["item_id"])
    np.testing.assert_array_equal(ours, expected)


def test_a_disabled_adapter_scores_as_none_does_bit_for_bit(world: World) -> None:
    from lorarec.lora.attach import disabled

    pairs = some_pairs(world).head(40)
    bare = prepare("books", world.store, adapter="none")
    adapted = prepare("books", world.store, adapter=world.adapter)
    with disabled(adapted.scorer.model):
        ours = adapted.scorer.score(pairs["user_id"], pairs["item_id"])
    np.testing.assert_array_equal(ours, bare.scorer.score(pairs["user_id"], pairs["item_id"]))
    assert not np.array_equal(ours, adapted.scorer.score(pairs["user_id"], pairs["item_id"]))


def test_what_is_used_is_said(world: World) -> None:
    words = Words()
    prepare("books", world.store, listen=words.listener)
    assert world.base in words
    assert world.adapter in words


def test_a_user_new_to_the_base_is_known_to_the_adapter_that_grew_it(world: World) -> None:
    base = world.load(world.other_base)
    games = world.frame.filter(pl.col("domain") == OUTSIDE)
    ready = prepare(OUTSIDE, world.store, world.other_base)
    grown = next(u for u in ready.scorer.users.ids[len(base.users) :] if u in set(games["user_id"]))
    assert recommend(ready, grown, 3).fallback is None
    bare = prepare(OUTSIDE, world.store, world.other_base, adapter="none")
    assert recommend(bare, grown, 3).fallback == "popular"


def test_an_unknown_domain_gets_the_nearest(world: World) -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'games'"):
        prepare("game", world.store)


def test_changed_logs_are_refused_and_taken_when_meant(world: World) -> None:
    pl.concat([world.frame, world.frame.tail(2)]).write_parquet(world.logs)
    with pytest.raises(DataError, match="have changed"):
        prepare("books", world.store)
    assert prepare("books", world.store, paths=[world.logs]).arena.domain == "books"


def test_as_json_a_recommendation_is_ranked_from_one(ready: Ready) -> None:
    found = as_dict(recommend(ready, "nobody", 2))
    assert [item["rank"] for item in found["items"]] == [1, 2]
    assert (found["user"], found["domain"], found["fallback"]) == ("nobody", "books", "popular")


def test_scored_rows_keep_their_order_and_other_columns(world: World, ready: Ready) -> None:
    pairs = some_pairs(world).with_row_index("place").with_columns(note=pl.lit("a, b"))
    out, _ = scored(ready, world, pairs)
    assert out.columns == [*pairs.columns, "score"]
    assert out.drop("score").equals(pairs)


def test_every_score_is_finite_and_unknown_ids_are_counted(world: World, ready: Ready) -> None:
    words = Words()
    out, done = scored(ready, world, some_pairs(world), listen=words.listener)
    assert out["score"].is_finite().all()
    assert (done.rows, done.cold_users, done.cold_items) == (42, 1, 1)
    assert "1 rows have a user and 1 an item" in words


def test_nothing_is_said_where_every_id_is_known(world: World, ready: Ready) -> None:
    words = Words()
    scored(ready, world, some_pairs(world).head(40), listen=words.listener)
    assert words.said == []


def test_pairs_score_the_same_from_csv_and_parquet(world: World, ready: Ready) -> None:
    pairs = some_pairs(world)
    one, _ = scored(ready, world, pairs, "pairs.parquet")
    other, _ = scored(ready, world, pairs, "pairs.csv")
    np.testing.assert_allclose(one["score"], other["score"], rtol=1e-5)


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_a_missing_column_is_refused_with_what_is_there(
    world: World, ready: Ready, column: str
) -> None:
    with pytest.raises(DataError, match=f"lacks the column '{column}'; it has"):
        scored(ready, world, some_pairs(world).rename({column: "other"}))


def test_columns_of_other_names_are_renamed_by_the_settings(world: World, ready: Ready) -> None:
    pairs = some_pairs(world)
    plain, _ = scored(ready, world, pairs)
    path, out = world.folder / "renamed.parquet", world.folder / "out.parquet"
    pairs.rename({"user_id": "customer"}).write_parquet(path)
    settings = world.settings.with_options({"data.columns": {"user_id": "customer"}})
    score_pairs(ready, path, out, settings)
    assert pl.read_parquet(out).columns == ["customer", "item_id", "score"]
    assert pl.read_parquet(out)["score"].equals(plain["score"])


def test_an_empty_id_is_refused_with_its_row(world: World, ready: Ready) -> None:
    pairs = pl.DataFrame({"user_id": [USER, None, USER], "item_id": ["i00001", "i00002", None]})
    with pytest.raises(DataError, match=r"2 empty ids, in rows \[1, 2\]"):
        scored(ready, world, pairs)
    assert not (world.folder / "scored.parquet").exists()


def test_no_pairs_give_no_scores(world: World, ready: Ready) -> None:
    out, done = scored(ready, world, some_pairs(world).head(0))
    assert (out.columns, out.height, done.rows) == (["user_id", "item_id", "score"], 0, 0)


def test_integer_ids_are_looked_up_as_the_logs_have_them(world: World) -> None:
    number = pl.col("user_id", "item_id").str.slice(1).cast(pl.Int64)
    world.pretrain(world.frame.with_columns(number))
    world.adapt("books")
    ready = prepare("books", world.store)
    _, done = scored(ready, world, some_pairs(world).head(40).with_columns(number))
    assert (done.cold_users, done.cold_items) == (0, 0)
    assert recommend(ready, str(int(USER[1:])), 3).fallback is None


def test_the_score_of_a_pair_does_not_depend_on_its_place(world: World, ready: Ready) -> None:
    pairs = some_pairs(world).head(10)
    once, _ = scored(ready, world, pairs)
    twice, _ = scored(ready, world, pl.concat([pairs, pairs.reverse()]))
    assert twice["score"].to_list() == [*once["score"], *once["score"].reverse()]


def test_other_logs_serve_a_base_of_any_split(world: World) -> None:
    world.pretrain(world.frame, "random")
    world.frame.tail(2500).write_parquet(world.folder / "some.parquet")
    ready = prepare("books", world.store, adapter="none", paths=[world.folder / "some.parquet"])
    assert len(recommend(ready, USER, 5).items) == 5


def test_what_a_user_had_after_a_folds_test_is_not_recommended(world: World) -> None:
    times = world.frame["timestamp"].sort()
    cutoffs = [int(times[int(share * len(times))]) for share in (0.4, 0.5, 0.6)]
    settings = world.settings.with_options({"data.cutoffs": cutoffs})
    pretrain(settings, [world.logs], world.store)
    later = world.frame.filter((pl.col("domain") == "books") & (pl.col("timestamp") >= cutoffs[2]))
    user = later["user_id"].mode().sort()[0]
    found = recommend(prepare("books", world.store), user, 1000)
    had = world.frame.filter(domain="books", user_id=user)["item_id"]
    assert found.items
    assert not set(found.items) & set(had)
