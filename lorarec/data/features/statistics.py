"""What is learnt from train: categories with their codes, means and standard deviations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.features.specs import FeatureSpec
from lorarec.data.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]
UNKNOWN = 0
"""The code of a category that was not learnt, and of a missing one."""


@dataclass(frozen=True, eq=False)
class Categories:
    """The categories of one feature, append-only: a code once given never moves."""

    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    """Category ↔ row; its code is the row + 1."""
    counts: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """int64 (k,): train rows that had the category when it was appended."""

    @property
    def size(self) -> int:
        """Rows that an embedding table needs: one for each category and one for the unknown."""
        return len(self.vocabulary) + 1

    def codes(self, text: pl.Series) -> Array:
        """Codes of categories.

        Args:
            text: String (n,); null is missing.

        Returns:
            int32 (n,): 1 to k, or 0 where unknown or missing.
        """
        return (self.vocabulary.rows(text, missing="mark") + 1).astype(np.int32)

    def extended(self, text: pl.Series, spec: FeatureSpec) -> Categories:
        """These categories, and behind them the new ones that are frequent enough.

        Args:
            text: String (n,), a category for each train row that has it; nulls are skipped.
            spec: Its `min_count` and `max_categories` (old ones included) decide.

        Returns:
            New categories follow by falling count, equal counts in order of their UTF-8 bytes, so
            the order of rows does not matter. Old codes and counts stay as they are.
        """
        counted = pl.DataFrame({"text": text}).drop_nulls().group_by("text").len("count")
        fresh = self.vocabulary.rows(counted["text"], missing="mark") < 0
        new = counted.filter(
            pl.Series(fresh, dtype=pl.Boolean) & (counted["count"] >= spec.min_count)
        )
        new = new.sort(["count", "text"], descending=[True, False])
        if spec.max_categories is not None:
            new = new.head(max(spec.max_categories - len(self.vocabulary), 0))
        if new.is_empty():
            return self
        counts = np.concatenate([self.counts, new["count"].to_numpy().astype(np.int64)])
        return Categories(self.vocabulary.extend(new["text"]), counts)


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of a number over the train rows that have it."""

    mean: float = 0.0
    """Of the number, or of its logarithm where the spec says so."""
    std: float = 1.0
    """Above 0: 1 where the numbers do not differ."""

    def standardise(self, values: Array, spec: FeatureSpec) -> tuple[Array, Array]:
        """(x - mean) / std, clipped.

        Args:
            values: float64 (n,); NaN is missing.
            spec: Its `log1p` and `clip` apply.

        Returns:
            float32 (n,), 0 where missing; bool (n,), True where missing.
        """
        missing = np.isnan(values)
        with np.errstate(over="ignore"):  # an infinite one is clipped like any other
            scaled = (_shaped(values, spec) - self.mean) / self.std
        clipped = np.clip(scaled, -spec.clip, spec.clip)
        return np.where(missing, 0.0, clipped).astype(np.float32), missing


def fit_moments(values: Array, spec: FeatureSpec) -> Moments:
    """Moments of numbers.

    Args:
        values: float64 (n,); NaN is missing and not counted.
        spec: Its `log1p` applies.
    """
    # Sorted, because a sum depends on its order and the order of rows must not matter.
    there = np.sort(_shaped(values[~np.isnan(values)], spec))
    if not len(there):
        return Moments()
    mean, std = float(there.mean()), float(there.std())
    # A column of one value has a deviation of rounding alone, which would blow up what it divides.
    return Moments(mean, std if std > 1e-9 * abs(mean) else 1.0)


def _shaped(values: Array, spec: FeatureSpec) -> Array:
    return np.sign(values) * np.log1p(np.abs(values)) if spec.log1p else values


def unit_rows(values: Array) -> Array:
    """Rows scaled to Euclidean norm 1; rows of zeros stay.

    Args:
        values: float32 (n, d), finite.
    """
    # By the largest first, so that no square leaves the range of float32.
    largest = np.abs(values).max(axis=1, keepdims=True)
    scaled: Array = values / np.where(largest > 0, largest, 1)
    norms = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    scaled /= np.where(norms > 0, norms, 1)
    return scaled
