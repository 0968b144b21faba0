"""What approximation may cost and what it never does; adding, removing, and effort."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorarec.errors import ConfigError, DataError
from lorarec.retrieval.approximate import ApproximateIndex, Effort
from lorarec.retrieval.factory import EXACT, Factory, chosen_factory
from lorarec.retrieval.index import ExactIndex
from lorarec.retrieval.recall import calibrate, measured, recall_against
from lorarec.retrieval.space import Space


def made(items: int, users: int, dim: int = 16, seed: int = 0):
    """Vectors of unlike lengths with a bias, as inner products have them."""
    rng = np.random.default_rng(seed)
    spectrum = 1 / np.sqrt(np.arange(1, dim + 1))
    vectors = (rng.normal(size=(items, dim)) * spectrum).astype(np.float32)
    bias = rng.normal(size=items).astype(np.float32)
    return vectors, bias, (rng.normal(size=(users, dim)) * spectrum * 5).astype(np.float32)


@pytest.mark.parametrize("factory", ["HNSW16", "IVF32,Flat", "IVF32,PQ5x4fs,RFlat", "HNSW16_SQ8"])
def test_recall_reaches_the_target_also_with_a_bias(factory):
    vectors, bias, users = made(4000, 200)
    exact = ExactIndex(vectors, item_bias=bias)
    index = ApproximateIndex(vectors, item_bias=bias, factory=factory)
    calibrate(index, exact, users[:100], 20, 0.97)
    assert measured(index, exact, users[100:], 20).recall > 0.95


def test_less_effort_finds_less_and_calibration_takes_the_smallest():
    vectors, bias, users = made(4000, 100)
    exact = ExactIndex(vectors, item_bias=bias)
    index = ApproximateIndex(vectors, item_bias=bias, factory="IVF64,Flat", effort=Effort(1))
    poor = measured(index, exact, users, 10).recall
    effort = calibrate(index, exact, users, 10, 0.95)
    assert poor < 0.9 < measured(index, exact, users, 10).recall
    index.effort = Effort(effort.value // 2)
    assert effort.value == 8 or measured(index, exact, users, 10).recall < 0.95


def test_a_user_who_has_seen_the_neighbourhood_still_gets_k():
    from scipy.sparse import csr_matrix

    vectors, bias, users = made(1000, 10)
    index = ApproximateIndex(vectors, item_bias=bias, factory="IVF50,Flat", effort=Effort(1))
    seen = np.zeros((10, 1000))
    for user, found in enumerate(index.search(users, 100)[0]):
        seen[user, found] = 1  # about five lists, while one is looked at
    rows, scores = index.search(users, 30, csr_matrix(seen))
    assert (rows >= 0).all()
    assert not np.take_along_axis(seen, rows, axis=1).any()
    assert np.isfinite(scores).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    factory=st.sampled_from(["HNSW8", "IVF4,Flat", "SQ8"]),
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=6),
)
def test_added_items_are_found_and_removed_ones_never(seed, factory, steps):
    rng = np.random.default_rng(seed)
    vectors, bias, users = made(400, 8, seed=seed)
    here = np.sort(rng.choice(400, 120, replace=False))
    index = ApproximateIndex(vectors[here], here, bias[here], factory=factory)
    index.effort = Effort(64, 4)
    for add, count in steps:
        if add:
            new = np.sort(rng.choice(np.setdiff1d(np.arange(400), here), count, replace=False))
            index.add(vectors[new], new, bias[new])
            here = np.union1d(here, new)
        else:
            gone = rng.choice(here, min(count, len(here) - 40), replace=False)
            index.remove(gone)
            here = np.setdiff1d(here, gone)
    assert index.item_rows.tolist() == here.tolist()
    found, scores = index.search(users, 10)
    _, exact = ExactIndex(vectors[here], here, bias[here]).search(users, 10)
    assert set(found.ravel().tolist()) <= set(here.tolist())
    assert recall_against(scores, exact) > 0.9
    assert [len(set(row)) for row in found.tolist()] == [10] * 8


def test_an_index_of_which_a_fifth_was_removed_is_built_anew():
    vectors, _, _ = made(100, 1)
    index = ApproximateIndex(vectors, factory="HNSW8")
    assert not index.remove(np.arange(20))
    assert (index.removed, index.faiss.ntotal) == (20, 100)
    assert index.remove([20])
    assert (index.removed, index.faiss.ntotal, len(index)) == (0, 79, 79)


def test_what_is_there_is_not_added_twice_and_what_is_not_is_not_removed():
    index = ApproximateIndex(np.eye(20), factory="HNSW8")
    with pytest.raises(DataError, match=r"1 items are in the index already.*\[3\]"):
        index.add(np.eye(20)[:1], [3])
    with pytest.raises(DataError, match="not in the catalogue"):
        index.remove([25])
    with pytest.raises(DataError, match="same model"):
        index.add(np.eye(20)[:1], [30], [1.0])
    with pytest.raises(DataError, match=r"item vectors hold NaN.*\[31\]"):
        index.add(np.full((1, 20), np.nan), [31])
    assert len(index) == index.faiss.ntotal == 20


def test_nothing_is_added_to_an_allow_list_which_shares_the_index():
    index = ApproximateIndex(np.eye(20), factory="HNSW8")
    with pytest.raises(ConfigError, match="allow-list of another index"):
        index.only(np.arange(15)).add(np.eye(20)[:1], [30])
    assert index.faiss.ntotal == 20


def test_distances_in_the_lifted_space_order_as_inner_products():
    vectors, _, users = made(300, 20)
    space = Space.of(vectors, graph=True, parts=8)
    items, asked = space.items(vectors), space.users(users)
    assert items.shape == (300, 24)
    distances = ((asked[:, None].astype(float) - items[None]) ** 2).sum(-1)
    products = users.astype(float) @ vectors.T
    np.testing.assert_allclose(
        distances - distances[:, :1], -2 * (products - products[:, :1]), atol=1e-4
    )


@pytest.mark.parametrize(
    ("items", "target", "expected"),
    [(49_999, 0.95, EXACT), (10**6, 1, EXACT), (10**6, 0.98, "IVF4096,Flat")],
)
def test_auto_chooses_by_size_and_target(items, target, expected):
    assert chosen_factory(items, 64, target) == expected


def test_auto_can_be_built_at_every_size():
    assert chosen_factory(10**7, 65, 0.95) == "IVF16384,PQ32x4fs,RFlat"
    assert Factory.of("IVF16384,PQ32x4fs,RFlat").parts == 32


@pytest.mark.parametrize("target", [0, 1.1, -1])
def test_a_target_that_is_no_share_is_refused(target):
    with pytest.raises(ConfigError, match="recall target"):
        chosen_factory(10, 4, target)


@pytest.mark.parametrize("factory", ["HNWS32", "", "IVF400,Flat", "IDMap,Flat"])
def test_what_faiss_cannot_build_is_refused_with_what_it_can(factory):
    with pytest.raises(ConfigError, match=r"auto.*|HNSW32"):
        ApproximateIndex(np.eye(20), factory=factory)


def test_recall_counts_ties_and_users_with_fewer_than_k():
    exact = np.array([[3.0, 2.0, 2.0], [1.0, -np.inf, -np.inf], [-np.inf] * 3], dtype=np.float32)
    found = np.array([[3.0, 2.0, 1.0], [1.0, -np.inf, -np.inf], [-np.inf] * 3], dtype=np.float32)
    assert recall_against(found, exact) == pytest.approx((2 / 3 + 1) / 2)
    assert recall_against(exact, exact) == 1


def test_one_thread_and_two_find_the_same():
    vectors, bias, users = made(2000, 300)
    before = faiss.omp_get_max_threads()
    found = []
    try:
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            found.append(ExactIndex(vectors, item_bias=bias).search(users, 20))
    finally:
        faiss.omp_set_num_threads(before)
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
