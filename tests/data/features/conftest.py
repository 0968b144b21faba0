"""A small table of films with a feature of every kind."""

from __future__ import annotations

import polars as pl
import pytest

from lorarec.data.features import FeatureSpec

TRAIN = ["a", "b", "c", "d"]


@pytest.fixture
def films() -> pl.DataFrame:
    """`a` to `d` are in train; `cold` has features and no interaction."""
    return pl.DataFrame(
        {
            "item_id": [*TRAIN, "cold"],
            "maker": ["x", "y", "x", None, "new"],
            "genres": [["Drama", "War"], ["Drama"], [], None, ["War", "Opera", "Rap"]],
            "price": [1.0, 3.0, None, 5.0, 7.0],
            "image": [[3.0, 4.0], [0.0, 0.0], [1.0, 0.0], [0.0, -2.0], [5.0, 12.0]],
        }
    )


@pytest.fixture
def specs() -> list[FeatureSpec]:
    return [
        FeatureSpec(name="maker", kind="categorical", min_count=1),
        FeatureSpec(name="genres", kind="categories", min_count=1),
        FeatureSpec(name="price", kind="numeric"),
        FeatureSpec(name="image", kind="vector", dim=2),
    ]
