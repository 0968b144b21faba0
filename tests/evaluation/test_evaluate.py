from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from lorarec.errors import DataError, NotFoundError
from lorarec.evaluation.evaluate import ArmResult, compare, evaluate_ranking
from lorarec.evaluation.metrics import HeldOut

HELD_OUT = HeldOut.from_pairs([0, 1, 3, 3], [1, 2, 3, 77], 4)
RANKED = np.array([[1, 2], [-1, -1], [1, 2], [3, 4]])


def evaluated(name: str = "lora", **options) -> ArmResult:
    options = {"catalogue": np.arange(8), "cold": [True, False, False, False]} | options
    return evaluate_ranking(RANKED, HELD_OUT, (1, 2), name=name, **options)


def test_users_without_held_out_items_are_left_out_and_counted():
    result = evaluated()
    assert result.users.tolist() == [0, 1, 3]
    assert (result.counts.users, result.counts.without_held_out) == (3, 1)


def test_users_without_recommendations_count_zero_and_are_counted():
    result = evaluated()
    assert result.per_user["recall_at_2"].tolist() == [1.0, 0.0, 0.5]
    assert result.intervals["recall_at_2"].mean == pytest.approx(0.5)
    assert result.counts.without_recommendations == 1


def test_certain_misses_are_counted():
    assert evaluated().counts.outside_catalogue == 1
    assert evaluated(catalogue=None).counts.outside_catalogue is None


def test_cold_users_are_a_segment():
    result = evaluated()
    assert result.segments["new_users"]["recall_at_1"].mean == 1.0
    assert result.segments["known_users"]["recall_at_1"].mean == 0.25
    assert result.counts.cold_users == 1


def test_a_segment_of_nobody_is_absent():
    assert list(evaluated(cold=np.zeros(4)).segments) == ["known_users"]
    assert evaluated(cold=None).segments == {}


def test_coverage_is_among_the_metrics():
    metrics = evaluated().metrics()
    assert metrics["catalogue_coverage_at_2"] == 0.5
    assert metrics["user_coverage"] == 0.75


def test_json_is_plain_and_names_catalogue_and_denominator():
    plain = json.loads(json.dumps(evaluated(parameters=12).to_json(), allow_nan=False))
    assert plain["catalogue"] == "domain"
    assert plain["recall_denominator"] == "held-out"
    assert plain["parameters"] == 12
    assert plain["metrics"]["recall_at_2"]["n"] == 3


def test_the_frame_has_a_row_an_evaluated_user():
    frame = evaluated().per_user_frame(["a", "b", "c", "d"])
    assert frame["user_id"].to_list() == ["a", "b", "d"]
    assert frame["cold"].to_list() == [True, False, False]
    assert frame["recall_at_2"].to_list() == [1.0, 0.0, 0.5]


def test_the_frame_has_null_where_cold_is_not_known(tmp_path):
    frame = evaluated(cold=None).per_user_frame(np.array([1, 2, 3, 4]))
    frame.write_parquet(tmp_path / "users.parquet")
    assert pl.read_parquet(tmp_path / "users.parquet")["cold"].null_count() == 3
    assert frame["user_id"].to_list() == ["1", "2", "4"]


def test_too_few_user_ids_are_refused():
    with pytest.raises(DataError, match="at least 4"):
        evaluated().per_user_frame(["a", "b"])


def test_an_evaluation_of_nobody_is_refused():
    with pytest.raises(DataError, match="None of 1 users has held-out items"):
        evaluate_ranking([[1]], HeldOut.from_pairs([], [], 1), (1,))


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(NotFoundError, match="'recall'"):
        evaluated(metrics=["recal"])


def arms(users: int = 200) -> dict[str, ArmResult]:
    rng = np.random.default_rng(0)
    wanted = rng.integers(0, 20, users)
    held = HeldOut.from_pairs(np.arange(users), wanted, users)
    guesses = np.stack([rng.permutation(20)[:5] for _ in range(users)])
    better = guesses.copy()
    better[::2] = np.arange(20, 25)
    better[::2, 0] = wanted[::2]
    rankings = {"base": guesses, "same": guesses, "better": better}
    return {
        name: evaluate_ranking(ranked, held, (1, 5), name=name) for name, ranked in rankings.items()
    }


def test_arms_are_compared_by_user():
    results = arms()
    found = compare(results, "base")
    assert list(found) == ["same", "better"]
    assert found["same"]["recall_at_5"].interval.mean == 0
    assert found["same"]["recall_at_5"].p_value == 1.0
    better = found["better"]["recall_at_5"]
    expected = results["better"].per_user["recall_at_5"] - results["base"].per_user["recall_at_5"]
    assert better.interval.mean == pytest.approx(expected.mean())
    assert better.interval.low > 0
    assert better.p_value < 0.01


def test_arms_of_other_users_are_not_compared():
    with pytest.raises(DataError, match="not the same"):
        compare({"base": arms(10)["base"], "lora": arms(11)["base"]}, "base")


def test_an_unknown_baseline_or_metric_is_refused():
    with pytest.raises(NotFoundError, match=r"no arm 'bse'.*'base'"):
        compare(arms(10), "bse")
    with pytest.raises(NotFoundError, match="recall_at_7"):
        compare(arms(10), "base", metrics=["recall_at_7"])
