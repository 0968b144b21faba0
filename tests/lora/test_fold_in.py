"""The ridge solution of new rows, against a dense solve of the same equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from lorarec.lora.fold_in import fold_in

Array = np.ndarray[Any, Any]


def drawn(seed: int, rows: int, known: int, dim: int) -> tuple[sparse.csr_matrix, Array]:
    """Pairs, about half of all, with any values, and vectors."""
    generator = np.random.default_rng(seed)
    dense = generator.random((rows, known)) * (generator.random((rows, known)) < 0.5)
    return sparse.csr_matrix(dense), generator.normal(size=(known, dim))


def dense_solve(pairs: sparse.csr_matrix, vectors: Array, ridge: float, others: float) -> Array:
    """One normal equation a row, as the formula is written."""
    shared = others * vectors.T @ vectors + ridge * np.eye(vectors.shape[1])
    found = []
    for row in pairs.toarray() != 0:
        own = vectors[row]
        found.append(np.linalg.solve(own.T @ own + shared, own.sum(0)))
    return np.array(found)


@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 4),
    known=st.integers(1, 12),
    dim=st.integers(1, 7),
    ridge=st.sampled_from([0.1, 1.0, 30.0]),
    others=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_it_is_the_dense_solution_with_fewer_and_with_more_partners_than_dimensions(
    seed: int, rows: int, known: int, dim: int, ridge: float, others: float
) -> None:
    pairs, vectors = drawn(seed, rows, known, dim)
    expected = dense_solve(pairs, vectors, ridge, others)
    np.testing.assert_allclose(fold_in(pairs, vectors, ridge, others), expected, atol=1e-9)


def test_no_small_step_lowers_what_is_minimised() -> None:
    pairs, vectors = drawn(3, 1, 9, 4)
    met = pairs.toarray()[0] != 0

    def loss(x: Array) -> float:
        scores = vectors @ x
        return float(((1 - scores[met]) ** 2).sum() + 0.2 * (scores**2).sum() + 0.7 * x @ x)

    found = fold_in(pairs, vectors, 0.7, 0.2)[0]
    steps = np.vstack([np.eye(4), -np.eye(4)]) * 1e-3
    assert all(loss(found + step) > loss(found) for step in steps)


def test_a_large_ridge_gives_the_direction_of_the_partners_mean() -> None:
    pairs, vectors = drawn(4, 1, 9, 4)
    found = fold_in(pairs, vectors, 1e9, 0.1)[0]
    mean = vectors[pairs.toarray()[0] != 0].mean(0)
    np.testing.assert_allclose(found / np.linalg.norm(found), mean / np.linalg.norm(mean))


@pytest.mark.parametrize("rows", [0, 2])
def test_a_row_without_partners_is_zero(rows: int) -> None:
    nothing = sparse.csr_matrix((rows, 5))
    found = fold_in(nothing, np.ones((5, 3)), 1.0, 0.1)
    assert found.tolist() == [[0.0] * 3] * rows
