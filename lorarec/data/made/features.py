"""Side features that say something of taste, so that what has no history yet can be placed."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from lorarec.data.made.streams import stream
from lorarec.data.made.table import ids
from lorarec.data.made.taste import DIM, KINDS, TOPICS
from lorarec.data.made.truth import World

Array = np.ndarray[Any, Any]

EMBEDDING = 8  # numbers in an item's dense vector
_NOISE = 0.15  # of each of them; the vector without noise has a length of about 1
_WRONG = 0.1  # chance of a category, or of a user's segment, that says nothing
_TAGS = 60
_TAGS_OF_A_TOPIC = 6
_MOST_TAGS = 4
_OTHER_TAG = -3.0  # log-odds of a tag that is not of the topic against one that is


def item_features(world: World) -> pl.DataFrame:
    """What is known of items apart from who had them.

    Returns:
        By item: `item_id`; `category` (String): the topic, or any topic in a tenth of items;
        `tags` (List of String): 1 to 4 distinct, mostly those of the topic; `price` (Float32):
        lognormal, rising along one direction of q; `embedding` (Array of 8 Float32): q through a
        fixed random matrix, and noise.
    """
    kinds, items = world.taste.item_kind, len(world.taste.item_kind)
    rng = stream(world.seed, "item features")
    direction, matrix = rng.standard_normal(DIM), rng.standard_normal((DIM, EMBEDDING))
    factors = world.item_factors
    topic = np.arange(KINDS)[kinds] % TOPICS
    price = np.exp(2.5 + 0.4 * (factors @ direction) + 0.2 * rng.standard_normal(items))
    embedding = factors @ (matrix / np.sqrt(EMBEDDING))
    embedding += _NOISE * rng.standard_normal((items, EMBEDDING))
    return pl.DataFrame(
        {
            "item_id": ids("i", items),
            "category": _named("c", _mostly(rng, topic), TOPICS),
            "tags": _tags(rng, topic),
            "price": pl.Series(price, dtype=pl.Float32).round(2),
            "embedding": pl.Series(
                embedding.astype(np.float32), dtype=pl.Array(pl.Float32, EMBEDDING)
            ),
        }
    )


def user_features(world: World) -> pl.DataFrame:
    """What is known of users apart from what they had.

    Returns:
        By user: `user_id`; `segment` (String): one for three topics, or any in a tenth of users;
        `age` (Float32), in years: 18 to 90, rising along one direction of p.
    """
    users = len(world.taste.users)
    rng = stream(world.seed, "user features")
    direction = rng.standard_normal(DIM)
    age = 42 + 10 * (world.taste.users @ direction) + 6 * rng.standard_normal(users)
    segment = _mostly(rng, world.taste.user_topic) % (TOPICS // 3)
    return pl.DataFrame(
        {
            "user_id": ids("u", users),
            "segment": _named("s", segment, TOPICS // 3),
            "age": pl.Series(np.clip(age, 18, 90), dtype=pl.Float32).round(0),
        }
    )


def _mostly(rng: np.random.Generator, topic: Array) -> Array:
    """The topics, but for a share that are drawn anew."""
    wrong = rng.random(len(topic)) < _WRONG
    return np.where(wrong, rng.integers(TOPICS, size=len(topic)), topic)


def _named(prefix: str, numbers: Array, count: int) -> pl.Series:
    names = pl.Series([f"{prefix}{n:02d}" for n in range(count)])
    return names.gather(pl.Series(numbers))


def _tags(rng: np.random.Generator, topic: Array) -> pl.Series:
    """Tags without repeats, each topic's own six far more likely than others."""
    own = np.argsort(rng.random((TOPICS, _TAGS)), axis=1) < _TAGS_OF_A_TOPIC
    keys = np.where(own, 0.0, _OTHER_TAG)[topic] + rng.gumbel(size=(len(topic), _TAGS))
    best = np.sort(np.argpartition(-keys, _MOST_TAGS, axis=1)[:, :_MOST_TAGS], axis=1)
    # Any of the best four may be left out, but not all of them.
    kept = rng.random(best.shape) < 0.5
    kept[np.arange(len(topic)), rng.integers(_MOST_TAGS, size=len(topic))] = True
    flat = pl.DataFrame({"item": np.nonzero(kept)[0], "tag": _named("t", best[kept], _TAGS)})
    return flat.group_by("item", maintain_order=True).agg("tag")["tag"]
