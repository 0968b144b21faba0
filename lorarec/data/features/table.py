"""Encoded features as arrays, one row for each id that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Bags:
    """A list of codes for each row: those of row r are `values[offsets[r]:offsets[r + 1]]`."""

    offsets: Array
    """int64 (n + 1,), ascending from 0."""
    values: Array
    """int32 (offsets[-1],): ascending and distinct within a row; 0 once where any is unknown."""

    def take(self, rows: Array) -> Bags:
        """The bags of rows, int64 (m,), in that order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        shifts = np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return Bags(offsets, self.values[np.arange(offsets[-1]) + shifts])


@dataclass(frozen=True, eq=False)
class Vectors:
    """A dense vector for each row."""

    values: Array
    """float32 (n, d), finite; zero where missing."""
    missing: Array
    """bool (n,)."""

    def take(self, rows: Array) -> Vectors:
        """The vectors of rows, int64 (m,), in that order."""
        return Vectors(self.values[rows], self.missing[rows])


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of n ids, aligned to them; nothing in it is NaN or infinite."""

    known: Array
    """bool (n,): the id has a row in the table of features. Where False, all else is missing."""
    categorical: dict[str, Array]
    """Feature → int32 (n,): 0 is unknown or missing."""
    categories: dict[str, Bags]
    """Feature → lists of codes. A missing list is [0], an empty one is empty."""
    numeric_names: tuple[str, ...]
    """The features of the columns of `numeric`."""
    numeric: Array
    """float32 (n, q), standardised; 0, the mean of train, where missing."""
    numeric_missing: Array
    """bool (n, q)."""
    vectors: dict[str, Vectors]
    """Feature → vectors."""

    def __len__(self) -> int:
        return len(self.known)

    def take(self, rows: Array) -> FeatureTable:
        """A batch: the features of rows, in that order, repeats allowed.

        Args:
            rows: Integer (m,), each in [0, n).
        """
        rows = np.asarray(rows, dtype=np.int64)
        return FeatureTable(
            known=self.known[rows],
            categorical={name: codes[rows] for name, codes in self.categorical.items()},
            categories={name: bags.take(rows) for name, bags in self.categories.items()},
            numeric_names=self.numeric_names,
            numeric=self.numeric[rows],
            numeric_missing=self.numeric_missing[rows],
            vectors={name: vectors.take(rows) for name, vectors in self.vectors.items()},
        )


def bags_of(rows: Array, codes: Array, missing: Array, size: int) -> Bags:
    """Bags from pairs.

    Args:
        rows: int64 (m,), each in [0, n).
        codes: int32 (m,), each in [0, size).
        missing: bool (n,): rows that get the code 0.
        size: Number of codes.
    """
    absent = np.flatnonzero(missing)
    keys = np.sort(np.concatenate([rows * size + codes, absent * size]))
    keys = keys[np.diff(keys, prepend=-1) > 0]  # several times faster than np.unique
    lengths = np.bincount(keys // size, minlength=len(missing))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Bags(offsets, (keys % size).astype(np.int32))
