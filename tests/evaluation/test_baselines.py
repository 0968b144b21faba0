from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

from lorarec.errors import ConfigError, DataError
from lorarec.evaluation.baselines import popularity_ranking, popularity_scores
from lorarec.retrieval.index import ExactIndex

CATALOGUE = np.array([2, 5, 7, 9])


def test_scores_count_the_interactions_of_the_catalogue_alone():
    assert popularity_scores([5, 5, 9, 4, 5, 100], CATALOGUE).tolist() == [0, 3, 0, 1]


def test_weights_are_summed():
    assert popularity_scores([5, 5, 3], CATALOGUE, [0.5, 2.0, 9.0]).tolist() == [0, 2.5, 0, 0]


def test_equally_popular_items_come_by_row():
    rows, scores = popularity_ranking([1, 3, 1, 3], CATALOGUE, 6, users=2)
    assert rows.tolist() == [[5, 9, 2, 7, -1, -1]] * 2
    assert scores[0].tolist() == [3, 3, 1, 1, -np.inf, -np.inf]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 60), k=st.integers(1, 20), share=st.floats(0, 1))
def test_it_ranks_as_the_index_does(seed, n, k, share):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, n).astype(np.float32)
    catalogue = np.sort(rng.choice(200, n, replace=False))
    seen = csr_matrix(random_array((6, n), density=share, rng=rng, format="csr"))
    expected = ExactIndex(scores[:, None], catalogue).search(np.ones((6, 1)), k, seen)
    found = popularity_ranking(scores, catalogue, k, seen)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match="k is 0"):
        popularity_ranking([1.0], [0], 0)
    with pytest.raises(DataError, match="one number an item"):
        popularity_ranking([1.0, 2.0], [0], 1)
    with pytest.raises(DataError, match="one number an item"):
        popularity_ranking([1.0, 2.0], [0, 1], 1, csr_matrix((3, 5)))


def test_an_empty_catalogue_has_no_popular_items():
    assert popularity_scores([1, 2], []).tolist() == []
    assert popularity_ranking([], [], 2, users=1)[0].tolist() == [[-1, -1]]
