"""A catalogue's vectors as every index holds them: checked, in order of their rows, bias last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from lorarec.errors import DataError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Metric = Literal["ip", "cosine"]
"""`ip`: <u, v_i> + b_i. `cosine`: <u / |u|, v_i / |v_i|> + b_i, and 0 + b_i for a zero vector."""


def checked(name: str, vectors: npt.ArrayLike, labels: Ints | None = None) -> Floats:
    """Finite float32 (n, d), or a `DataError` that names the first five bad rows."""
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2:
        raise DataError(f"{name} have shape {array.shape}. Expected two dimensions: (rows, d).")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        rows = (bad if labels is None else labels[bad])[:5].tolist()
        raise DataError(
            f"{bad.size} of {len(array)} {name} hold NaN or infinity, first rows: {rows}. "
            f"Expected finite numbers; the model has diverged, train it again with a lower "
            f"learning rate."
        )
    return array


def largest_norm(vectors: npt.NDArray[np.floating]) -> float:
    """The largest Euclidean norm of a row, in float64 so that it cannot overflow."""
    if not len(vectors):
        return 0.0
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64).max()))


def unit(vectors: Floats) -> Floats:
    """Rows of norm 1; a zero row stays zero."""
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    scaled: Floats = (vectors / np.where(norms > 0, norms, 1.0)[:, None]).astype(np.float32)
    return scaled


@dataclass(frozen=True, eq=False)
class CatalogueVectors:
    """Vectors of one catalogue with the bias as one more dimension.

    score(u, i) = <u, v_i> + b_i is one product of (u, 1) with (v_i, b_i).
    """

    vectors: Floats
    """(n, d), or (n, d + 1) with a bias."""
    item_rows: Ints
    """(n,), strictly ascending: what an item is called; ties of scores go to the lowest."""
    dim: int
    """d."""
    metric: Metric = "ip"

    @classmethod
    def of(
        cls,
        item_vectors: npt.ArrayLike,
        item_rows: npt.ArrayLike | None = None,
        item_bias: npt.ArrayLike | None = None,
        metric: Metric = "ip",
    ) -> CatalogueVectors:
        """Arrays, checked and folded.

        Args:
            item_vectors: float32 (n, d), one row an item.
            item_rows: int64 (n,), strictly ascending. None: 0 … n-1.
            item_bias: float32 (n,) added to each item's score. None: no bias.
            metric: How a user and an item are compared.

        Raises:
            DataError: NaN or infinity in vectors or bias, or arrays that do not fit together.
        """
        n = len(np.asarray(item_vectors))
        rows: Ints = (
            np.arange(n, dtype=np.int64)
            if item_rows is None
            else np.array(item_rows, dtype=np.int64)
        )
        if rows.shape != (n,):
            raise DataError(f"item_rows has shape {rows.shape}. Expected ({n},), one a vector.")
        disordered = np.flatnonzero(np.diff(rows) <= 0)
        if disordered.size or (n and rows[0] < 0):
            raise DataError(
                f"item_rows is not strictly ascending from 0 on; first places: "
                f"{disordered[:5].tolist()}. Expected each item once, sorted."
            )
        vectors = checked("item vectors", item_vectors, rows)
        dim = vectors.shape[1]
        if metric == "cosine":
            vectors = unit(vectors)
        if item_bias is not None:
            bias = np.asarray(item_bias, dtype=np.float32)
            if bias.shape != (n,):
                raise DataError(f"item_bias has shape {bias.shape}. Expected ({n},).")
            bias = checked("item biases", bias[:, None], rows)
            vectors = np.concatenate([vectors, bias], axis=1)
        return cls(vectors, rows, dim, metric)

    def __len__(self) -> int:
        return len(self.item_rows)

    @property
    def biased(self) -> bool:
        """Whether the last dimension is a bias."""
        return bool(self.vectors.shape[1] > self.dim)

    @property
    def nbytes(self) -> int:
        """Bytes of vectors and rows."""
        return self.vectors.nbytes + self.item_rows.nbytes

    def queries(self, user_vectors: npt.ArrayLike) -> Floats:
        """Users as they are multiplied with `vectors`: float32 (m, d or d + 1).

        Raises:
            DataError: NaN or infinity, or vectors of another dimension.
        """
        users = checked("user vectors", user_vectors)
        if users.shape[1] != self.dim:
            raise DataError(
                f"User vectors have {users.shape[1]} dimensions, the items {self.dim}. "
                f"Expected vectors of the same model."
            )
        if self.metric == "cosine":
            users = unit(users)
        if self.biased:
            users = np.concatenate([users, np.ones((len(users), 1), dtype=np.float32)], axis=1)
        return users

    def positions(self, item_rows: npt.ArrayLike) -> Ints:
        """Where items are, sorted and distinct.

        Raises:
            DataError: Some are not in the catalogue; the first five are named.
        """
        wanted = np.unique(np.asarray(item_rows, dtype=np.int64))
        if not len(self):
            unknown, place = wanted, wanted
        else:
            place = np.minimum(np.searchsorted(self.item_rows, wanted), len(self) - 1)
            unknown = wanted[self.item_rows[place] != wanted]
        if len(unknown):
            raise DataError(
                f"{len(unknown)} of {len(wanted)} items are not in the catalogue of "
                f"{len(self):,}, first rows: {unknown[:5].tolist()}. Expected rows of its items."
            )
        return place.astype(np.int64)

    def take(self, positions: Ints) -> CatalogueVectors:
        """The items at ascending positions."""
        return replace(self, vectors=self.vectors[positions], item_rows=self.item_rows[positions])

    def joined(self, other: CatalogueVectors) -> CatalogueVectors:
        """These items and others, by their rows.

        Raises:
            DataError: An item is in both, or the two are not of one kind.
        """
        ours, theirs = ((c.dim, c.biased, c.metric) for c in (self, other))
        if ours != theirs:
            raise DataError(
                f"Items of (d, bias, metric) {theirs} were added to some of {ours}. Expected "
                f"vectors of the same model."
            )
        both = np.intersect1d(self.item_rows, other.item_rows)
        if len(both):
            raise DataError(
                f"{len(both)} items are in the index already, first rows: {both[:5].tolist()}. "
                f"Expected new ones; remove them first to change their vectors."
            )
        rows = np.concatenate([self.item_rows, other.item_rows])
        order = np.argsort(rows)
        vectors = np.concatenate([self.vectors, other.vectors])[order]
        return replace(self, vectors=vectors, item_rows=rows[order])
