"""The rules of an honest evaluation about splits and leakage, one test each.

1. One global timeline: train < t_valid <= valid < t_test <= test, ties on one side, UTC; the base
   and every domain share it.
2. Leave-last-out is offered with a warning that it leaks across users.
3. What is chosen in training is chosen on validation; test rows change nothing.
4. Popularity and vocabularies come from train alone; ids of test add no trained row.
"""

from __future__ import annotations

import polars as pl
import pytest
from world import DOMAINS, Words, World

from lorarec.data.splits import apply_split
from lorarec.jobs.evaluate import evaluate
from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.ranking import Arena


def test_rule_1_base_and_every_domain_share_one_timeline(world: World) -> None:
    base = world.load(world.base)
    split = base.info.split
    t_valid, t_test = split.t_valid, split.t_test
    assert t_valid is not None
    assert t_test is not None
    # Three rows of two domains at the very cut-offs, and one a second before.
    edges = world.frame.head(4).with_columns(
        timestamp=pl.Series([t_valid, t_test, t_test, t_test - 1]),
        domain=pl.Series(["books", "books", "games", "games"]),
    )
    parts = apply_split(pl.concat([world.frame, edges]).with_columns(split=None), split)
    assert parts["split"].tail(4).to_list() == ["valid", "test", "test", "valid"]
    for domain in DOMAINS:
        rows = parts.filter(pl.col("domain") == domain)
        times = {name: rows.filter(split=name)["timestamp"] for name in ("train", "valid", "test")}
        assert max(times["train"]) < t_valid <= min(times["valid"])
        assert max(times["valid"]) < t_test <= min(times["test"])
    for domain in DOMAINS:
        adapted = world.adapt(domain)
        assert adapted.adapter.info.split == split
        assert world.run(adapted.run).tags["lorarec.cutoff"] == str(t_test)
    assert world.run(world.base).tags["lorarec.cutoff"] == str(t_test)


def test_rule_2_leave_last_out_warns_that_it_leaks_across_users(world: World) -> None:
    words = Words()
    settings = world.settings.with_options({"data.split": "leave-last-out"})
    done = pretrain(settings, [world.logs], world.store, listen=words.listener)
    assert "leaks across users" in words
    assert any("leaks across users" in note for note in done.base.info.split.notes)


@pytest.mark.parametrize("split", ["time", "column"])
def test_rule_3_nothing_that_is_trained_or_chosen_looks_at_test(world: World, split: str) -> None:
    record = world.load(world.base).info.split
    frame = apply_split(world.frame.with_columns(split=None), record)
    # Other items of the same domain, users and times: as good a test set, with other answers.
    test = pl.col("split") == "test"
    mixed = pl.col("item_id").shuffle(seed=1).over("domain", "split")
    other = frame.with_columns(item_id=pl.when(test).then(mixed).otherwise("item_id"))
    assert not other.equals(frame)
    grid = {"adapt.learning_rate_grid": [0.3, 1.0]}
    found = []
    for logs in (frame, other):
        base = world.pretrain(logs, split=split)
        adapter = world.adapt("books", grid, base=base.run)
        numbers = adapter.adapter.info
        found.append(
            (base.base.digest, base.history.best_epoch, numbers.digest, numbers.learning_rate)
        )
    assert found[0] == found[1]


def test_rule_4_popularity_and_trained_rows_come_from_train_alone(world: World) -> None:
    record = world.load(world.base).info.split
    frame = apply_split(world.frame.with_columns(split=None), record)
    late = (
        frame.filter(split="test", domain="books")
        .head(5)
        .with_columns(
            user_id=pl.lit("only-in-test"), item_id=pl.Series([f"test-{n}" for n in range(5)])
        )
    )
    frame = pl.concat([frame, late])
    train = frame.filter(split="train")
    base = world.pretrain(frame, split="column").base
    assert set(base.users.ids) == set(train["user_id"])
    assert set(base.items.ids) == set(train["item_id"])
    adapter = world.adapt("books").adapter
    assert set(adapter.items.ids) == set(base.items.ids)
    arena = Arena.of(frame, "books")
    counts = train.filter(domain="books").group_by("item_id").len()
    expected = dict(counts.iter_rows())
    assert dict(zip(arena.catalogue.ids, arena.popularity.tolist(), strict=True)) == expected
    settings = world.settings.with_options({"evaluate.arms": ["popularity"]})
    found = evaluate(settings, "books", world.store)
    cold = found.users.is_in(["only-in-test"]).to_numpy()
    assert cold.sum() == 1
    # Its items are in no catalogue: certain misses, counted and not left out.
    assert found.results["popularity"].per_user["recall_at_10"][cold].tolist() == [0.0]
