"""Every user's numbers are those of independent implementations: ranx, a loop, implicit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from lorarec.evaluation.metrics import METRICS, HeldOut, match
from lorarec.jobs.implicit_base import one_blas_thread
from lorarec.retrieval.index import ExactIndex

CUTS = (1, 5, 20, 50)


def drawn(seed: int, users: int = 60, items: int = 90, length: int = 50):
    """Rankings of 50, and held-out items of which some users have more than 50."""
    rng = np.random.default_rng(seed)
    ranked = np.stack([rng.permutation(items)[:length] for _ in range(users)])
    held = [np.sort(rng.choice(items, rng.integers(1, 70), replace=False)) for _ in range(users)]
    pairs = np.concatenate([np.stack([np.full(len(h), u), h], 1) for u, h in enumerate(held)])
    return ranked, held, HeldOut.from_pairs(pairs[:, 0], pairs[:, 1], users)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_each_users_numbers_are_those_of_ranx(seed):
    ranx = pytest.importorskip("ranx", reason="ranx is a peer of the extra `bench`")
    ranked, held, held_out = drawn(seed)
    qrels = ranx.Qrels({f"{u:03}": {str(i): 1 for i in h} for u, h in enumerate(held)})
    run = {f"{u:03}": {str(i): 99.0 - n for n, i in enumerate(r)} for u, r in enumerate(ranked)}
    names = [f"{metric}@{k}" for metric in ("recall", "ndcg", "mrr", "map") for k in CUTS]
    theirs = ranx.evaluate(qrels, ranx.Run(run), names, return_mean=False)
    hits = match(ranked, held_out)
    for name in names:
        metric, k = name.split("@")
        np.testing.assert_allclose(METRICS[metric](hits, int(k)), theirs[name], rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_each_users_recall_and_ndcg_are_those_of_a_plain_loop(seed):
    ranked, held, held_out = drawn(seed)
    hits = match(ranked, held_out)
    for k in CUTS:
        recall, ndcg = METRICS["recall"](hits, k), METRICS["ndcg"](hits, k)
        for user, (own, wanted) in enumerate(zip(ranked, held, strict=True)):
            gains = [float(item in set(wanted.tolist())) for item in own[:k].tolist()]
            best = sum(1 / np.log2(r + 2) for r in range(min(k, len(wanted))))
            gain = sum(g / np.log2(r + 2) for r, g in enumerate(gains))
            assert recall[user] == pytest.approx(sum(gains) / len(wanted), abs=1e-9)
            assert ndcg[user] == pytest.approx(gain / best, abs=1e-9)


@pytest.mark.parametrize("k", [5, 20])
def test_the_means_are_those_of_implicit_on_its_definitions(k):
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.evaluation import ranking_metrics_at_k

    rng = np.random.default_rng(k)
    users, items = (rng.normal(size=(n, 8)).astype(np.float32) for n in (80, 200))
    seen, held = (csr_matrix((rng.random((80, 200)) < p).astype(np.float32)) for p in (0.1, 0.05))
    with one_blas_thread():
        model = AlternatingLeastSquares(factors=8, num_threads=1)
        model.user_factors, model.item_factors = users, items
        theirs = ranking_metrics_at_k(model, seen, held, K=k, show_progress=False, num_threads=1)
    ranked, _ = ExactIndex(items).search(users, k, seen)
    pairs = held.nonzero()
    hits = match(ranked, HeldOut.from_pairs(*pairs, 80))
    some = hits.sizes > 0
    # Its precision is of all users together: hits / Σ min(k, |H|).
    possible = np.minimum(hits.sizes[some], k).sum()
    assert hits.relevant[some].sum() / possible == pytest.approx(theirs["precision"], abs=1e-9)
    for name in ("map", "ndcg"):
        if name == "map":  # its denominator is min(k, |H|)
            values = METRICS["map"](hits, k) * hits.sizes / np.maximum(np.minimum(hits.sizes, k), 1)
        else:
            values = METRICS["ndcg"](hits, k)
        assert values[some].mean() == pytest.approx(theirs[name], abs=1e-9)
