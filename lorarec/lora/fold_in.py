"""Fold-in: vectors of rows that a model has never seen, solved from those of their partners."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import cholesky, solve_triangular

Floats = npt.NDArray[np.float64]


def fold_in(
    pairs: sparse.csr_matrix, vectors: npt.NDArray[Any], ridge: float, others: float
) -> Floats:
    """The ridge solution of every new row: scores near 1 for its partners, near 0 for all others.

        x = argmin Σ_j∈N (1 - ⟨x, v_j⟩)² + w Σ_j ⟨x, v_j⟩² + λ |x|²
          = (Σ_j∈N v_j v_jᵀ + w VᵀV + λ I)⁻¹ Σ_j∈N v_j

    It is a half-step of implicit-feedback ALS (Hu, Koren and Volinsky 2008), with w for the
    confidence of a pair that was not seen. For a large λ the direction of x is that of the mean of
    its partners; w turns it away from what all known rows have in common.

    With w VᵀV + λ I = L Lᵀ and f_j = L⁻¹ v_j, x = L⁻ᵀ Fᵀ (F Fᵀ + I)⁻¹ 1 over the n partners' rows F
    of a new row: a system of n × n, or of d × d where that is smaller.

    Args:
        pairs: (g, m), stored where a new and a known row met; what is stored is not looked at.
        vectors: (m, d): v of the known rows.
        ridge: λ, above 0.
        others: w, 0 or more.

    Returns:
        float64 (g, d); zero for a row without partners.
    """
    return FoldIn(vectors, ridge, others).solve(pairs)


class FoldIn:
    """`fold_in` for rows that come one after another: what all share is computed once.

    Args:
        vectors: (m, d): v of the known rows.
        ridge: λ, above 0.
        others: w, 0 or more.
    """

    def __init__(self, vectors: npt.NDArray[Any], ridge: float, others: float) -> None:
        known = np.asarray(vectors, dtype=np.float64)
        self.dim = known.shape[1]
        self.lower = cholesky(others * (known.T @ known) + ridge * np.eye(self.dim), lower=True)
        self.scaled = solve_triangular(self.lower, known.T, lower=True).T

    def solve(self, pairs: sparse.csr_matrix) -> Floats:
        """Solutions float64 (g, d) of pairs (g, m); zero for a row without partners."""
        found = np.zeros((pairs.shape[0], self.dim))
        for row, (begin, end) in enumerate(zip(pairs.indptr[:-1], pairs.indptr[1:], strict=True)):
            own = self.scaled[pairs.indices[begin:end]]
            if end - begin < self.dim:
                within = own @ own.T + np.eye(end - begin)
                found[row] = own.T @ np.linalg.solve(within, np.ones(end - begin))
            else:
                found[row] = np.linalg.solve(own.T @ own + np.eye(self.dim), own.sum(0))
        solved: Floats = solve_triangular(self.lower, found.T, lower=True, trans="T").T
        return solved
