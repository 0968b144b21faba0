"""Where the rows of new ids start: by the ridge, over new neighbours, by towers, or at the mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from world import OUTSIDE, World

from lorarec.data.logs import load_logs
from lorarec.data.splits import apply_split
from lorarec.jobs.cold import with_cold
from lorarec.jobs.domain import DomainData, domain_data
from lorarec.jobs.grown import OTHERS, grown_rows
from lorarec.jobs.pretrain import pretrain
from lorarec.models.two_tower import TwoTower

Array = np.ndarray[Any, Any]
RIDGE = 0.8


def train_of(base: Any, pairs: list[tuple[str, str]]) -> DomainData:
    rows = [(user, item, "books", "train") for user, item in pairs]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "domain", "split"], orient="row")
    frame = frame.with_columns(
        weight=pl.lit(1.0, pl.Float32), timestamp=pl.lit(None, pl.Int64), rating=pl.lit(None)
    )
    return domain_data(base, frame, "books")


def started(base: Any, data: DomainData, ridge: float = RIDGE) -> tuple[Array, Array]:
    users, items = grown_rows(base, data.train, data.users, data.items, ridge)
    return users.numpy(), items.numpy()


def unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def solved(own: Array, all_rows: Array) -> Array:
    """The ridge of one row, densely: partners and all rows of the domain, as directions."""
    system = own.T @ own + OTHERS * all_rows.T @ all_rows + RIDGE * np.eye(own.shape[1])
    return unit(np.linalg.solve(system, own.sum(0)))


def tables(base: Any) -> tuple[Array, Array]:
    return tuple(unit(base.model.tables()[name].numpy()) for name in ("users", "items"))  # type: ignore[return-value]


def test_a_new_user_starts_at_the_ridge_solution_over_the_domain_s_items(base_maker: Any) -> None:
    base = base_maker()
    data = train_of(base, [("new", "i2"), ("new", "i5"), ("u1", "i5"), ("u1", "i7")])
    items = tables(base)[1]
    expected = solved(items[[2, 5]], items[[2, 5, 7]])
    length = base.model.tables()["users"].norm(dim=-1).mean()
    np.testing.assert_allclose(started(base, data)[0][0], expected * float(length), rtol=1e-5)


def test_a_new_item_and_its_new_user_are_solved_in_turn_and_once_more(base_maker: Any) -> None:
    base = base_maker()
    data = train_of(base, [("new", "i2"), ("new", "fresh"), ("u1", "fresh"), ("u1", "i7")])
    users, items = tables(base)
    user = solved(items[[2]], items[[2, 7]])
    item = solved(np.stack([users[1], user]), np.stack([users[1], user]))
    user = solved(np.stack([items[2], item]), np.stack([items[2], items[7], item]))
    item = solved(np.stack([users[1], user]), np.stack([users[1], user]))
    found = started(base, data)
    np.testing.assert_allclose(unit(found[0][0]), user, rtol=1e-5)
    np.testing.assert_allclose(unit(found[1][0]), item, rtol=1e-5)


def test_a_user_of_new_items_alone_is_reached_over_their_other_users(base_maker: Any) -> None:
    base = base_maker()
    data = train_of(base, [("far", "fresh"), ("u1", "fresh"), ("u1", "i7"), ("u4", "i2")])
    users = tables(base)[0]
    far = unit(started(base, data)[0][0])
    mean = unit(users[[1, 4]].mean(0))
    assert far @ unit(started(base, data)[1][0]) > 0.9
    assert not np.allclose(far, mean, atol=0.1)


def test_what_met_nothing_known_starts_at_the_mean_direction_of_the_domain(base_maker: Any) -> None:
    base = base_maker()
    data = train_of(base, [("lone", "fresh"), ("u1", "i7"), ("u4", "i2")])
    users, items = tables(base)
    found = started(base, data)
    np.testing.assert_allclose(unit(found[0][0]), unit(users[[1, 4]].mean(0)), rtol=1e-5)
    np.testing.assert_allclose(unit(found[1][0]), unit(items[[2, 7]].mean(0)), rtol=1e-5)


def test_a_large_ridge_starts_a_user_between_its_items(base_maker: Any) -> None:
    base = base_maker()
    data = train_of(base, [("new", "i2"), ("new", "i5"), ("u1", "i5"), ("u1", "i7")])
    between = unit(tables(base)[1][[2, 5]].sum(0))
    far = [unit(started(base, data, ridge)[0][0]) @ between for ridge in (0.1, 1e8)]
    assert far[1] == pytest.approx(1.0)
    assert far[0] < 0.999


@pytest.mark.parametrize("history", ["mean", "none"])
def test_towers_say_where_a_row_starts_that_they_know_something_of(
    world: World, history: str
) -> None:
    """By a history, users that had a known item; by features alone, the items that have some."""
    features = {}
    if history == "none":
        ids = world.frame["item_id"].unique().sort()
        table = pl.DataFrame({"item_id": ids, "price": np.linspace(1, 9, len(ids))})
        table.write_parquet(world.folder / "items.parquet")
        features = {"features.items": str(world.folder / "items.parquet")}
    options = {"model.name": "two-tower", "model.history": history, "train.epochs": 1}
    settings = world.settings.with_options(options | features)
    base = pretrain(settings, [world.logs], world.store, [OUTSIDE]).base
    assert isinstance(base.model, TwoTower)
    frame = apply_split(load_logs([world.logs]), base.info.split)
    data = domain_data(base, frame, OUTSIDE)
    users, items = started(base, data)
    train = frame.filter((pl.col("domain") == OUTSIDE) & (pl.col("split") == "train"))
    model, *known = with_cold(base, base.model, base.users, base.items, train, data.items.series)
    if history == "mean":
        new, vectors, inputs, rows = data.users, users, model.user_inputs, known[0]
        count = len(base.users)
    else:
        new, vectors, inputs, rows = data.items, items, model.item_inputs, known[1]
        count = len(base.items)
    place = rows.rows(new.series[count:], missing="mark")
    cold = place >= 0
    assert cold.any()
    with torch.no_grad():
        expected = inputs(torch.from_numpy(place[cold])).numpy()
    np.testing.assert_allclose(vectors[cold], expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(vectors).all()
    assert (np.linalg.norm(vectors[~cold], axis=1) > 0).all()
