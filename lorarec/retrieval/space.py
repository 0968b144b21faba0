"""The space in which FAISS finds neighbours: inner products, or distances that order as they do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorarec.retrieval.vectors import Floats, largest_norm


@dataclass(frozen=True)
class Space:
    """How vectors are put into an index.

    A graph of neighbours by inner product has few ways to most items, and with a bias recall is
    lost for good. So for a graph every item gets one dimension more, which brings all to the same
    length M, and a user gets a zero there:

        |(u, 0) - (v, √(M² - |v|²))|² = |u|² + M² - 2 <u, v>

    The nearest are then the best (Bachrach et al. 2014, "Speeding up the Xbox recommender system
    using a Euclidean transformation for inner-product spaces"). An item added later that is longer
    than M gets zero there and seems farther than it is.
    """

    width: int
    """Dimension of the index; what is missing is zeros, which change nothing."""
    length: float | None = None
    """M, or None for inner products."""

    @classmethod
    def of(cls, vectors: Floats, graph: bool, parts: int) -> Space:
        """The space for vectors (n, w): lifted for a graph, wide by a multiple of `parts`."""
        width = vectors.shape[1] + graph
        return cls(-(-width // parts) * parts, largest_norm(vectors) if graph else None)

    @property
    def lifted(self) -> bool:
        """Whether distances stand in for inner products."""
        return self.length is not None

    def users(self, vectors: Floats) -> Floats:
        """float32 (m, w) → (m, width)."""
        return self._padded(vectors)

    def items(self, vectors: Floats) -> Floats:
        """float32 (n, w) → (n, width)."""
        placed = self._padded(vectors)
        if self.length is None:
            return placed
        squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
        placed[:, vectors.shape[1]] = np.sqrt(np.maximum(self.length**2 - squares, 0.0))
        return placed

    def _padded(self, vectors: Floats) -> Floats:
        missing = self.width - vectors.shape[1]
        return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, missing)))) if missing else vectors
