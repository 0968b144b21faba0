from __future__ import annotations

import numpy as np

from lorarec.retrieval.approximate import ApproximateIndex
from lorarec.retrieval.index import ExactIndex


def test_cosine_knows_no_lengths_and_a_zero_vector_has_cosine_0():
    items = np.array([[3.0, 0.0], [0.0, 0.5], [0.0, 0.0], [-1.0, -1.0]])
    rows, scores = ExactIndex(items, metric="cosine").search([[2.0, 1.0]], 4)
    assert rows.tolist() == [[0, 1, 2, 3]]
    np.testing.assert_allclose(scores[0], [0.894427, 0.447214, 0.0, -0.948683], atol=1e-6)


def test_the_bias_is_added_to_the_cosine_itself():
    index = ExactIndex(np.eye(2), item_bias=[0.0, 2.0], metric="cosine")
    assert index.search([[5.0, 0.0]], 2)[1].tolist() == [[2.0, 1.0]]


def test_lengths_change_no_ranking_of_an_approximate_one_either():
    rng = np.random.default_rng(0)
    items, users = rng.normal(size=(300, 8)), rng.normal(size=(20, 8))
    lengths = rng.uniform(0.1, 10, (300, 1))
    short, long = (
        ApproximateIndex(each, metric="cosine", factory="IVF1,Flat").search(users, 5)[0]
        for each in (items, items * lengths)
    )
    np.testing.assert_array_equal(short, long)
