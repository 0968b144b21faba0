"""A stranger's history through towers that pool histories."""

from __future__ import annotations

import polars as pl
import pytest
from world import OUTSIDE, World

from lorarec.jobs.pretrain import pretrain
from lorarec.jobs.recommend import prepare, recommend
from lorarec.serving.pool import Pool
from lorarec.serving.snapshot import Query
from lorarec.serving.store import StoreSource


def test_a_history_that_is_given_ranks_as_the_same_history_in_the_logs(world: World) -> None:
    towers = {"model.name": "two-tower", "model.layers": [8], "model.history": "mean"}
    settings = world.settings.with_options(towers)
    done = pretrain(settings, [world.logs], world.store, [OUTSIDE])
    ready = prepare(OUTSIDE, world.store, done.run, "none")
    train = ready.arena.frame.filter(
        (pl.col("split") == "train") & pl.col("item_id").is_in(done.base.items.series.implode())
    )
    new = train.filter(~pl.col("user_id").is_in(done.base.users.series.implode()))
    user = new["user_id"].sort()[0]
    history = tuple(new.filter(user_id=user)["item_id"].unique())
    (answer,) = Pool(StoreSource(world.store, done.run)).answer(
        [Query(OUTSIDE, None, history, k=1000)]
    )
    assert answer.found.fallback == "history"
    scores = dict(zip(answer.found.items, answer.found.scores, strict=True))
    wanted = recommend(ready, user, 10)
    assert [scores[item] for item in wanted.items] == pytest.approx(wanted.scores, rel=1e-5)
