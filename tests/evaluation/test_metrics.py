from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.errors import ConfigError, DataError
from lorarec.evaluation.metrics import (
    METRICS,
    HeldOut,
    catalogue_coverage_at,
    match,
    metric_key,
    sampled_hit_rate_at,
    sampled_ndcg_at,
    user_coverage,
)
from lorarec.retrieval.index import ExactIndex


def held_out(*items: list[int]) -> HeldOut:
    pairs = [(user, item) for user, rows in enumerate(items) for item in rows]
    users, rows = zip(*pairs, strict=True) if pairs else ((), ())
    return HeldOut.from_pairs(users, rows, len(items))


def naive(ranked: list[int], relevant: set[int], k: int) -> dict[str, float]:
    """One user, by the definitions, in plain Python."""
    found = [rank for rank, item in enumerate(ranked[:k], 1) if item in relevant]
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))
    return {
        "recall": len(found) / len(relevant),
        "recall_min": len(found) / min(k, len(relevant)),
        "ndcg": sum(1 / math.log2(rank + 1) for rank in found) / ideal,
        "hit_rate": 1.0 if found else 0.0,
        "mrr": 1 / found[0] if found else 0.0,
        "map": sum((n + 1) / rank for n, rank in enumerate(found)) / len(relevant),
    }


# Ranked 10, 11, 12, 13, 14; held out 10, 12 and 99: hits at ranks 1 and 3, three held out.
BY_HAND = {
    ("recall", 2): 1 / 3,
    ("recall", 5): 2 / 3,
    ("recall_min", 2): 1 / 2,
    ("recall_min", 5): 2 / 3,
    ("ndcg", 2): 1 / (1 + 0.6309297535714575),
    ("ndcg", 5): 1.5 / (1 + 0.6309297535714575 + 0.5),
    ("hit_rate", 2): 1.0,
    ("mrr", 5): 1.0,
    ("map", 2): 1 / 3,
    ("map", 5): (1 + 2 / 3) / 3,
}


@pytest.mark.parametrize(("metric", "k"), BY_HAND)
def test_the_table_computed_by_hand(metric, k):
    hits = match([[10, 11, 12, 13, 14]], held_out([10, 12, 99]))
    assert METRICS[metric](hits, k)[0] == pytest.approx(BY_HAND[metric, k], abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_metrics_agree_with_plain_loops(data):
    users, length = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 8))
    items = st.integers(0, 12)
    rankings = [data.draw(st.lists(items, max_size=length, unique=True)) for _ in range(users)]
    relevant = [data.draw(st.sets(items, min_size=1, max_size=9)) for _ in range(users)]
    ranked = [items + [-1] * (length - len(items)) for items in rankings]
    hits = match(ranked, held_out(*map(list, relevant)))
    k = data.draw(st.integers(1, length))
    expected = [naive(r, h, k) for r, h in zip(rankings, relevant, strict=True)]
    for name, metric in METRICS.items():
        np.testing.assert_allclose(metric(hits, k), [e[name] for e in expected], atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_metrics_agree_with_ranx():
    ranx = pytest.importorskip("ranx", reason="ranx is a peer of the extra `bench`")
    rng = np.random.default_rng(0)
    ranked = np.stack([rng.permutation(60)[:20] for _ in range(50)])
    relevant = [rng.choice(60, rng.integers(1, 30), replace=False).tolist() for _ in range(50)]
    qrels = ranx.Qrels({str(u): {str(i): 1 for i in r} for u, r in enumerate(relevant)})
    run = ranx.Run(
        {str(u): {str(i): 20.0 - rank for rank, i in enumerate(r)} for u, r in enumerate(ranked)}
    )
    hits = match(ranked, held_out(*relevant))
    names = {"recall": "recall", "ndcg": "ndcg", "hit_rate": "hit_rate", "mrr": "mrr", "map": "map"}
    for ours, theirs in names.items():
        for k in (5, 20):
            expected = ranx.evaluate(qrels, run, f"{theirs}@{k}", make_comparable=True)
            assert METRICS[ours](hits, k).mean() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_a_user_without_held_out_items_has_no_metric(metric):
    hits = match([[1, 2], [1, 2]], held_out([], [1]))
    values = METRICS[metric](hits, 2)
    assert np.isnan(values[0])
    assert values[1] > 0


@pytest.mark.parametrize("metric", METRICS)
def test_a_user_without_recommendations_counts_zero(metric):
    assert METRICS[metric](match([[-1, -1]], held_out([1])), 2).tolist() == [0.0]


def test_nothing_recommended_never_matches_an_item_without_a_row():
    held = HeldOut.from_pairs([0, 0, 0], [4, -1, -1], 1)
    assert held.sizes.tolist() == [3]
    assert METRICS["recall"](match([[4, -1, -1]], held), 3)[0] == pytest.approx(1 / 3)


def test_items_outside_the_catalogue_are_misses_and_counted():
    held = HeldOut.from_pairs([0, 0, 1, 1], [4, 9, 9, -1], 2)
    assert held.outside(np.array([3, 4, 5])) == 3
    assert METRICS["recall"](match([[4], [4]], held), 1).tolist() == [0.5, 0.0]


def test_repeated_pairs_count_once():
    held = HeldOut.from_pairs([1, 0, 1, 1], [5, 2, 5, 3], 2)
    assert held.rows.tolist() == [2, 3, 5]
    assert held.indptr.tolist() == [0, 1, 3]


@pytest.mark.parametrize(("user", "item"), [(2, 0), (-1, 0), (0, -2)])
def test_pairs_out_of_range_are_refused(user, item):
    with pytest.raises(DataError, match="out of range"):
        HeldOut.from_pairs([user], [item], 2)


def test_a_ranking_with_an_item_twice_is_refused():
    with pytest.raises(DataError, match=r"twice.*\[1\]"):
        match([[1, 2, -1, -1], [3, 3, -1, -1]], held_out([1], [1]))


@pytest.mark.parametrize("k", [0, 3])
def test_a_cut_past_the_ranking_is_refused(k):
    with pytest.raises(ConfigError, match="Expected 1 to 2"):
        METRICS["recall"](match([[1, 2]], held_out([1])), k)


def test_all_zero_embeddings_recall_about_k_of_the_catalogue_under_permuted_ids():
    """Evaluation page, point 9: a model that knows nothing gains nothing from how ties fall."""
    items, users, k, rounds = 200, 40, 20, 60
    rng = np.random.default_rng(0)
    first = np.repeat(np.arange(users), 5)
    popular = (items * rng.random(len(first)) ** 3).astype(np.int64)
    ranked, _ = ExactIndex(np.zeros((items, 4))).search(np.zeros((users, 4)), k)
    means = [
        METRICS["recall"](
            match(ranked, HeldOut.from_pairs(first, rng.permutation(items)[popular], users)), k
        ).mean()
        for _ in range(rounds)
    ]
    assert np.mean(means) == pytest.approx(k / items, abs=0.02)


def test_metric_keys_are_legal_for_the_tracker():
    assert metric_key("recall", 20) == "recall_at_20"


def test_coverage_counts_distinct_items_and_served_users():
    ranked = np.array([[0, 1, 5], [1, 0, 6], [-1, -1, -1]])
    assert catalogue_coverage_at(ranked, 8, 2) == 0.25
    assert user_coverage(match(ranked, held_out([0], [0], [0]))) == pytest.approx(2 / 3)


def test_a_tie_with_the_positive_counts_as_a_miss():
    negatives = [[0.5, 0.1], [0.4, 0.1], [0.9, 0.8]]
    assert sampled_hit_rate_at([0.5, 0.5, 0.5], negatives, 1).tolist() == [0.0, 1.0, 0.0]
    expected = [1 / math.log2(3), 1.0, 0.0]
    assert sampled_ndcg_at([0.5, 0.5, 0.5], negatives, 2) == pytest.approx(expected)


def test_equal_candidate_scores_are_worth_nothing():
    assert sampled_ndcg_at(np.zeros(3), np.zeros((3, 99)), 10).tolist() == [0.0, 0.0, 0.0]


def test_a_nan_candidate_score_is_refused():
    with pytest.raises(DataError, match=r"NaN.*\[1\]"):
        sampled_ndcg_at([0.0, 0.0], [[0.0], [np.nan]], 10)
    with pytest.raises(DataError, match="shapes"):
        sampled_hit_rate_at([0.0], [[0.0], [0.0]], 10)
