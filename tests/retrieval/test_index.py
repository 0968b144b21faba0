from __future__ import annotations

import subprocess
import sys

import faiss
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from lorarec.errors import ConfigError, DataError
from lorarec.retrieval.index import ExactIndex


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_the_bias_is_added_to_the_score():
    rows, scores = ExactIndex(np.eye(3), item_bias=[0.0, 5.0, 0.5]).search([[1.0, 0.0, 0.0]], 3)
    assert rows.tolist() == [[1, 0, 2]]
    assert scores.tolist() == [[5.0, 1.0, 0.5]]


def test_all_zero_vectors_rank_by_item_row():
    rows, scores = ExactIndex(np.zeros((500, 8))).search(np.zeros((3, 8)), 20)
    assert (rows == np.arange(20)).all()
    assert (scores == 0).all()


@pytest.mark.parametrize("k", [5, 120])
@pytest.mark.parametrize("batch", [1, 64])
def test_a_tie_across_the_cut_keeps_the_lowest_rows(k, batch):
    # 500 copies of the best vector lie between worse ones: FAISS alone fetches any of them.
    best = np.arange(1000) % 2 == 1
    vectors = np.where(best[:, None], 1.0, -1.0) * np.ones((1000, 4))
    rows, _ = ExactIndex(vectors).search(np.ones((64, 4)), k, batch=batch)
    assert (rows == np.flatnonzero(best)[:k]).all()


def test_a_tie_across_the_cut_skips_seen_items():
    seen = csr_matrix((np.ones(3), ([0, 0, 0], [0, 1, 3])), shape=(2, 400))
    rows, _ = ExactIndex(np.ones((400, 4))).search(np.ones((2, 4)), 4, seen)
    assert rows.tolist() == [[2, 4, 5, 6], [0, 1, 2, 3]]


def test_equal_vectors_get_equal_scores_wherever_they_lie():
    vectors = normal(401, 33)
    vectors[400] = vectors[7]
    users = normal(50, 33, seed=1)
    users[:, :] += vectors[7]
    rows, scores = ExactIndex(vectors).search(users, 10)
    for user_rows, user_scores in zip(rows.tolist(), scores.tolist(), strict=True):
        if 7 in user_rows[:-1]:
            place = user_rows.index(7)
            assert user_rows[place + 1] == 400
            assert user_scores[place] == user_scores[place + 1]


def test_near_ties_are_settled_by_the_exact_scores():
    # The large parts cancel; their float32 rounding is far above the steps between the scores.
    rng = np.random.default_rng(0)
    large = rng.uniform(1e4, 2e4, 1000)
    small = rng.permutation(1000) * 1e-6
    vectors = np.stack([large, -large, small], axis=1).astype(np.float32)
    users = np.array([[0.1, 0.1, 1.0]], dtype=np.float32)
    exact = (vectors.astype(np.float64) @ users[0].astype(np.float64)).astype(np.float32)
    expected = np.lexsort((np.arange(1000), -exact))[:10]
    assert ExactIndex(vectors).search(users, 10)[0].tolist() == [expected.tolist()]


def test_users_of_very_different_seen_counts_are_each_exact():
    n, k = 1000, 10
    vectors, users = normal(n, 6), normal(5, 6, seed=1)
    index = ExactIndex(vectors)
    order = index.search(users, n)[0]
    dense = np.zeros((5, n))
    for u, count in enumerate([0, 1, 40, 300, 995]):
        dense[u, order[u, :count]] = 1
    rows, _ = index.search(users, k, csr_matrix(dense))
    for u, count in enumerate([0, 1, 40, 300, 995]):
        expected = order[u, count : count + k].tolist()
        assert rows[u].tolist() == expected + [-1] * (k - len(expected))


def test_unsorted_seen_indices_mean_the_same():
    vectors, users = normal(400, 4), normal(1, 4, seed=1)
    top = ExactIndex(vectors).search(users, 3)[0][0]
    seen = csr_matrix((np.ones(3), top[::-1].copy(), [0, 3]), shape=(1, 400))
    assert not set(ExactIndex(vectors).search(users, 5, seen)[0][0]) & set(top)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_item_vectors_that_are_not_finite_are_named_by_item_row(bad):
    vectors = np.zeros((10, 2))
    vectors[3:] = bad
    with pytest.raises(DataError, match=r"7 of 10 item vectors.*\[13, 14, 15, 16, 17\]"):
        ExactIndex(vectors, np.arange(10, 20))


def test_user_vectors_that_are_not_finite_are_named():
    users = np.zeros((4, 2))
    users[2, 1] = np.nan
    with pytest.raises(DataError, match=r"user vectors.*\[2\]"):
        ExactIndex(np.eye(2)).search(users, 1)


def test_a_bias_that_is_not_finite_is_named():
    with pytest.raises(DataError, match=r"item biases.*\[1\]"):
        ExactIndex(np.eye(2), item_bias=[0.0, np.inf])


def test_scores_past_float32_are_refused():
    with pytest.raises(DataError, match="more than float32"):
        ExactIndex(np.full((2, 2), 1e30)).search(np.full((1, 2), 1e30), 1)


@pytest.mark.parametrize("rows", [[1, 0], [0, 0], [-1, 0]])
def test_item_rows_have_to_ascend(rows):
    with pytest.raises(DataError, match="ascending"):
        ExactIndex(np.eye(2), rows)


def test_shapes_that_do_not_fit_are_refused():
    index = ExactIndex(np.eye(3))
    with pytest.raises(DataError, match="2 dimensions"):
        index.search(np.zeros((1, 2)), 1)
    with pytest.raises(DataError, match="seen has shape"):
        index.search(np.zeros((1, 3)), 1, csr_matrix((1, 4)))
    with pytest.raises(DataError, match="item_bias"):
        ExactIndex(np.eye(3), item_bias=[1.0])
    with pytest.raises(ConfigError, match="batch"):
        index.search(np.zeros((1, 3)), 1, batch=0)


def test_matrix_products_start_at_small_batches_and_threads_stay_as_set():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        ExactIndex(np.eye(2)).search(np.eye(2), 1)
        assert faiss.cvar.distance_compute_blas_threshold <= 800
        assert faiss.omp_get_max_threads() == 1
    finally:
        faiss.omp_set_num_threads(before)


def test_importing_the_index_does_not_import_faiss():
    code = "import sys, lorarec.retrieval.index; sys.exit('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
