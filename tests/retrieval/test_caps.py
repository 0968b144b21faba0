"""At most n of a category, against walking down each whole ranking."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from lorarec.retrieval.caps import search_capped, within_cap
from lorarec.retrieval.index import ExactIndex


def walked(rows, categories, most, k):
    """One list after another, one item after another."""
    lists = []
    for own in rows.tolist():
        taken, counts = [], {}
        for row in own:
            category = -1 if row < 0 else int(categories[row])
            if row < 0 or (category >= 0 and counts.get(category, 0) >= most):
                continue
            counts[category] = counts.get(category, 0) + 1
            taken.append(row)
        lists.append((taken + [-1] * k)[:k])
    return lists


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    items=st.integers(1, 90),
    kinds=st.integers(1, 6),
    most=st.integers(1, 4),
    k=st.integers(1, 25),
    share=st.floats(0, 0.9),
)
def test_a_capped_list_is_what_walking_down_the_ranking_keeps(seed, items, kinds, most, k, share):
    rng = np.random.default_rng(seed)
    vectors, users = rng.normal(size=(items, 4)), rng.normal(size=(6, 4))
    categories = rng.integers(-1, kinds, items)
    seen = csr_matrix(random_array((6, items), density=share, rng=rng, format="csr"))
    index = ExactIndex(vectors)
    rows, scores = search_capped(index, users, k, seen, categories, most)
    whole, whole_scores = index.search(users, items, seen)
    assert rows.tolist() == walked(whole, categories, most, k)
    for own, got, every, true in zip(rows, scores, whole, whole_scores, strict=True):
        known = dict(zip(every.tolist(), true.tolist(), strict=True))
        assert got[own >= 0].tolist() == [known[row] for row in own[own >= 0].tolist()]
        assert np.isneginf(got[own < 0]).all()


def test_places_without_an_item_or_past_the_cap_go():
    rows = np.array([[2, 0, 1, 3, -1]])
    assert within_cap(rows, np.array([0, 0, 0, -1]), 2).tolist() == [
        [True, True, False, True, False]
    ]


def test_no_users_have_no_lists():
    rows, scores = search_capped(ExactIndex(np.eye(3)), np.zeros((0, 3)), 2, None, np.zeros(3), 1)
    assert rows.shape == scores.shape == (0, 2)
