"""The peers of the benchmarks: those of the package, their grids, and an item-kNN that shrinks."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from lorarec.jobs.peers import BLOCK, ITERATIONS, Bpr, Ease, Ials, Known

__all__ = ["IALS", "ITERATIONS", "L2", "PLAIN_L2", "Bpr", "Ease", "Ials", "ItemKnn"]

Array = np.ndarray[Any, Any]
L2 = (50.0, 100.0, 300.0, 1000.0)
"""Ridge penalties of EASE that validation chooses from."""
PLAIN_L2 = 100.0
"""The penalty of the arm `ease`, not tuned."""
IALS = tuple(
    (reg, alpha, factors)
    for factors in (128, 64)
    for alpha in (30.0, 10.0, 100.0, 3.0)
    for reg in (0.3, 3.0)
)
"""Regularization, alpha and factors of iALS that validation chooses from."""


class ItemKnn(Known):
    """Each item by its k most similar ones (Deshpande and Karypis 2004), by shrunk cosine.

    s_ij = ⟨x_i, x_j⟩ / (|x_i| |x_j| + shrink); a user scores the sum over the items it had.
    """

    def __init__(self, frame: pl.DataFrame, neighbours: int, shrink: float) -> None:
        super().__init__(frame)
        norms = np.sqrt(np.asarray(self.pairs.multiply(self.pairs).sum(axis=0)).ravel())
        blocks = []
        for start in range(0, len(norms), BLOCK):  # the whole is too large for large catalogues
            own = np.arange(start, min(len(norms), start + BLOCK))
            similar = (self.pairs.T @ self.pairs[:, own]).toarray()
            similar /= np.outer(norms, norms[own]) + shrink
            similar[own, own - start] = 0.0
            if neighbours < len(similar):
                least = np.partition(similar, -neighbours, axis=0)[-neighbours]
                similar[similar < least] = 0.0
            blocks.append(sparse.csc_matrix(similar.astype(np.float32)))
        self.weights = sparse.csr_matrix(sparse.hstack(blocks))

    def rows(self, users: Array) -> Array:
        """Each user's train items times the similarities."""
        found: Array = (self.pairs[users] @ self.weights).toarray()
        return found
