"""What every index promises, checked on each against scores computed one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from lorarec.errors import DataError, LorarecError
from lorarec.retrieval.approximate import ApproximateIndex
from lorarec.retrieval.augmented import AugmentedDomain, DomainFactors
from lorarec.retrieval.catalogue import CatalogueIndex
from lorarec.retrieval.index import ExactIndex
from lorarec.retrieval.torch_index import TorchIndex


def augmented(vectors, rows=None, bias=None) -> AugmentedDomain:
    """The same vectors as shared ones, a delta of rank 2 and some of their own, exact in binary."""
    vectors = np.asarray(vectors, dtype=np.float32)
    n, dim = vectors.shape
    rng = np.random.default_rng(n)
    a = rng.integers(-1, 2, (n, 2)).astype(np.float32)
    b = rng.integers(-1, 2, (2, dim)).astype(np.float32)
    own = rng.random(n) < 0.2
    a[own] = 0
    shared = np.concatenate([np.full((3, dim), 9, np.float32), vectors - a @ b])
    none = np.zeros((dim, 0), np.float32)
    factors = DomainFactors(
        np.where(own, -1, np.arange(n) + 3), a, b, vectors[own], none, none.T, bias
    )
    rows = None if rows is None else np.asarray(rows, dtype=np.int64)
    return AugmentedDomain(shared, factors.checked(n + 3, dim), False, rows)


EXACT: dict[str, Callable[..., CatalogueIndex]] = {
    "exact": ExactIndex,
    "torch": TorchIndex,
    "augmented": augmented,
}
INDEXES: dict[str, Callable[..., CatalogueIndex]] = EXACT | {
    "hnsw": partial(ApproximateIndex, factory="HNSW8"),
    "ivf": partial(ApproximateIndex, factory="IVF1,Flat"),
    "codes": partial(ApproximateIndex, factory="SQ8,RFlat"),
}
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


def exactly(build):
    if build not in EXACT.values():
        pytest.skip("approximate")


@pytest.mark.parametrize(("items", "k", "share"), [(300, 10, 0.02), (300, 10, 0.4), (12, 20, 0.3)])
def test_it_returns_what_sorting_all_scores_returns(build, items, k, share):
    exactly(build)
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
    if build in (INDEXES["ivf"], INDEXES["codes"]):
        pytest.skip("is trained on its items")
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


def scored(vectors, users, rows, bias, found):
    """Scores of what was found, one by one."""
    place = {int(row): position for position, row in enumerate(rows)}
    return [
        [float(user @ vectors[place[row]]) + float(bias[place[row]]) for row in each if row >= 0]
        for user, each in zip(users, found.tolist(), strict=True)
    ]


def test_scores_are_the_true_ones_and_ties_ascend_by_row(build):
    vectors, users, rows, bias, _ = world(3, 20, 300)
    found, scores = build(vectors, rows, bias).search(users, 20)
    assert scores.tolist() == scored(vectors, users, rows, bias, found)
    tied = np.diff(scores, axis=1) == 0
    assert tied.any()
    assert (np.diff(found, axis=1)[tied] > 0).all()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_an_allow_list_is_all_that_comes_back(build, share):
    vectors, users, rows, bias, _ = world(4, 20, 300)
    allowed = np.random.default_rng(5).choice(rows, int(share * 300), replace=False)
    kept = np.isin(rows, allowed)
    index = build(vectors, rows, bias)
    some = index.only(allowed)
    seen = csr_matrix(random_array((20, len(some)), density=0.1, rng=1, format="csr"))
    found, scores = some.search(users, 10, seen)
    hidden = [set(some.item_rows[seen[[u]].indices].tolist()) for u in range(20)]
    for own, out in zip(found, hidden, strict=True):
        assert set(own[own >= 0].tolist()) <= set(rows[kept].tolist()) - out
        assert (own >= 0).sum() == min(10, len(some) - len(out))
    if build in EXACT.values():
        expected = brute_force(vectors[kept], users, rows[kept], bias[kept], seen, 10)
        np.testing.assert_array_equal(found, expected[0])
        np.testing.assert_array_equal(scores, expected[1])
    assert len(index) == 300  # the whole one is as it was


def test_an_allow_list_of_unknown_items_is_refused_with_the_first(build):
    index = build(np.eye(8, dtype=np.float32), np.arange(10, 18))
    with pytest.raises(DataError, match=r"2 of 3 items are not in the catalogue.*\[9, 99\]"):
        index.only([12, 99, 9])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_users_that_are_not_finite_are_named(build, bad):
    users = np.zeros((3, 8))
    users[1, 2] = bad
    with pytest.raises(DataError, match=r"1 of 3 user vectors.*\[1\]"):
        build(np.eye(8, dtype=np.float32)).search(users, 1)


def test_users_of_another_dimension_are_refused(build):
    with pytest.raises(DataError, match="5 dimensions, the items 8"):
        build(np.eye(8, dtype=np.float32)).search(np.zeros((1, 5)), 1)
