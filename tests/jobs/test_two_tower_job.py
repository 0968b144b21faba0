"""A two-tower base from pretraining to scores: features, histories, ids without a row, adapters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from world import OUTSIDE, Words, World

from lorarec.config import Settings
from lorarec.errors import ConfigError, DataError
from lorarec.jobs.adapt import adapt
from lorarec.jobs.checkpointing import Checkpointing
from lorarec.jobs.choose import Chosen
from lorarec.jobs.evaluate import evaluate
from lorarec.jobs.import_base import import_base
from lorarec.jobs.pretrain import Pretrained, pretrain
from lorarec.jobs.ranking import Arena
from lorarec.jobs.recommend import prepare, recommend
from lorarec.models.artefact import Base
from lorarec.models.base import ItemBias, plain_tables, table_of
from lorarec.models.matrix_factorization import MatrixFactorization
from lorarec.models.two_tower import TwoTower
from lorarec.training.loop import Training

TOWERS = {
    "model.name": "two-tower",
    "model.layers": [8],
    "model.history": "mean",
    "evaluate.arms": ["popularity", "base"],
}
NEVER_SEEN = "never-seen"


def tables(world: World) -> dict[str, str]:
    """Features of every item and of one more, and of every user; where they are."""
    items = [*world.frame["item_id"].unique().sort(), NEVER_SEEN]
    users = world.frame["user_id"].unique().sort().to_list()
    pl.DataFrame(
        {
            "item_id": items,
            "kind": [("a", "b", "c")[n % 3] for n in range(len(items))],
            "price": np.linspace(1, 9, len(items)),
            "title": items,
        }
    ).write_parquet(world.folder / "items.parquet")
    ages = [n % 4 for n in range(len(users))]
    pl.DataFrame({"user_id": users, "age": ages}).write_csv(world.folder / "users.csv")
    return {
        "features.items": str(world.folder / "items.parquet"),
        "features.users": str(world.folder / "users.csv"),
    }


def pretrained(world: World, *exclude: str, **more: object) -> Pretrained:
    settings = world.settings.with_options(TOWERS | more)
    return pretrain(settings, [world.logs], world.store, exclude)


def arena_of(world: World, base: Base, domain: str) -> Arena:
    frame, _ = base.info.data.read_again(base.info.split)
    return Arena.of(frame, domain)


def test_a_base_scores_the_same_after_a_round_trip(world: World) -> None:
    words = Words()
    settings = world.settings.with_options(TOWERS | tables(world))
    done = pretrain(settings, [world.logs], world.store, listen=words.listener)
    loaded = world.load(done.run)
    assert loaded.info.model == "two-tower"
    described = world.frame["item_id"].n_unique() + 1 - loaded.info.items
    assert loaded.info.features["items"].described == described
    assert "title is left out" in words
    arena = arena_of(world, loaded, "books")
    pairs = (arena.members.head(5), arena.catalogue.series.head(5))
    found, before = (arena.scorer(base, None).score(*pairs) for base in (loaded, done.base))
    assert found.tolist() == before.tolist()


def test_training_moves_features_and_layers_and_what_is_held_out_is_in_no_history(
    world: World,
) -> None:
    done = pretrained(world, **tables(world), **{"train.patience": 9})
    model = done.base.model
    assert isinstance(model, TwoTower)
    assert model.history is not None
    assert model.user_tower.out is not None
    if done.history.best_epoch:
        assert bool(model.user_tower.out.weight.any())
        parts = model.item_tower.features.parts.values()  # type: ignore[union-attr,operator]
        assert all(bool(p.any()) for part in parts for p in part.parameters())
    frame, _ = done.base.info.data.read_again(done.base.info.split)
    train = frame.filter(pl.col("split") == "train").unique(["user_id", "item_id"])
    assert len(model.history.items) == train.height


def test_users_of_an_unseen_market_are_ranked_by_their_history(world: World) -> None:
    done = pretrained(world, OUTSIDE)
    arena = arena_of(world, done.base, OUTSIDE)
    scorer = arena.scorer(done.base, None)
    train = arena.frame.filter(pl.col("split") == "train")
    known = pl.col("item_id").is_in(done.base.items.series)
    expected = set(train.filter(known)["user_id"]) | set(done.base.users.series)
    vectors, has = scorer.user_vectors(arena.members)
    assert has.tolist() == [user in expected for user in arena.members]
    cold = [p for p, u in enumerate(arena.members) if has[p] and u not in set(done.base.users.ids)]
    assert len(cold) > 5
    assert len(np.unique(vectors[cold].round(5), axis=0)) > len(cold) // 2
    user = arena.members[cold[0]]
    ready = prepare(OUTSIDE, world.store, done.run, "none")
    found = recommend(ready, user, 5)
    assert found.fallback is None
    had = arena.frame.filter(pl.col("user_id") == user)["item_id"]
    assert not set(found.items) & set(had)


def test_a_plain_base_has_no_more_rows_than_before(world: World) -> None:
    base = world.load(world.other_base)
    arena = arena_of(world, base, OUTSIDE)
    scorer = arena.scorer(base, None)
    assert scorer.model is base.model
    assert scorer.users is base.users


def test_an_item_with_features_alone_is_scored_by_them(world: World) -> None:
    base = pretrained(world, **tables(world)).base
    scorer = arena_of(world, base, "books").scorer(base, None)
    vectors, _, known = scorer.item_vectors([NEVER_SEEN, "nothing is known of this"])
    assert known.tolist() == [True, False]
    assert not np.allclose(vectors[0], vectors[1])


def test_an_adapter_of_every_target_works_on_towers(world: World) -> None:
    done = pretrained(world, OUTSIDE, **tables(world))
    settings = world.settings.with_options(TOWERS | {"evaluate.arms": ["base", "lora", "full"]})
    adapted = adapt(settings, OUTSIDE, world.store, done.run)
    assert adapted.adapter.info.config.describe() == "users:2,items:2,transform:2,bias"
    found = evaluate(settings, OUTSIDE, world.store, done.run, adapted.run)
    assert list(found.results) == ["base", "lora", "full"]
    ready = prepare(OUTSIDE, world.store, done.run, adapted.run)
    assert isinstance(ready.scorer.model, TwoTower)
    _, _, known = ready.scorer.item_vectors([NEVER_SEEN])
    assert known.tolist() == [True]
    scores = ready.scorer.score(ready.arena.members, [NEVER_SEEN] * len(ready.arena.members))
    assert np.isfinite(scores).all()


def test_a_base_without_biases_has_none(world: World) -> None:
    settings = world.settings.with_options({"model.bias": False})
    done = pretrain(settings, [world.logs], world.store)
    base = world.load(done.run)
    assert isinstance(base.model, MatrixFactorization)
    assert base.model.bias is None
    assert not base.info.bias
    assert base.domain_bias == {}
    adapted = adapt(world.settings, "books", world.store, done.run)
    assert adapted.adapter.model.bias is not None
    assert Chosen(base, done.run).base.digest == adapted.adapter.info.base_digest


@pytest.mark.parametrize("name", ["mf", "als", "bpr"])
def test_features_for_a_model_of_ids_alone_are_refused(world: World, name: str) -> None:
    settings = world.settings.with_options(tables(world) | {"model.name": name})
    with pytest.raises(ConfigError, match="--model two-tower"):
        pretrain(settings, [world.logs], world.store)


def test_a_table_without_features_is_refused(world: World) -> None:
    path = world.folder / "titles.parquet"
    ids = world.frame["item_id"].unique()
    pl.DataFrame({"item_id": ids, "title": ids}).write_parquet(path)
    with pytest.raises(ConfigError, match="no column that is a feature"):
        pretrained(world, **{"features.items": str(path)})


def test_a_table_of_other_ids_is_refused(world: World) -> None:
    path = world.folder / "others.parquet"
    pl.DataFrame({"item_id": ["x", "y"], "kind": ["a", "b"]}).write_parquet(path)
    with pytest.raises(DataError, match="train ids"):
        pretrained(world, **{"features.items": str(path)})


def test_a_table_that_is_not_there_is_refused_before_anything_is_trained(
    world: World, tmp_path: Path
) -> None:
    before = world.runs()
    with pytest.raises(DataError, match=r"gone\.parquet"):
        pretrained(world, **{"features.users": str(tmp_path / "gone.parquet")})
    assert world.runs() == before


@pytest.mark.parametrize(
    "way",
    [
        {"train.loss": "bpr"},
        {"train.loss": "ccl"},
        {"train.learn_temperature": True},
        {"train.precision": "bfloat16", "model.history": "attention"},
        {"train.optimizer": "adagrad", "train.negative_sampling": "in-batch"},
    ],
    ids=str,
)
def test_every_way_to_train_trains_towers(world: World, way: dict[str, object]) -> None:
    done = pretrained(world, **tables(world), **way, **{"train.patience": 9})
    assert np.isfinite([epoch["train_loss"] for epoch in done.history.epochs[1:]]).all()
    assert world.load(done.run).digest == done.base.digest


def test_an_adapter_in_bfloat16_adds_features_of_linear_layers_to_known_rows(
    world: World,
) -> None:
    features = {**tables(world), "features.item_columns": {"kind": {"kind": "ignore"}}}
    done = pretrained(world, OUTSIDE, **features, **{"model.history": "none"})
    settings = world.settings.with_options({"train.precision": "bfloat16"})
    assert len(adapt(settings, OUTSIDE, world.store, done.run).history.epochs) > 1


def broken_off(
    settings: Settings, world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave the checkpoint of step 4 of a training that failed at step 5, mid-epoch."""
    train_batch = Training.train_batch

    def failing(self: Training, *arguments: Any) -> None:
        if self.step == 5:
            raise OSError("the disk of the logs is gone")
        train_batch(self, *arguments)

    monkeypatch.setattr(Training, "train_batch", failing)
    saving = Checkpointing(folder, every="2")
    with pytest.raises(OSError, match="is gone"):
        pretrain(settings, [world.logs], world.store, checkpointing=saving)
    monkeypatch.setattr(Training, "train_batch", train_batch)


def test_broken_off_towers_go_on_to_the_same_base(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropping = {"model.dropout": 0.2, "model.id_dropout": 0.2}
    settings = world.settings.with_options(TOWERS | tables(world) | dropping)
    straight = pretrain(settings, [world.logs], world.store).base.digest
    broken_off(settings, world, tmp_path, monkeypatch)
    # The tables may lie elsewhere by now.
    moved = world.folder / "moved.parquet"
    (world.folder / "items.parquet").rename(moved)
    settings = settings.with_options({"features.items": str(moved)})
    going_on = Checkpointing(tmp_path, resume=True)
    resumed = pretrain(settings, [world.logs], world.store, checkpointing=going_on)
    assert resumed.base.digest == straight


def test_a_checkpoint_of_other_features_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = world.settings.with_options(TOWERS | tables(world))
    broken_off(settings, world, tmp_path, monkeypatch)
    path = world.folder / "items.parquet"
    changed = pl.read_parquet(path).with_columns(pl.col("price") + 1)
    changed.write_parquet(path)
    going_on = Checkpointing(tmp_path, resume=True)
    with pytest.raises(ConfigError, match=r"1 differ\): features\.items is"):
        pretrain(settings, [world.logs], world.store, checkpointing=going_on)


def test_an_item_that_was_appended_to_the_base_is_in_no_history(world: World) -> None:
    base = pretrained(world, OUTSIDE).base
    frame, _ = base.info.data.read_again(base.info.split)
    arena = Arena.of(frame, OUTSIDE)
    new = pl.Series(sorted(set(arena.catalogue.series) - set(base.items.ids)))
    tables = plain_tables(base.model)
    more = torch.ones(len(new), base.model.dim)
    longer = replace(
        base,
        model=base.model.replaced(
            items=table_of(torch.cat([tables["items"], more])),
            bias=ItemBias(torch.cat([tables["bias"], torch.zeros(len(new), 1)])),
        ),
        items=base.items.extend(new),
    )
    assert len(new)
    then, now = (arena.scorer(b, None).user_vectors(arena.members) for b in (base, longer))
    assert np.array_equal(then[1], now[1])
    assert np.array_equal(then[0], now[0])


def test_towers_can_be_imported_with_their_features(world: World) -> None:
    done = pretrained(world, **tables(world))
    again = import_base(world.settings, [done.run], [world.logs], world.store)
    loaded = world.load(again.run)
    assert loaded.digest == done.base.digest
    assert loaded.features["items"].described == done.base.features["items"].described


def test_the_same_seed_gives_the_same_towers(world: World) -> None:
    made = [pretrained(world, **{"model.dropout": 0.2, "model.id_dropout": 0.2}) for _ in range(2)]
    assert made[0].base.digest == made[1].base.digest
