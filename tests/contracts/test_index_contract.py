"""What every index promises, checked on each against scores computed one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from lorarec.errors import LorarecError
from lorarec.retrieval.index import ExactIndex

INDEXES: dict[str, Callable[..., ExactIndex]] = {"exact": ExactIndex}
pytestmark = pytest.mark.parametrize("build", INDEXES.values(), ids=INDEXES)


def world(seed: int, users: int, items: int, dim: int = 8, seen_share: float = 0.0):
    """Vectors on a coarse grid (so that ties are common), rows with gaps, bias, seen items."""
    rng = np.random.default_rng(seed)
    item_vectors = rng.integers(-2, 3, (items, dim)).astype(np.float32) / 2
    user_vectors = rng.integers(-2, 3, (users, dim)).astype(np.float32) / 2
    rows = np.sort(rng.choice(3 * items, items, replace=False)).astype(np.int64)
    bias = rng.integers(0, 3, items).astype(np.float32)
    seen = csr_matrix(random_array((users, items), density=seen_share, rng=rng, format="csr"))
    return item_vectors, user_vectors, rows, bias, seen


def brute_force(item_vectors, user_vectors, rows, bias, seen, k):
    """Sorted by (-score, row) in plain Python."""
    ranked = np.full((len(user_vectors), k), -1, dtype=np.int64)
    scores = np.full((len(user_vectors), k), -np.inf, dtype=np.float32)
    hidden = seen.toarray() != 0
    for u, user in enumerate(user_vectors):
        pairs = [
            (-(float(user @ item) + float(bias[i])), int(rows[i]))
            for i, item in enumerate(item_vectors)
            if not hidden[u, i]
        ]
        for place, (score, row) in enumerate(sorted(pairs)[:k]):
            ranked[u, place], scores[u, place] = row, -score
    return ranked, scores


@pytest.mark.parametrize(("items", "k", "share"), [(300, 10, 0.02), (300, 10, 0.4), (12, 20, 0.3)])
def test_it_returns_what_sorting_all_scores_returns(build, items, k, share):
    vectors, users, rows, bias, seen = world(0, 40, items, seen_share=share)
    expected_rows, expected_scores = brute_force(vectors, users, rows, bias, seen, k)
    found_rows, found_scores = build(vectors, rows, bias).search(users, k, seen)
    np.testing.assert_array_equal(found_rows, expected_rows)
    np.testing.assert_array_equal(found_scores, expected_scores)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    items=st.integers(1, 120),
    k=st.integers(1, 30),
    share=st.floats(0, 1),
)
def test_rankings_hold_each_unseen_item_once_and_pad_only_when_nothing_is_left(
    build, seed, items, k, share
):
    vectors, users, rows, bias, seen = world(seed, 5, items, dim=2, seen_share=share)
    found, scores = build(vectors, rows, bias).search(users, k, seen)
    for u in range(len(users)):
        kept = found[u][found[u] >= 0]
        hidden = rows[seen[[u]].indices]
        assert len(kept) == min(k, items - len(hidden))
        assert len(set(kept.tolist())) == len(kept)
        assert not set(kept.tolist()) & set(hidden.tolist())
        assert set(kept.tolist()) <= set(rows.tolist())
        assert (found[u][len(kept) :] == -1).all()
        assert np.isneginf(scores[u][len(kept) :]).all()
    assert not np.isnan(scores).any()


def test_one_user_alone_gets_what_the_batch_gets(build):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(400, 16)).astype(np.float32)
    users = rng.normal(size=(30, 16)).astype(np.float32)
    index = build(vectors)
    together_rows, together_scores = index.search(users, 10)
    for batch in (1, 7):
        rows, scores = index.search(users, 10, batch=batch)
        np.testing.assert_array_equal(rows, together_rows)
        np.testing.assert_array_equal(scores, together_scores)
    for u, user in enumerate(users):
        rows, scores = index.search(user[None], 10)
        np.testing.assert_array_equal(rows[0], together_rows[u])
        np.testing.assert_array_equal(scores[0], together_scores[u])


def test_scores_descend(build):
    vectors, users, rows, bias, seen = world(2, 20, 300, seen_share=0.05)
    _, scores = build(vectors, rows, bias).search(users, 20, seen)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_an_index_of_no_items_returns_padding(build):
    rows, scores = build(np.zeros((0, 4), dtype=np.float32)).search(np.ones((2, 4)), 3)
    assert (rows == -1).all()
    assert np.isneginf(scores).all()


def test_no_users_get_no_rows(build):
    rows, scores = build(np.eye(4, dtype=np.float32)).search(np.zeros((0, 4)), 3)
    assert rows.shape == scores.shape == (0, 3)
    assert rows.dtype == np.int64
    assert scores.dtype == np.float32


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(build, k):
    with pytest.raises(LorarecError, match="at least 1"):
        build(np.eye(4, dtype=np.float32)).search(np.eye(4), k)
