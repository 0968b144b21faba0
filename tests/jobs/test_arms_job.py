"""The arms beside popularity, base, adapter and full fine-tuning."""

from __future__ import annotations

from typing import get_args

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from world import World

from lorarec.config.arms import Arm
from lorarec.evaluation.baselines import dense_ranking
from lorarec.jobs.evaluate import Evaluated, evaluate
from lorarec.jobs.peers import Ease, ItemKnn
from lorarec.tracking.registry import newest_adapter


def run(world: World, arms: str) -> Evaluated:
    settings = world.settings.with_options({"evaluate.arms": arms, "train.epochs": 1})
    return evaluate(settings, "books", world.store)


def test_all_arms_rank_for_the_same_users(world: World) -> None:
    found = run(world, "all")
    assert tuple(found.results) == get_args(Arm)
    users = found.results["base"].users
    assert all(np.array_equal(result.users, users) for result in found.results.values())
    assert set(found.differences) == set(get_args(Arm)) - {"base"}
    # What is tuned on the same rows beats chance by far: there are some 70 items.
    for arm in ("knn", "ease", "ials"):
        assert found.results[arm].intervals["recall_at_20"].mean > 0.3
    sizes = {arm: result.parameters for arm, result in found.results.items()}
    assert sizes["popularity"] is None
    assert sizes["base"] == 0
    assert 0 < sizes["bias"] < sizes["lora"]


def test_the_arm_bias_is_made_once_and_taken_by_no_other_command(world: World) -> None:
    before = newest_adapter(world.store, domain="books")
    first = run(world, "base,bias")
    made = world.runs()
    second = run(world, "base,bias")
    assert world.runs() == made + 1  # the evaluation alone
    assert newest_adapter(world.store, domain="books") == before
    np.testing.assert_array_equal(
        first.results["bias"].per_user["ndcg_at_20"], second.results["bias"].per_user["ndcg_at_20"]
    )


def test_dense_scores_are_ranked_as_an_index_ranks_them() -> None:
    scores = [[1.0, 3.0, 3.0, -2.0], [0.0, -0.0, -1.0, 0.0], [1.0, 2.0, 3.0, 4.0]]
    seen = csr_matrix(np.array([[0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]]))
    ranked = dense_ranking(scores, 3, seen)
    assert ranked.tolist() == [[2, 0, 3], [0, 1, 3], [3, -1, -1]]
    assert dense_ranking(scores, 6, seen)[2].tolist() == [3, -1, -1, -1, -1, -1]


@pytest.fixture
def frame() -> pl.DataFrame:
    pairs = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "2"), ("c", "3"), ("d", "1")]
    users, items = zip(*pairs, strict=True)
    return pl.DataFrame({"user_id": users, "item_id": items}).with_columns(split=pl.lit("train"))


def test_item_knn_scores_by_cosine(frame: pl.DataFrame) -> None:
    scores = ItemKnn(frame, 3).matrix(pl.Series(["d"]), pl.Series(["2", "3", "nothing"]))
    assert scores[0].tolist() == pytest.approx([2 / 3, 0.0, 0.0])


def test_ease_has_no_weight_from_an_item_to_itself(frame: pl.DataFrame) -> None:
    assert (np.diagonal(Ease(frame, 2.0).weights) == 0).all()
