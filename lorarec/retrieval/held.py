"""An index that holds its catalogue's vectors in memory: scores in float64, whoever finds them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lorarec.errors import DataError
from lorarec.retrieval.catalogue import BUDGET, CatalogueIndex
from lorarec.retrieval.vectors import CatalogueVectors, Floats, Ints, Metric, largest_norm


class HeldIndex(CatalogueIndex):
    """A `CatalogueIndex` over `CatalogueVectors`; how candidates are found is left open."""

    def __init__(self, catalogue: CatalogueVectors) -> None:
        self._hold(catalogue)

    def _hold(self, catalogue: CatalogueVectors) -> None:
        self.catalogue = catalogue
        self.item_rows: Ints = catalogue.item_rows
        self.dim: int = catalogue.dim
        self._largest_norm = largest_norm(catalogue.vectors)

    @property
    def metric(self) -> Metric:
        """How a user and an item are compared."""
        return self.catalogue.metric

    @property
    def nbytes(self) -> int:
        """Bytes that vectors and rows take."""
        return self.catalogue.nbytes

    def _queries(self, user_vectors: npt.ArrayLike) -> Floats:
        users = self.catalogue.queries(user_vectors)
        largest = largest_norm(users) * self._largest_norm
        if largest >= float(np.finfo(np.float32).max):
            raise DataError(
                f"Scores may be as large as {largest:.3g}, more than float32 can hold. Expected "
                f"vectors of moderate length; the model has diverged, train it again."
            )
        return users

    def _rescored(self, users: Floats, positions: Ints) -> Floats:
        scores: Floats = np.einsum(
            "bfd,bd->bf",
            self.catalogue.vectors[positions],
            users,
            dtype=np.float64,
            casting="same_kind",
        ).astype(np.float32)
        return scores

    def _scores(self, users: Floats) -> Floats:
        vectors = self.catalogue.vectors
        n, width = vectors.shape
        scores = np.empty((len(users), n), dtype=np.float32)
        wide = users.astype(np.float64)
        step = max(1, BUDGET // (2 * width))
        for start in range(0, n, step):
            block = vectors[start : start + step].astype(np.float64)
            scores[:, start : start + step] = wide @ block.T
        return scores

    def _rounding(self, users: Floats) -> npt.NDArray[np.float64]:
        """How far a float32 inner product may be off, (b,): Higham 2002, section 3.1, doubled."""
        norms = np.sqrt(np.einsum("bd,bd->b", users, users, dtype=np.float64))
        error: npt.NDArray[np.float64] = (
            norms * self._largest_norm * (users.shape[1] + 2) * 2.0**-23
        )
        return error
