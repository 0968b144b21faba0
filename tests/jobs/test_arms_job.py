"""The arms beside popularity, base, adapter and full fine-tuning."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from world import DOMAINS, World

from lorarec.config.arms import PLAIN
from lorarec.evaluation.baselines import dense_ranking
from lorarec.jobs import trained_arms
from lorarec.jobs.base_training import train_base
from lorarec.jobs.evaluate import Evaluated, evaluate
from lorarec.jobs.evaluate_domains import evaluate_domains
from lorarec.jobs.peers import Ease, ItemKnn
from lorarec.jobs.sweep import sweep
from lorarec.tracking.registry import newest_adapter, runs_of


def run(world: World, arms: str) -> Evaluated:
    settings = world.settings.with_options({"evaluate.arms": arms, "train.epochs": 1})
    return evaluate(settings, "books", world.store)


def test_all_arms_rank_for_the_same_users(world: World) -> None:
    found = run(world, "all")
    assert tuple(found.results) == PLAIN
    users = found.results["base"].users
    assert all(np.array_equal(result.users, users) for result in found.results.values())
    assert set(found.differences) == set(PLAIN) - {"base"}
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


def test_an_arm_of_a_rank_is_the_newest_adapter_that_was_asked_for_with_it(world: World) -> None:
    swept = sweep(world.settings.with_options({"adapt.rank": "1,4"}), "books", world.store)
    other = next(rank for rank in (1, 4) if rank != swept.curve.chosen)
    before = world.runs()
    found = run(world, f"base,lora:{other},lora:{swept.curve.chosen}")
    assert world.runs() == before + 1  # the evaluation alone
    own = evaluate(
        world.settings.with_options({"evaluate.arms": "base,lora"}),
        "books",
        world.store,
        adapter=swept.adapters[other].run,
    )
    arm = f"lora:{other}"
    np.testing.assert_array_equal(
        found.results[arm].per_user["ndcg_at_20"], own.results["lora"].per_user["ndcg_at_20"]
    )
    assert found.results["lora:1"].parameters < found.results["lora:4"].parameters
    recorded = world.run(found.run)
    assert recorded.metrics[f"{arm}_recall_at_20"] == pytest.approx(
        found.results[arm].intervals["recall_at_20"].mean
    )
    assert (world.artifacts(found.run) / "per_user" / f"{arm}.parquet").exists()


def test_an_arm_of_a_rank_is_trained_once_and_taken_by_no_other_command(world: World) -> None:
    before = newest_adapter(world.store, domain="books")
    first = run(world, "base,lora:8")
    made = list(runs_of(world.store, "adapt"))
    assert (made[0].tag("chosen"), made[0].params["adapt.rank"]) == ("no", "8")
    assert newest_adapter(world.store, domain="books") == before
    # Rank 8 of 8 dimensions saves nothing, so it has values of its own: of rank 8 all the same.
    again = run(world, "base,lora:8")
    assert list(runs_of(world.store, "adapt")) == made
    assert again.results["lora:8"].parameters == first.results["lora:8"].parameters


def test_the_arm_of_the_bias_is_not_one_of_rank_1(world: World) -> None:
    run(world, "base,bias")
    found = run(world, "bias,lora:1")
    assert found.results["bias"].parameters < found.results["lora:1"].parameters


def test_pooled_knows_nothing_of_domains_and_is_trained_once_for_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[list[str], int]] = []

    def watched(settings: object, frame: pl.DataFrame, *rest: object) -> object:
        trained.append((frame["domain"].unique().to_list(), frame.height))
        return train_base(settings, frame, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(trained_arms, "train_base", watched)
    settings = world.settings.with_options({"evaluate.arms": "base,pooled"})
    found = evaluate_domains(settings, world.store)
    assert trained == [(["pooled"], world.frame.height)]
    assert {d.arm for d in found.differences} == {"pooled"}
    assert {d.domain for d in found.differences} == set(DOMAINS)
    own = found.domains["books"].results["pooled"]
    assert own.parameters is not None
    alone = run(world, "alone").results["alone"].parameters
    assert alone is not None
    assert own.parameters > alone


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
