"""Bases that implicit trains inside: recorded, repeatable and adaptable as any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits
from world import World

from lorarec.data.interactions import Interactions
from lorarec.data.splits import apply_split
from lorarec.errors import DivergedError, TrainingError
from lorarec.jobs.pretrain import Pretrained, pretrain


def trained(world: World, model: str, **settings: Any) -> Pretrained:
    given = {name.replace("__", "."): value for name, value in settings.items()}
    chosen = world.settings.with_options({"model.name": model, "train.epochs": 6, **given})
    return pretrain(chosen, [world.logs], world.store)


@pytest.mark.parametrize("model", ["als", "bpr"])
def test_it_is_an_ordinary_base_that_an_adapter_helps(world: World, model: str) -> None:
    done = trained(world, model)
    run, base = world.run(done.run), world.load(done.run)
    assert (run.kind, run.name) == ("pretrain", f"pretrain-{model}-d8")
    assert base.info.digest == done.base.digest == run.tag("base_digest")
    assert (base.info.similarity, base.info.bias) == ("dot", model == "bpr")
    assert base.users == world.load(world.base).users
    assert base.info.split == world.load(world.base).info.split
    adapted = world.adapt("books", {"adapt.epochs": 6}, base=done.run)
    assert adapted.adapter.info.metrics["valid_ndcg"] > adapted.untrained["valid_ndcg"]


@pytest.mark.parametrize("model", ["als", "bpr"])
def test_the_same_seed_gives_the_same_base_and_another_does_not(world: World, model: str) -> None:
    first, again = (trained(world, model).base.digest for _ in range(2))
    assert first == again != trained(world, model, train__seed=1).base.digest


def test_the_best_pass_is_kept(world: World) -> None:
    done = trained(world, "bpr")
    passes = [metrics["valid_ndcg"] for metrics in done.history.epochs[1:]]
    assert len(passes) == 6
    assert (
        done.base.info.metrics["valid_ndcg"] == max(passes) == passes[done.history.best_epoch - 1]
    )


def test_als_stops_when_validation_has_long_not_been_better(world: World) -> None:
    done = trained(world, "als", train__epochs=60, train__patience=2)
    assert len(done.history.epochs) - 1 == done.history.best_epoch + 2 < 60


def test_als_ranks_as_implicits_own_of_the_same_settings(world: World) -> None:
    done = trained(world, "als", train__epochs=1, implicit__alpha=5.0, implicit__regularization=0.3)
    with threadpool_limits(1, "blas"):
        from implicit.cpu.als import AlternatingLeastSquares

        frame = apply_split(done.base.info.data.read()[0], done.base.info.split)
        train = frame.filter(pl.col("split") == "train")
        pairs = Interactions.from_frame(train, done.base.users, done.base.items).csr(weighted=True)
        own = AlternatingLeastSquares(
            factors=8, regularization=0.3, alpha=5.0, iterations=1, num_threads=1, random_state=0
        )
        own.fit(pairs, show_progress=False)
    tables = {name: table.numpy() for name, table in done.base.model.tables().items()}
    found, expected = tables["users"] @ tables["items"].T, own.user_factors @ own.item_factors.T
    scale = np.median(found / expected)
    assert np.log2(scale) == pytest.approx(round(np.log2(scale)), abs=1e-4)
    np.testing.assert_allclose(found, expected * scale, rtol=1e-3, atol=1e-3 * scale)


def test_numbers_that_are_not_finite_end_with_what_to_try(world: World) -> None:
    with pytest.raises(DivergedError, match=r"--set implicit\.learning_rate"):
        trained(world, "bpr", implicit__learning_rate=1e30)
    assert world.newest().status == "FAILED"


def test_rows_of_no_weight_are_nothing_to_train_on(world: World) -> None:
    path = world.folder / "light.parquet"
    world.frame.with_columns(weight=pl.lit(0.0)).write_parquet(path)
    settings = world.settings.with_options({"model.name": "als"})
    with pytest.raises(TrainingError, match="All train rows have weight 0"):
        pretrain(settings, [path], world.store)
