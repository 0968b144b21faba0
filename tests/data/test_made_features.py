"""Side features tell of taste, and not too much."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from lorarec.data.made.taste import KINDS, TOPICS
from lorarec.data.synthetic import World, item_features, make_world, user_features

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def items(world: World) -> pl.DataFrame:
    return item_features(world)


@pytest.fixture(scope="module")
def users(world: World) -> pl.DataFrame:
    return user_features(world)


def nearest_centroid(vectors: Array, labels: Array) -> float:
    """Share of the second half whose label is that of the nearest centroid of the first half."""
    half = len(vectors) // 2
    names = np.unique(labels[:half])
    centroids = np.stack([vectors[:half][labels[:half] == name].mean(axis=0) for name in names])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return float((names[np.argmax(vectors[half:] @ centroids.T, axis=1)] == labels[half:]).mean())


def explained(inputs: Array, outputs: Array) -> float:
    """R² of the best linear map, on the second half after fitting on the first."""
    half = len(inputs) // 2
    inputs = np.column_stack([inputs, np.ones(len(inputs))])
    fitted = np.linalg.lstsq(inputs[:half], outputs[:half], rcond=None)[0]
    rest = outputs[half:] - inputs[half:] @ fitted
    spread = outputs[half:] - outputs[half:].mean(axis=0)
    return 1 - float((rest**2).sum() / (spread**2).sum())


def test_every_user_and_item_has_its_row(
    world: World, items: pl.DataFrame, users: pl.DataFrame
) -> None:
    assert set(world.logs["item_id"]) <= set(items["item_id"])
    assert set(world.logs["user_id"]) == set(users["user_id"])
    assert items["item_id"].is_sorted()
    assert items["item_id"].n_unique() == items.height == 1200


def test_columns_have_their_types(items: pl.DataFrame, users: pl.DataFrame) -> None:
    assert items.schema == {
        "item_id": pl.String,
        "category": pl.String,
        "tags": pl.List(pl.String),
        "price": pl.Float32,
        "embedding": pl.Array(pl.Float32, 8),
    }
    assert users.schema == {"user_id": pl.String, "segment": pl.String, "age": pl.Float32}


def test_taste_tells_an_item_s_category(world: World, items: pl.DataFrame) -> None:
    assert nearest_centroid(world.item_factors, items["category"].to_numpy()) > 0.5


def test_the_embedding_tells_an_item_s_category(items: pl.DataFrame) -> None:
    found = nearest_centroid(items["embedding"].to_numpy(), items["category"].to_numpy())
    assert 0.2 < found < 0.9


def test_taste_tells_a_user_s_segment(world: World, users: pl.DataFrame) -> None:
    assert nearest_centroid(world.user_factors, users["segment"].to_numpy()) > 2 / 8


def test_a_category_is_sometimes_wrong(world: World, items: pl.DataFrame) -> None:
    topic = np.arange(KINDS)[world.taste.item_kind] % TOPICS
    told = items["category"].str.slice(1).cast(int).to_numpy()
    assert 0.85 < (told == topic).mean() < 0.98


def test_numbers_follow_taste(world: World, items: pl.DataFrame, users: pl.DataFrame) -> None:
    price, age = np.log(items["price"].to_numpy()), users["age"].to_numpy()
    assert 0.4 < explained(world.item_factors, price) < 0.98
    assert 0.4 < explained(world.user_factors, age) < 0.98
    assert 18 <= age.min() <= age.max() <= 90


def test_the_embedding_is_a_noisy_projection_of_taste(world: World, items: pl.DataFrame) -> None:
    assert 0.6 < explained(world.item_factors, items["embedding"].to_numpy()) < 0.98


def test_tags_are_one_to_four_and_mostly_the_topic_s(world: World, items: pl.DataFrame) -> None:
    assert items["tags"].list.len().is_between(1, 4).all()
    assert items["tags"].list.n_unique().equals(items["tags"].list.len())
    topic = world.taste.item_kind % TOPICS
    one = items.filter(pl.Series(topic == 3))["tags"].explode(empty_as_null=True)
    assert one.value_counts(sort=True)["count"][:6].sum() > 0.6 * len(one)


def test_features_come_with_the_seed(world: World, items: pl.DataFrame) -> None:
    assert item_features(make_world()).equals(items)
    assert not item_features(make_world(seed=1)).equals(items)
