"""The law of one domain: what `sampling` draws from, with its tables by kind of item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class DomainLaw:
    """Log-odds that a user p takes item i at the moment t, both being there:

        ⟨p, v_k(i)⟩ + log w_i + c_k(i) t

    Items are in the order of their kinds, so that the items of a kind lie side by side.
    """

    vectors: Array
    """float64 (kinds, 16): v, the kind as the domain sees it, times the sharpness."""
    trend: Array
    """float64 (kinds,): c, what the drift adds to the log-odds over the window."""
    kind: Array
    """int64 (catalogue,), rising: each item's."""
    weight: Array
    """float64 (catalogue,): w, popularity."""
    begin: Array
    """float64 (catalogue,): moment in [0, 1) of an item's first day."""

    @property
    def size(self) -> int:
        """Items in the catalogue."""
        return len(self.kind)

    @cached_property
    def ends(self) -> Array:
        """float64 (catalogue,): cumulated weights."""
        return np.asarray(np.cumsum(self.weight))

    @cached_property
    def places(self) -> Array:
        """int64 (kinds + 1,): where the items of each kind begin."""
        return np.asarray(np.searchsorted(self.kind, np.arange(len(self.vectors) + 1)))

    @cached_property
    def bounds(self) -> Array:
        """float64 (kinds + 1,): cumulated weights before each kind's items."""
        return np.concatenate([[0.0], self.ends])[self.places]

    @cached_property
    def peak(self) -> Array:
        """float64 (kinds,): the most that c t becomes in the window."""
        return np.maximum(self.trend, 0.0)

    def kind_odds(self, users: Array) -> Array:
        """Upper bounds of the odds of all items of a kind together, each row scaled.

        Args:
            users: float64 (n, 16): p.

        Returns:
            float64 (n, kinds); the largest of a row is 1, a kind without items has 0.
        """
        mass = np.diff(self.bounds)
        filled = mass > 0
        log_mass = np.where(filled, np.log(np.where(filled, mass, 1.0)) + self.peak, -np.inf)
        logits = users @ self.vectors.T
        logits += log_mass
        logits -= logits.max(axis=1, keepdims=True)
        return np.asarray(np.exp(logits, out=logits))
