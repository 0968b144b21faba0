"""Exact top-k over one catalogue on the CPU, with the seen filter inside: candidates by FAISS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lorarec.retrieval.held import HeldIndex
from lorarec.retrieval.vectors import CatalogueVectors, Floats, Ints, Metric


def tuned_faiss() -> Any:
    """FAISS, told to use matrix products for batches of some hundred users already.

    The threshold is compared with queries × dimension and is a process-wide setting; it is only
    ever lowered. The number of threads stays what the caller or the environment has set.
    """
    import faiss

    threshold = 800 * faiss.omp_get_max_threads()
    if faiss.cvar.distance_compute_blas_threshold > threshold:
        faiss.cvar.distance_compute_blas_threshold = threshold
    return faiss


class ExactIndex(HeldIndex):
    """All items of one catalogue, searched exactly by inner product or cosine plus item bias.

    score(u, i) = <u, v_i> + b_i, computed as one product of (u, 1) with (v_i, b_i); for cosine u
    and v_i have norm 1 first.

    Args:
        item_vectors: float32 (n, d), one row an item.
        item_rows: int64 (n,), strictly ascending: the item row of each position. None: 0 … n-1.
        item_bias: float32 (n,) added to each item's score. None: no bias.
        metric: `ip` or `cosine`.

    Raises:
        DataError: NaN or infinity in vectors or bias, or arrays that do not fit together.
    """

    def __init__(
        self,
        item_vectors: npt.ArrayLike,
        item_rows: npt.ArrayLike | None = None,
        item_bias: npt.ArrayLike | None = None,
        metric: Metric = "ip",
    ) -> None:
        super().__init__(CatalogueVectors.of(item_vectors, item_rows, item_bias, metric))

    @classmethod
    def over(cls, catalogue: CatalogueVectors) -> ExactIndex:
        """An index of vectors that were checked already."""
        index = cls.__new__(cls)
        index._hold(catalogue)
        return index

    def _hold(self, catalogue: CatalogueVectors) -> None:
        super()._hold(catalogue)
        faiss = tuned_faiss()
        vectors = catalogue.vectors
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        if len(vectors):
            self._index.add(vectors)
            # A view of FAISS's own copy: the catalogue is held once.
            held = faiss.rev_swig_ptr(self._index.get_xb(), vectors.size)
            self.catalogue = replace(catalogue, vectors=held.reshape(vectors.shape))

    def only(self, item_rows: npt.ArrayLike) -> ExactIndex:
        return ExactIndex.over(self.catalogue.take(self.catalogue.positions(item_rows)))

    def _candidates(self, users: Floats, fetch: int) -> tuple[Ints, npt.NDArray[np.floating]]:
        found, positions = self._index.search(users, fetch)
        # What FAISS left out scores at most its last score plus its rounding error.
        return positions, found[:, -1] + self._rounding(users)
